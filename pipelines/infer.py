"""Use a model on files: `python -m pipelines.infer sr --input noisy.wav --out clean.wav --model data/bundle`.

Folders go in and come out with their tree. A file that cannot be used is named in a table at the end, the others are done; the
same command again does what is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from tqdm import tqdm

from infra.command_line import Choice, ShardsFailed, parse, run
from lm.tasks import TASKS, check_conditions, task
from pipelines.audio_files import FORMATS, FileAudio, find, subtype_like, write
from pipelines.audio_streams import Audio, BadAudio
from pipelines.bundle import Bundle
from pipelines.generation import Options, Request


@dataclass(frozen=True)
class Infer:
    """What to make of what."""

    input: str = ""
    """An audio file, or a folder of them; not for tta."""
    out: str = ""
    """The file to write, or a folder where the input is one. Existing files are not made again."""
    model: str = ""
    """A bundle: folder or s3:// prefix."""
    reference: str = ""
    """For tse, rtse, vc and aec: an audio file, or a folder with a reference of the same name for each input."""
    text: str | None = None
    """For lass, speech_edit, event_edit and tta: what is wanted."""
    again: bool = False
    """Make files that exist again."""
    max_minutes: float = 60.0
    """Longer files are refused."""
    device: str = ""
    """Such as cpu or cuda:1; the GPU, if there is one, if not given."""
    options: tyro.conf.OmitArgPrefixes[Options] = field(default_factory=Options)

    def __post_init__(self) -> None:
        if not self.max_minutes > 0:
            raise ValueError(f"--max-minutes is {self.max_minutes}: give more than 0")


@dataclass(frozen=True)
class Job:
    """One input and the files that come from it."""

    input: Path | None
    reference: Path | None
    outputs: tuple[Path, ...]

    @property
    def is_done(self) -> bool:
        return all(path.is_file() for path in self.outputs)


def infer(name: str, config: Infer) -> list[str]:
    """Do what is missing; a line for each file of a folder that could not be used. ValueError if nothing can be done at all.

    StorageError for outputs that cannot be written: that is no fault of a single file.
    """
    check(name, config)
    jobs = jobs_of(name, config)
    todo = [job for job in jobs if config.again or not job.is_done]
    if len(todo) < len(jobs):
        print(f"{config.out}: {len(jobs) - len(todo)} of {len(jobs)} are there already; --again makes them again")
    if not todo:
        return []
    bundle = Bundle.open(config.model, device=config.device or None)
    bundle.generator.check_task(name, config.text, config.options)
    if Path(config.reference).is_file():
        _checked(Path(config.reference), config)  # that of all
    is_folder, failures = bool(config.input) and Path(config.input).is_dir(), []
    with tqdm(total=len(todo), unit="file", disable=None) as progress:
        for job in todo:
            try:
                _do(bundle, name, config, job)
            except ValueError as error:  # of this file
                if not is_folder:
                    raise
                failures.append(f"{job.input}: {str(error).removeprefix(f'{job.input}: ')}")
            progress.update()
    print(f"{config.out}: {len(todo) - len(failures)} of {len(todo)} made")
    return failures


def check(name: str, config: Infer) -> None:
    """ValueError for what the command line lacks, with the options that give it."""
    for option in ("model", "out"):
        if not getattr(config, option):
            raise ValueError(f"--{option} is missing")
    given = {"text": config.text is not None, "reference": bool(config.reference), "input": bool(config.input)}
    try:
        check_conditions(name, {condition for condition, is_given in given.items() if is_given})
    except ValueError as error:
        raise ValueError(f"{error}: --input, --reference (audio files) and --text give them") from None


def jobs_of(name: str, config: Infer) -> list[Job]:
    """What is to be made. ValueError for places that do not fit together, FileNotFoundError for what is not there."""
    if "://" in config.input + config.out + config.reference:
        raise ValueError("--input, --out and --reference are local files or folders")
    out = Path(config.out)
    reference = Path(config.reference) if config.reference else None
    if reference and not reference.exists():
        raise FileNotFoundError(f"--reference {reference}: no such file or folder")
    if not config.input:
        return [Job(None, reference, _outputs(name, out))]
    place = Path(config.input)
    if not place.exists():
        raise FileNotFoundError(f"--input {place}: no such file or folder")
    if not place.is_dir():
        if out.is_dir() or not out.suffix:
            out = out / place.name
        if out.resolve() == place.resolve():
            raise ValueError(f"--out {out} is the input: choose another name")
        return [Job(place, reference, _outputs(name, out))]
    if out.is_file() or out.suffix.lower() in FORMATS:
        raise ValueError(f"--out {out}: the input is a folder, and so must this be")
    if out.resolve().is_relative_to(place.resolve()):
        raise ValueError(f"--out {out} is in the input {place}: what is written would be read again; choose another place")
    return [Job(place / part, _reference(reference, part), _outputs(name, out / part)) for part in find(place)]


def _outputs(name: str, out: Path) -> tuple[Path, ...]:
    """The file, or one for each speaker."""
    if out.suffix.lower() not in FORMATS:
        raise ValueError(f"--out {out}: no format is known by this name; give one of {', '.join(FORMATS)}")
    count = task(name).num_targets
    if count == 1:
        return (out,)
    return tuple(out.with_name(f"{out.stem}-speaker{number}{out.suffix}") for number in range(1, count + 1))


def _reference(place: Path | None, part: Path) -> Path | None:
    """The same for all inputs, or the one of the input's name in a folder, whatever its format."""
    if place is None or not place.is_dir():
        return place
    found = [path for suffix in FORMATS if (path := place / part.with_suffix(suffix)).is_file()]
    return place / part if place / part in found or not found else found[0]


def _do(bundle: Bundle, name: str, config: Infer, job: Job) -> None:
    """Make a job's files. ValueError for audio that cannot be used."""
    audio = _checked(job.input, config)
    request = Request(name, audio, _checked(job.reference, config), config.text)
    pieces = bundle.generator.stream(request, config.options)
    rate_hz = audio.sample_rate_hz if audio else bundle.sample_rate_hz
    subtype = subtype_like(audio, job.outputs[0]) if audio else None
    write(list(job.outputs), _shown(pieces, audio), rate_hz, subtype)


def _checked(path: Path | None, config: Infer) -> FileAudio | None:
    if path is None:
        return None
    try:
        audio = FileAudio.of(path)
    except FileNotFoundError as error:
        raise BadAudio(str(error)) from None
    if audio.duration_s > 60 * config.max_minutes:
        raise BadAudio(
            f"{path}: {audio.duration_s / 60:.0f} minutes; at most {config.max_minutes:g} are taken: cut it, or raise "
            "--max-minutes"
        )
    audio.check()
    return audio


def _shown(pieces: Iterator[np.ndarray], audio: Audio | None) -> Iterator[np.ndarray]:
    """The pieces, with a progress bar over the seconds of a long file."""
    if audio is None:
        yield from pieces
        return
    total_s = audio.num_samples / audio.sample_rate_hz
    with tqdm(total=round(total_s, 1), unit="s", desc=Path(audio.name).name, leave=False, disable=None) as progress:
        for piece in pieces:
            yield piece
            progress.update(round(piece.shape[-1] / audio.sample_rate_hz, 1))


def main(argv: list[str]) -> int:
    choices = {name: Choice(name, Infer, Infer()) for name in TASKS}
    name, config = parse(choices, argv, prog="pipelines.infer")
    failures = infer(name, config)
    if failures:
        raise ShardsFailed(f"{len(failures)} files could not be used, the others are done:\n  " + "\n  ".join(failures))
    return 0


if __name__ == "__main__":
    run(main)
