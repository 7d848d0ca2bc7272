"""Token examples to judge a language model with, the same ones in every run: chosen by their keys' hashes."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from training.data.quarantine import Rejected
from training.data.token_examples import Cutting, TokenExample, decode
from training.data.token_source import TokenSource
from training.data.token_stream import TokenBatch, num_positions, token_batch

SEED = 0  # of the stretches that are cut: not the run's, so that runs can be compared


def first_examples(sources: Sequence[TokenSource], cutting: Cutting, per_task: int) -> list[TokenExample]:
    """So many examples of each task, or as many as there are; what cannot serve is passed over with a printed note."""
    found = []
    for task in dict.fromkeys(source.domain for source in sources):
        candidates = _in_order([source for source in sources if source.domain == task], cutting, per_task)
        found += [example for _, example in zip(range(per_task), candidates)]
    return found


def batched(examples: Sequence[TokenExample], size: int) -> list[TokenBatch]:
    """Batches of like length."""
    ordered = sorted(examples, key=num_positions)
    return [token_batch(ordered[first : first + size]) for first in range(0, len(ordered), size)]


def _in_order(sources: Sequence[TokenSource], cutting: Cutting, at_a_time: int) -> Iterator[TokenExample]:
    places = [
        (key, number, clip) for number, source in enumerate(sources) for clip, key in enumerate(source.table["key"].to_pylist())
    ]
    places.sort(key=lambda place: hashlib.sha256(place[0].encode()).digest())
    for first in range(0, len(places), at_a_time):
        part = places[first : first + at_a_time]
        fetched = {}
        for number in {number for _, number, _ in part}:
            fetched[number] = sources[number].fetch(np.array([clip for _, other, clip in part if other == number]))
        for _, number, clip in part:
            try:
                raw = fetched[number][clip]
                if isinstance(raw, Rejected):
                    raise raw
                yield decode(cutting, raw, (SEED, sources[number].id, 0, clip))
            except Rejected as rejected:
                print(f"example left out: {rejected}")
