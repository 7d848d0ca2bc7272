from dataclasses import dataclass, field
from typing import Generic, TypeVar

import pytest

from infra.config import fingerprint, from_json, to_json

T = TypeVar("T")


@dataclass(frozen=True)
class Room:
    rt60_s: tuple[float, float] = (0.2, 0.8)


@dataclass(frozen=True)
class Task:
    snr_db: float = 3.0
    room: Room = field(default_factory=Room)


@dataclass(frozen=True)
class Run(Generic[T]):
    task: T
    count: int = 1


def test_a_configuration_comes_back_from_its_json():
    config = Run(Task(snr_db=1.5, room=Room((0.1, 0.3))), count=7)
    assert from_json(Run[Task], to_json(config), "run.json") == config


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"task": {}, "cuont": 3}, "'cuont', did you mean 'count'"),
        ({"task": {"room": {"rt60": [1, 2]}}}, "'task.room.rt60', did you mean 'rt60_s'"),
        ({"task": {"snr_db": "loud"}}, "snr_db"),
        ({"task": {"room": {"rt60_s": [1]}}}, "rt60_s"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(values, named):
    with pytest.raises(ValueError, match=r"run\.json.*") as error:
        from_json(Run[Task], values, "run.json")
    assert named in str(error.value)


def test_the_fingerprint_is_of_the_values_not_of_their_order():
    assert fingerprint({"a": 1, "b": 2.5}) == fingerprint({"b": 2.5, "a": 1})
    assert fingerprint(Run(Task())) != fingerprint(Run(Task(snr_db=3.1)))
    with pytest.raises(ValueError, match="JSON compliant"):
        fingerprint({"a": float("nan")})
