"""A model that is ready for use: `model = Bundle.open("data/bundle"); clean = model("sr", noisy, 16000)`.

`python -m pipelines.bundle --codec data/codec-.../model --lm data/lm-.../model --out data/bundle` puts one together:

<out>/
    codec/        config.json, model.safetensors
    lm/           config.json, model.safetensors
    README.md     the model card
    bundle.json   which codec, language model and encoders, by their ids; put last: without it there is no bundle
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from codec.model import Codec
from infra.command_line import run
from infra.dataset import find_datasets, open_dataset
from infra.model_folder import CONFIG, WEIGHTS, local_folder, model_id
from infra.shards import encode_json
from infra.storage import Store, open_store
from lm.config import ConditionConfig, TokenConfig
from lm.model import UnifiedLM
from pipelines import model_card
from pipelines.audio_streams import ArrayAudio, check_samples, whole
from pipelines.generation import Generator, Options, Request
from pipelines.model_card import Card
from pipelines.train_run import split

FORMAT = 1
ABOUT, README = "bundle.json", "README.md"
EMBEDDED = ("log-mel", "minilm")  # encoders that come with the code or its dependencies
DEFAULT = Options()


@dataclass(frozen=True, eq=False)
class Bundle:
    """A codec and a language model that belong together, with the encoders of its conditions."""

    generator: Generator
    about: dict[str, Any]  # the contents of bundle.json

    @classmethod
    def open(
        cls,
        place: str | Path,
        *,
        device: torch.device | str | None = None,
        audio_encoder: str | None = None,
        text_encoder: str | None = None,
    ) -> "Bundle":
        """Of a folder or s3:// prefix; on the GPU if there is one and no other device is named.

        The encoders are at the places that the bundle names, unless others are given. FileNotFoundError for a file that is
        missing, ValueError for one that is damaged or of another model.
        """
        store = open_store(str(place))
        about = read_about(store)
        folders = {part: local_folder(f"{store.url.rstrip('/')}/{part}") for part in ("codec", "lm")}
        for part, folder in folders.items():
            if model_id(folder) != about[part]["id"]:
                raise ValueError(f"{store.url}/{part}: not the files that {ABOUT} names, or damaged: fetch the bundle anew")
        codec, lm = Codec.from_pretrained(folders["codec"]), UnifiedLM.from_pretrained(folders["lm"])
        check_pair(codec, about["codec"]["id"], lm, store.url)
        given = {"audio_encoder": audio_encoder, "text_encoder": text_encoder}
        named = {f"{kind}_encoder": one["place"] for kind, one in about["encoders"].items() if one["place"] != "embedded"}
        places = named | {name: value for name, value in given.items() if value}
        conditions = dataclasses.replace(lm.config.conditions, **places)
        lm.config = dataclasses.replace(lm.config, conditions=conditions)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(Generator(codec.to(device), lm.to(device)), about)

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.about["tasks"])

    @property
    def sample_rate_hz(self) -> int:
        """Of what is made from no input."""
        return self.generator.sample_rate_hz

    def __call__(
        self,
        task: str,
        wave: np.ndarray | None = None,
        sample_rate_hz: int | None = None,
        *,
        text: str | None = None,
        reference: np.ndarray | None = None,
        options: Options = DEFAULT,
    ) -> np.ndarray:
        """Audio like the input: float32 (samples,) or (channels, samples), at its rate; of ss with a first axis of 2 speakers.

        `reference` is at `sample_rate_hz`, too. Without an input (tta) the result is (samples,) at the bundle's own rate. As
        long as the input, but for tasks of free length. ValueError for what the task or the model cannot take.
        """
        audio = None if wave is None else ArrayAudio.of(wave, sample_rate_hz, "the input")
        given = None if reference is None else ArrayAudio.of(reference, sample_rate_hz, "the reference")
        request = Request(task, audio, given, text)
        self.generator.check(request, options)
        for one in (audio, given):
            if one is not None:
                check_samples(one)
        made = whole(self.generator.stream(request, options))
        made = made if np.ndim(wave) == 2 else made[:, 0]
        return made if len(made) > 1 else made[0]

    @classmethod
    def create(cls, codec: str | Path, lm: str | Path, out: str | Path, card: Card | None = None) -> Store:
        """Copy a codec and a language model to a new place with a card, `bundle.json` last.

        The same once more changes nothing. ValueError for two that do not belong together, and for a place that holds another
        bundle; FileNotFoundError for files that are missing.
        """
        folders = {"codec": local_folder(str(codec)), "lm": local_folder(str(lm))}
        about = describe(folders)
        store = open_store(str(out))
        if store.exists(ABOUT) and json.loads(store.get(ABOUT)) != about:
            raise ValueError(f"{store.url}: holds another bundle; choose another place")
        for part, folder in folders.items():
            for name in (CONFIG, WEIGHTS):
                store.put(f"{part}/{name}", (folder / name).read_bytes())
        store.put(README, model_card.text(card or Card(), about).encode())
        store.put(ABOUT, encode_json(about))
        return store


def describe(folders: dict[str, Path]) -> dict[str, Any]:
    """What bundle.json says of a codec and a language model. ValueError if they do not belong together."""
    codec, lm = Codec.from_pretrained(folders["codec"]), UnifiedLM.from_pretrained(folders["lm"])
    ids = {part: model_id(folder) for part, folder in folders.items()}
    check_pair(codec, ids["codec"], lm, str(folders["lm"]))
    return {
        "format": FORMAT,
        "codec": {
            "id": ids["codec"],
            "sample_rate_hz": codec.config.sample_rate_hz,
            "num_parameters": sum(tensor.numel() for tensor in codec.state_dict().values()),
        },
        "lm": {
            "id": ids["lm"],
            "codec": lm.config.tokens.codec,
            "num_parameters": sum(parameter.numel() for parameter in lm.parameters()),
        },
        "encoders": _encoders(lm.config.conditions),
        "tasks": list(lm.config.tasks),
    }


def check_pair(codec: Codec, codec_id: str, lm: UnifiedLM, where: str) -> None:
    """ValueError unless the language model was trained on the tokens of this codec."""
    if not lm.config.tokens.codec:
        raise ValueError(f"{where}: the language model does not say which codec it was trained on (tokens.codec)")
    try:
        lm.config.tokens.check_codec(tokens_of(codec, codec_id))
    except ValueError as error:
        raise ValueError(f"{where}: the codec and the language model do not belong together: {error}") from None


def tokens_of(codec: Codec, codec_id: str) -> TokenConfig:
    """What a language model must know of a codec."""
    config = codec.config
    return TokenConfig(
        num_acoustic=config.quantiser.num_acoustic,
        num_semantic=config.quantiser.num_semantic,
        codebook_size=config.quantiser.codebook_size,
        max_duration_frames=config.grouping.max_frames if config.grouping else 1,
        frame_rate_hz=float(config.frame_rate_hz),
        codec=codec_id,
    )


def _encoders(conditions: ConditionConfig) -> dict[str, dict[str, str]]:
    names = {"audio": conditions.audio_encoder, "text": conditions.text_encoder}
    return {kind: {"id": name, "place": "embedded" if name in EMBEDDED else name} for kind, name in names.items()}


def read_about(store: Store) -> dict[str, Any]:
    """bundle.json of a bundle. FileNotFoundError, ValueError for none of this format."""
    try:
        about = json.loads(store.get(ABOUT))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{store.url}: no {ABOUT} here: no bundle, or one that was cut off while it was made; `python -m pipelines.bundle` "
            "makes one of a codec and a language model"
        ) from None
    except ValueError as error:
        raise ValueError(f"{store.url}/{ABOUT}: no JSON ({error}): fetch the bundle anew") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else about
        raise ValueError(f"{store.url}/{ABOUT}: format {found!r}; this code reads format {FORMAT}")
    missing = [name for name in ("codec", "lm", "encoders", "tasks") if name not in about]
    if missing:
        raise ValueError(f"{store.url}/{ABOUT}: {', '.join(missing)} missing: fetch the bundle anew")
    return about


@dataclass(frozen=True)
class MakeBundle:
    """Put a codec and a language model into one folder that can be used and shared."""

    codec: str
    """Folder or s3:// prefix of a published codec."""
    lm: str
    """Folder or s3:// prefix of a published language model."""
    out: str
    """Folder or s3:// prefix of the bundle."""
    data: str = ""
    """Datasets that the language model was trained on, separated by commas: the card names them and their licences."""
    metrics: str = ""
    """A JSON file of names and values for the card."""
    licence: str = ""
    """Of the weights, for the card."""


def card_of(config: MakeBundle) -> Card:
    """ValueError for data that are not there, and for metrics that are no flat JSON object."""
    stores = [store for place in split(config.data) for store in find_datasets(open_store(place))]
    if config.data and not stores:
        raise ValueError(f"--data {config.data}: no finished dataset here")
    data, clips = [], {}
    for store in stores:
        description = open_dataset(store).description
        totals = description["totals"]
        for licence, count in totals.get("clips_by_licence", {}).items():
            clips[licence] = clips.get(licence, 0) + count
        name = store.url.rstrip("/").rpartition("/")[2]
        data.append({"name": name, "id": description["id"], "examples": totals["examples"], "hours": totals.get("hours", 0.0)})
    metrics = {}
    if config.metrics:
        try:
            metrics = json.loads(Path(config.metrics).read_text())
        except ValueError as error:
            raise ValueError(f"--metrics {config.metrics}: no JSON ({error})") from None
        if not isinstance(metrics, dict) or any(isinstance(value, dict | list) for value in metrics.values()):
            raise ValueError(f"--metrics {config.metrics}: give one JSON object of names and values")
    return Card(config.licence, clips, tuple(data), metrics)


def main(argv: list[str]) -> int:
    config = tyro.cli(MakeBundle, args=argv, prog="pipelines.bundle")
    store = Bundle.create(config.codec, config.lm, config.out, card_of(config))
    about = json.loads(store.get(ABOUT))
    print(
        f"{store.url}: codec {about['codec']['id'][:12]}, language model {about['lm']['id'][:12]}, {', '.join(about['tasks'])}"
    )
    return 0


if __name__ == "__main__":
    run(main)
