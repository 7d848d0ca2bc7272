"""Small models and made-up conditions for the tests of this folder."""

from dataclasses import replace

import torch

from lm.conditions import Conditions
from lm.config import ConditionConfig, DecoderConfig, LMConfig, TokenConfig
from lm.features import Features
from lm.model import Batch, UnifiedLM
from lm.tasks import TASKS

TOKENS = TokenConfig(codebook_size=12)
SMALL = LMConfig(
    tokens=TOKENS,
    decoder=DecoderConfig(width=32, num_layers=2, num_heads=4, num_kv_heads=2, feed_forward_width=48),
    conditions=ConditionConfig(audio_width=6, text_width=5),
)


def model(seed: int = 0, spread: float = 6.0, **changes) -> UnifiedLM:
    """A model whose random weights are large enough for outputs to differ clearly from symbol to symbol."""
    torch.manual_seed(seed)
    made = UnifiedLM(replace(SMALL, **changes)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter *= spread
    return made


def conditions(tasks: list[str], seed: int = 0, width: tuple[int, int] = (5, 6)) -> Conditions:
    """Random features of unequal lengths, of what each task needs; a clip's are the same in any batch that starts with it."""
    generators = [torch.Generator().manual_seed(1000 * seed + row) for row in range(len(tasks))]

    def features(name: str, size: int, least: int) -> Features | None:
        if not any(name in TASKS[task].needs for task in tasks):
            return None
        rows = [torch.randn(least + (5 * row) % 7, size, generator=generators[row]) for row in range(len(tasks))]
        return Features.of([x if name in TASKS[task].needs else x[:0] for x, task in zip(rows, tasks)])

    text = features("text", width[0], 2)
    spelling = text and Features(torch.randint(256, (*text.values_BMD.shape[:2], 1), generator=generators[0]), text.lengths_B)
    return Conditions(text, spelling, features("reference", width[1], 3), features("input", width[1], 4))


def alone(given: Conditions, row: int) -> Conditions:
    """The conditions of one clip, without padding; None where it has none."""
    parts = {name: part for name, part in vars(given).items() if part is not None and part.lengths_B[row]}
    cut = {name: part.values_BMD[row : row + 1, : part.lengths_B[row]] for name, part in parts.items()}
    return Conditions(**{name: Features(values, torch.tensor([values.shape[1]])) for name, values in cut.items()})


def codes(lengths: list[int], config: LMConfig = SMALL, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random acoustic and semantic codes whose durations agree, and their lengths."""
    generator = torch.Generator().manual_seed(seed)
    tokens, shape = config.tokens, (len(lengths), 1, max(lengths))
    durations = torch.randint(tokens.max_duration_frames, shape, generator=generator) * tokens.codebook_size
    streams = [
        torch.randint(tokens.codebook_size, (shape[0], layers, shape[2]), generator=generator) + durations
        for layers in (tokens.num_acoustic, tokens.num_semantic)
    ]
    return *streams, torch.tensor(lengths)


def with_input_codes(given: Conditions, config: LMConfig = SMALL) -> Conditions:
    """With random codes of each input, of unequal lengths; a clip's are the same in any batch that starts with it."""
    rows = []
    for row, length in enumerate(given.input.lengths_B.tolist()):
        size = (2 + (3 * row) % 5 if length else 0, config.tokens.num_acoustic + config.tokens.num_semantic)
        rows.append(torch.randint(config.tokens.codebook_size, size, generator=torch.Generator().manual_seed(row)))
    return replace(given, input_codes=Features.of(rows))


def batch(tasks: list[str], lengths: list[int], config: LMConfig = SMALL) -> Batch:
    given = conditions(tasks)
    return Batch.of(config, tasks, with_input_codes(given, config) if config.copies else given, codes(lengths, config))
