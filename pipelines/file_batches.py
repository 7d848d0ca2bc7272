"""Work on many files, in this process or as Ray tasks of many files each: a task gets columns and returns columns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError
from tqdm import tqdm

from infra import cluster

FILES_PER_TASK = 64  # at one file a task Ray costs a fifth of the time
RETRIES = 2  # of a worker that died, or a store that could not be reached
Place = tuple[int, int]  # first row, number of rows


@dataclass(frozen=True)
class FileWork:
    """What is done to a batch of files, and what its rows are."""

    batch: Callable[[dict[str, list]], pa.Table]
    """Columns of many files to one row each, of `schema`."""
    schema: pa.Schema
    rejected: Callable[[str, str], dict[str, Any]]
    """The row of a file that could not be worked on, from reason code and detail; what it leaves out is null."""
    title: str
    files_per_task: int = FILES_PER_TASK


def in_batches(work: FileWork, rows: pa.Table, workers: int | None) -> pa.Table:
    """What the work makes of the rows, in their order, with a progress bar.

    `workers` 0 works in this process, None on all of Ray's CPUs. A row that kills its worker at every try is rejected as
    `crash`. StorageError if a store fails.
    """
    step = work.files_per_task
    places = [(start, min(step, rows.num_rows - start)) for start in range(0, rows.num_rows, step)]
    done = _in_process(work, rows, places) if workers == 0 else _on_ray(work, rows, places, workers)
    found: dict[int, pa.Table] = {}
    with tqdm(total=rows.num_rows, unit="file", desc=work.title, dynamic_ncols=True, mininterval=0.5) as bar:
        for (start, length), table in done:
            found[start] = table
            bar.update(length)
    return pa.concat_tables([work.schema.empty_table(), *(found[start] for start in sorted(found))])


def _in_process(work: FileWork, rows: pa.Table, places: list[Place]) -> Iterator[tuple[Place, pa.Table]]:
    for place in places:
        yield place, work.batch(rows.slice(*place).to_pydict())


@ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=[OSError])
def _run(work: FileWork, columns: dict[str, list]) -> pa.Table:
    return work.batch(columns)


def _on_ray(work: FileWork, rows: pa.Table, places: list[Place], workers: int | None) -> Iterator[tuple[Place, pa.Table]]:
    """One task a place. A batch that kills its worker is done again file by file, so that the culprit is named."""
    cluster.start(workers)
    while places:
        killed: list[Place] = []
        submit = lambda place: _run.remote(work, rows.slice(*place).to_pydict())  # noqa: E731
        for place, reference in cluster.bounded(submit, places):
            try:
                yield place, ray.get(reference)
            except (WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
                start, length = place
                if length == 1:
                    detail = f"{type(error).__name__} at each of {RETRIES + 1} tries"
                    yield place, pa.Table.from_pylist([work.rejected("crash", detail)], schema=work.schema)
                else:
                    killed += [(row, 1) for row in range(start, start + length)]
            except RayTaskError as error:
                raise error.cause from None
        places = killed
