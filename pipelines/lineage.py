"""What a model was made of, down to source clips and licences: `python -m pipelines.lineage --model data/bundle`.

model -> language model and codec -> tokens -> task data -> corpora -> clips. A model that started with the weights of another
has all that the other was made of, too. What is not found is said, with its id; --search names more places to look.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import tyro

from infra.command_line import run
from infra.dataset import Dataset
from infra.model_store import MARK
from infra.registry import MODELS, Registry
from infra.storage import open_store
from pipelines.bundle import ABOUT, read_about
from pipelines.parents import Library
from pipelines.train_run import split

CHAMPION = "champion"
COLUMNS = ["corpus", "clip", "licence", "path", "sha256", "used_by", "tasks", "num_examples"]
LANGUAGE_MODEL, CODEC = "language model", "codec"
NOT_FOUND = "not found here: --search names more places to look"


@dataclass(frozen=True)
class Lineage:
    """Walk the parents of a model."""

    model: str = ""
    """A bundle (folder or s3:// prefix), or with --registry the id of a model there, its beginning, or "champion"."""
    registry: str = ""
    """Folder or s3:// prefix of a registry."""
    search: str = "data"
    """Places of datasets, corpora and training runs, separated by commas: what is not where it was is looked for there."""
    out: str = ""
    """A .parquet or .csv file for the list of all source clips."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("no model: give MODEL= (--model) a bundle, or an id of --registry, or champion")
        if self.out and not self.out.endswith((".parquet", ".csv")):
            raise ValueError(f"--out {self.out}: give a file that ends with .parquet or .csv")


@dataclass
class Walk:
    """What has been found on the way."""

    library: Library
    registry: Registry | None
    lines: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: int = 0
    seen: set[str] = field(default_factory=set)  # is told once

    def tell(self, depth: int, text: str) -> None:
        self.lines.append("  " * depth + text)

    def miss(self, depth: int, what: str, wanted: str) -> None:
        self.missing += 1
        self.tell(depth, f"{what} {wanted[:16] or '(not named)'}: {NOT_FOUND}")

    def is_new(self, key: str) -> bool:
        is_new = key not in self.seen
        self.seen.add(key)
        return is_new


def walk(config: Lineage) -> Walk:
    """All parents. ValueError for a model that is not there."""
    found = Walk(Library(split(config.search)), Registry(config.registry) if config.registry else None)
    if found.registry is not None:
        _registered(found, 0, _id_of(found.registry, config.model))
    else:
        _bundle(found, 0, config.model)
    return found


def _id_of(registry: Registry, name: str) -> str:
    """The model that a name means. ValueError for none, or several."""
    if name == CHAMPION:
        champion = registry.champion()
        if champion is None:
            raise ValueError(f"{registry.url}: there is no champion yet")
        return champion.model
    ids = registry.models.ids()
    matches = [model for model in ids if model.startswith(name)]
    if len(matches) != 1:
        raise ValueError(f"{registry.url}: {len(matches)} models {name!r}; there are {', '.join(ids) or 'none'}")
    return matches[0]


def _registered(found: Walk, depth: int, model: str) -> None:
    """A model of the registry; what it comes from was written down when it was promoted."""
    if not found.is_new(f"model {model}"):
        found.tell(depth, f"model {model}: see above")
        return
    about = found.registry.models.read(model).about
    found.tell(
        depth, f"model {model}  {found.registry.url}/{MODELS}/{model}" + (f"  run {about['run']}" if "run" in about else "")
    )
    parents = about.get("parents")
    if parents is None:
        _bundle(found, depth + 1, f"{found.registry.models.store.url}/{model}")
        return
    _codec(found, depth + 1, parents["codec"])
    found.tell(depth + 1, f"{LANGUAGE_MODEL} {parents['lm'][:16]}")
    corpora = {one["id"]: one["place"] for one in parents["corpora"]}
    datasets = {one["id"]: one["place"] for one in parents["datasets"]}
    for tokens in parents["tokens"]:
        found.tell(depth + 2, f"tokens {tokens['id'][:16]}  {tokens['place']}")
        _dataset(found, depth + 3, (tokens["dataset"], datasets.get(tokens["dataset"], "")), corpora)
    if parents["init"]:
        found.tell(depth + 2, f"started with the weights {parents['init'][:16]} of")
        _registered(found, depth + 3, parents["champion"])


def _bundle(found: Walk, depth: int, place: str) -> None:
    """A bundle, whose parts name their parents by ids."""
    store = open_store(place)
    about = read_about(store)
    kind = f", {MARK} beside it" if store.exists(MARK) else ""
    found.tell(depth, f"bundle  {store.url} ({ABOUT}{kind})")
    _codec(found, depth + 1, about["codec"]["id"])
    _language_model(found, depth + 1, about["lm"]["id"])


def _language_model(found: Walk, depth: int, model: str) -> None:
    of = found.library.run(model)
    if of is None:
        found.miss(depth, f"training run of the {LANGUAGE_MODEL}", model)
        return
    found.tell(depth, f"{LANGUAGE_MODEL} {model[:16]}  {of['place']}")
    parents = of.get("parents", {})
    for tokens in parents.get("datasets", ()):
        _tokens(found, depth + 1, tokens)
    if parents.get("init"):
        found.tell(depth + 1, "started with the weights of")
        _language_model(found, depth + 2, parents["init"])


def _tokens(found: Walk, depth: int, wanted: str) -> None:
    dataset = found.library.dataset(wanted)
    if dataset is None:
        found.miss(depth, "tokens", wanted)
        return
    found.tell(depth, f"tokens {wanted[:16]}  {dataset.store.url}")
    of = dataset.description["parents"]["dataset"]
    _dataset(found, depth + 1, (of["id"], _beside(dataset, of["name"])), {}, tokens=dataset)


def _beside(dataset: Dataset, name: str) -> str:
    """Where `make encode` finds its data if it is not told otherwise."""
    return dataset.store.url.rstrip("/").rpartition("/")[0] + f"/{name}"


def _dataset(found: Walk, depth: int, wanted: tuple[str, str], corpora: dict[str, str], tokens: Dataset | None = None) -> None:
    """Task data by id and place, and the clips in it; if it is gone its tokens name the clips, too."""
    dataset = found.library.dataset(*wanted)
    if dataset is None:
        found.miss(depth, "dataset", wanted[0])
    elif not found.is_new(f"dataset {wanted[0]}"):
        found.tell(depth, f"dataset {wanted[0][:16]}: see above")
        return
    else:
        found.tell(depth, f"dataset {wanted[0][:16]}  {dataset.store.url}  {dataset.manifest.num_rows} examples")
    known = dataset or tokens
    if known is not None:
        corpus = dataset.description["parents"]["corpus"] if dataset else {"id": "", "name": ""}
        _clips(found, depth + 1, known, corpus, corpora)


def _clips(found: Walk, depth: int, dataset: Dataset, corpus: dict[str, str], places: dict[str, str]) -> None:
    """The source clips of a dataset, with what the corpus says of them."""
    if "sources" not in dataset.manifest.column_names:
        found.miss(depth, "sources of", dataset.description["id"])
        return
    sources = dataset.manifest.select(["sources", "licences", "task"]).to_pandas()
    task = sources["task"].iat[0]
    frame = sources.explode(["sources", "licences"]).groupby(["sources", "licences"], as_index=False).size()
    frame.columns = ["clip", "licence", "num_examples"]
    of = found.library.corpus(corpus["id"], places.get(corpus["id"], "")) if corpus["id"] else None
    if of is None:
        found.miss(depth, "corpus", corpus["id"])
        about = pd.DataFrame({"clip": [], "path": [], "sha256": []})
    else:
        found.tell(depth, f"corpus {of.id[:16]}  {of.name}  {of.location}  {len(frame)} of {of.table.num_rows} clips used")
        about = of.table.select(["id", "path", "sha256"]).to_pandas().rename(columns={"id": "clip"})
    frame = frame.merge(about, on="clip", how="left").fillna({"path": "", "sha256": ""})
    frame = frame.assign(corpus=corpus["id"], used_by=LANGUAGE_MODEL, tasks=task)
    found.rows += frame[COLUMNS].to_dict("records")


def _codec(found: Walk, depth: int, model: str) -> None:
    if not found.is_new(f"codec {model}"):
        found.tell(depth, f"{CODEC} {model[:16]}: see above")
        return
    of = found.library.run(model)
    if of is None:
        found.miss(depth, f"training run of the {CODEC}", model)
        return
    found.tell(depth, f"{CODEC} {model[:16]}  {of['place']}")
    parents = of.get("parents", {})
    for wanted in parents.get("corpora", ()):
        corpus = found.library.corpus(wanted)
        if corpus is None:
            found.miss(depth + 1, "corpus", wanted)
            continue
        rows = corpus.table.filter(pc.equal(corpus.table["split"], "train")).select(["id", "licence", "path", "sha256"])
        found.tell(depth + 1, f"corpus {corpus.id[:16]}  {corpus.name}  {corpus.location}  {rows.num_rows} clips to train on")
        frame = rows.to_pandas().rename(columns={"id": "clip"})
        found.rows += frame.assign(corpus=wanted, used_by=CODEC, tasks="", num_examples=0)[COLUMNS].to_dict("records")
    for place in parents.get("data", ()):
        found.tell(depth + 1, f"shards  {place}")


def clips(found: Walk) -> pd.DataFrame:
    """A row for each clip of a corpus and each of its users: who uses it, for which tasks, in how many examples."""
    frame = pd.DataFrame(found.rows, columns=COLUMNS)
    names = ["corpus", "clip", "licence", "path", "sha256", "used_by"]
    together = {"tasks": lambda tasks: " ".join(sorted(set(filter(None, tasks)))), "num_examples": "sum"}
    return frame.groupby(names, as_index=False).agg(together)[COLUMNS] if len(frame) else frame


def summary(frame: pd.DataFrame) -> Iterator[str]:
    """Lines for people: clips by licence and user."""
    yield f"{frame[['corpus', 'clip']].drop_duplicates().shape[0]} source clips"
    counts = frame.groupby(["licence", "used_by"]).agg(clips=("clip", "size"), examples=("num_examples", "sum"))
    for (licence, user), row in counts.iterrows():
        examples = f", in {row['examples']} examples" if row["examples"] else ""
        yield f"  {licence:<24} {row['clips']:>8} clips of the {user}{examples}"


def write(frame: pd.DataFrame, out: str) -> None:
    folder, _, name = out.rpartition("/")
    buffer = io.BytesIO()
    if name.endswith(".csv"):
        frame.to_csv(buffer, index=False)
    else:
        frame.to_parquet(buffer, index=False)
    open_store(folder or ".").put(name, buffer.getvalue())


def main(argv: list[str]) -> int:
    config = tyro.cli(Lineage, args=argv, prog="pipelines.lineage")
    found = walk(config)
    frame = clips(found)
    print("\n".join([*found.lines, "", *summary(frame)]))
    if found.missing:
        print(f"{found.missing} parents are not found here: the list is not complete")
    if config.out:
        write(frame, config.out)
        print(f"every clip: {config.out}")
    return 0


if __name__ == "__main__":
    run(main)
