"""The verbs of the pipeline as jobs of a cluster: the command of each, and what of the bucket it may read, write and delete."""

from dataclasses import dataclass

from infra.deploy.description import Description

SHARED = "/shared"  # where the storage that all nodes share is mounted
PLACES = ("corpora", "data", "tokens", "checkpoints", "bundle", "evaluation", "registry")  # folders below the prefix
ENCODE = (
    f"-m pipelines.encode --data {{{{url}}}}/data/{{part}} --codec {SHARED}/codec/model --out {{{{url}}}}/tokens/{{part}}"
    " {{gpu_encode}}"
)


@dataclass(frozen=True)
class Step:
    """One verb. Whoever writes a place may read it, too: a rerun looks what is there."""

    name: str
    command: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    deletes: tuple[str, ...] = ()
    gpu: bool = False
    """Whether it runs on the groups with GPUs (and those without beside them) or on the latter only."""
    writes_shared: bool = False

    def __post_init__(self) -> None:
        places = {place.partition("/")[0] for place in (*self.reads, *self.writes, *self.deletes)}
        assert places <= set(PLACES), self.name
        assert all(is_below(place, self.writes) for place in self.deletes), self.name


def is_below(place: str, places: tuple[str, ...]) -> bool:
    """Whether a place is one of the others, or within one."""
    return any(f"{place}/".startswith(f"{other}/") for other in places)


# In an order in which each step finds what it reads.
STEPS = (
    Step("simulate", "-m {simulate} --corpus {url}/{corpus} --out {url}/data/train", ("corpora",), ("data/train",)),
    Step(
        "simulate-test",
        "-m {simulate} --corpus {url}/{corpus} --split test --out {url}/data/test",
        ("corpora",),
        ("data/test",),
    ),
    Step(
        "train-codec",
        f"-m pipelines.train_codec {{codec_preset}} --data {{url}}/data/train --corpus {{url}}/{{corpus}} --out {SHARED}/codec"
        " --checkpoints {url}/checkpoints/codec {ranks}",
        ("corpora", "data/train"),
        ("checkpoints/codec",),
        ("checkpoints/codec",),
        gpu=True,
        writes_shared=True,
    ),
    Step("encode", ENCODE.format(part="train"), ("data/train", "registry/models"), ("tokens/train",), gpu=True),
    Step("encode-test", ENCODE.format(part="test"), ("data/test", "registry/models"), ("tokens/test",), gpu=True),
    Step(
        "train-lm",
        f"-m pipelines.train_lm {{lm_preset}} --data {{url}}/tokens/train --held-out {{url}}/tokens/test"
        f" --codec {SHARED}/codec/model --out {SHARED}/lm --checkpoints {{url}}/checkpoints/lm {{ranks}}",
        ("tokens/train", "tokens/test"),
        ("checkpoints/lm",),
        ("checkpoints/lm",),
        gpu=True,
        writes_shared=True,
    ),
    Step(
        "bundle",
        f"-m pipelines.bundle --codec {SHARED}/codec/model --lm {SHARED}/lm/model --data {{url}}/data/train"
        " --out {url}/bundle",
        ("data/train",),
        ("bundle",),
    ),
    Step(
        "evaluate",
        "-m pipelines.evaluate --model {url}/bundle --data {url}/data/test --out {url}/evaluation {gpu_encode}",
        ("bundle", "data/test", "registry"),
        ("evaluation",),
        gpu=True,
    ),
    # Data and tokens apart from those above; what it trains and judges is put into the registry.
    Step(
        "retrain",
        f"-m pipelines.retrain --config {SHARED}/retrain.toml --registry {{url}}/registry --work {SHARED}/retrain"
        " --data.out {url}/data/retrain {retrain_gpus} {retrain_ranks}",
        ("corpora", "data"),
        ("data/retrain", "registry"),
        ("registry/runs",),
        gpu=True,
        writes_shared=True,
    ),
)
# For a person at a notebook or a shell: all but the registry, whose champion is retraining's alone.
INTERACTIVE = Step(
    "interactive",
    "",
    ("corpora", "registry"),
    ("data", "tokens", "checkpoints", "bundle", "evaluation"),
    ("checkpoints",),
    gpu=True,
    writes_shared=True,
)


def named(name: str) -> Step:
    return next(step for step in STEPS if step.name == name)


def command_of(description: Description, step: Step) -> str:
    """The shell command that runs a step on its cluster's head."""
    simulate = "pipelines.mixture" if description.task == "all" else f"pipelines.simulate {description.task}"
    gpus, ranks = description.num_gpus(), description.num_ranks()
    most = gpus or sum(group.cpus * group.most for group in description.workers)  # there may be none when the step begins
    values = {
        "url": description.url,
        "corpus": description.corpus,
        "simulate": simulate,
        "codec_preset": description.codec_preset,
        "lm_preset": description.lm_preset,
        "gpu_encode": "--gpus-per-worker 1 " * (gpus > 0) + f"--max-workers {most}",
        "ranks": f"--workers {ranks} --gpu {gpus > 0}",
        "retrain_gpus": "--data.gpus-per-worker 1 " * (gpus > 0) + f"--data.max-workers {most}",
        "retrain_ranks": f"--lm.workers {ranks} --lm.gpu {gpus > 0}",
    }
    words = ["python", step.command.format_map(values), description.arguments.get(step.name, "")]
    return " ".join(" ".join(words).split())
