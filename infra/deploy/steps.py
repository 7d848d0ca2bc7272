"""The verbs of the pipeline as jobs of a cluster: the command of each, and what of the bucket it may read, write and delete."""

from dataclasses import dataclass

from infra.deploy.description import Description

SHARED = "/shared"  # where the storage that all nodes share is mounted
PLACES = ("corpora", "data", "tokens", "checkpoints", "evaluation", "registry")  # folders below the prefix


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
        deleted = {place.partition("/")[0] for place in self.deletes}
        assert places <= set(PLACES) and deleted <= set(self.writes), self.name


STEPS = (
    Step("simulate", "-m {simulate} --corpus {url}/{corpus} --out {url}/data", ("corpora",), ("data",)),
    Step(
        "encode",
        f"-m pipelines.encode --data {{url}}/data --codec {SHARED}/codec/model --out {{url}}/tokens {{gpu_encode}}",
        ("data", "registry/models"),
        ("tokens",),
        gpu=True,
    ),
    Step(
        "train-codec",
        f"-m pipelines.train_codec {{codec_preset}} --data {{url}}/data --corpus {{url}}/{{corpus}} --out {SHARED}/codec"
        " --checkpoints {url}/checkpoints/codec {ranks}",
        ("corpora", "data"),
        ("checkpoints",),
        ("checkpoints",),
        gpu=True,
        writes_shared=True,
    ),
    Step(
        "train-lm",
        f"-m pipelines.train_lm {{lm_preset}} --data {{url}}/tokens --codec {SHARED}/codec/model --out {SHARED}/lm"
        " --checkpoints {url}/checkpoints/lm {ranks}",
        ("tokens",),
        ("checkpoints",),
        ("checkpoints",),
        gpu=True,
        writes_shared=True,
    ),
    Step(
        "evaluate",
        f"-m pipelines.evaluate --model {SHARED}/bundle --data {{url}}/data --out {{url}}/evaluation {{gpu_encode}}",
        ("corpora", "data", "registry"),
        ("evaluation",),
        gpu=True,
    ),
    Step(
        "retrain",
        f"-m pipelines.retrain --config {SHARED}/retrain.toml --registry {{url}}/registry --work {SHARED}/retrain",
        ("corpora",),
        ("data", "tokens", "checkpoints", "evaluation", "registry"),
        ("checkpoints", "registry/runs"),
        gpu=True,
        writes_shared=True,
    ),
)
# For a person at a notebook or a shell: all but the registry, whose champion is retraining's alone.
INTERACTIVE = Step(
    "interactive",
    "",
    ("corpora", "registry"),
    ("data", "tokens", "checkpoints", "evaluation"),
    ("checkpoints",),
    gpu=True,
    writes_shared=True,
)


def named(name: str) -> Step:
    return next(step for step in STEPS if step.name == name)


def command_of(description: Description, step: Step) -> str:
    """The shell command that runs a step on its cluster's head."""
    simulate = "pipelines.mixture" if description.task == "all" else f"pipelines.simulate {description.task}"
    gpus = description.num_gpus()
    most = gpus or sum(group.cpus * group.most for group in description.workers)  # there may be none when the step begins
    values = {
        "url": description.url,
        "corpus": description.corpus,
        "simulate": simulate,
        "codec_preset": description.codec_preset,
        "lm_preset": description.lm_preset,
        "gpu_encode": "--gpus-per-worker 1 " * (gpus > 0) + f"--max-workers {most}",
        "ranks": f"--workers {description.num_ranks()} --gpu {gpus > 0}",
    }
    words = ["python", step.command.format_map(values), description.arguments.get(step.name, "")]
    return " ".join(" ".join(words).split())
