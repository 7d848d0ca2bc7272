import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.bank import Bank
from simulation.descriptions.ambiguity import clash, concept
from simulation.descriptions.distinct import SourceRange, pick, voice_of
from simulation.seeds import Rng

RATE_HZ = 16000
LABELS = [
    "dog",
    "puppy",
    "wolf",
    "rain",
    "thunder",
    "sea waves",
    "rooster",
    "bird",
    "animal",
    "engine",
    "helicopter",
    "church bells",
]


def row(number: int, role: str = "event", label: str = "", caption: str = "", seconds: float = 2.0, **known: object) -> dict:
    return {
        "id": f"{role}{number}",
        "path": f"{number}.flac",
        "role": role,
        "speaker": f"speaker {number}" if role == "speech" else "",
        "group": f"{role} {number}",
        "label": label,
        "text": "",
        "caption": caption,
        "labels": json.dumps(known),
        "sample_rate_hz": RATE_HZ,
        "num_frames": round(seconds * RATE_HZ),
        "licence": "CC0",
        "sha256": "0" * 64,
    }


def bank_of(rows: list[dict]) -> Bank:
    return Bank(pa.Table.from_pylist(rows), RATE_HZ)


def labelled(*labels: str) -> Bank:
    return bank_of([row(number, label=label) for number, label in enumerate(labels)])


def rng(index: int) -> Rng:
    return Rng(1, "lass", index)


def names(bank: Bank, chosen: list) -> list[str]:
    return [bank.value(candidate.row, "label") for candidate in chosen]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=7), st.integers(2, 4), st.integers(0, 1000))
def test_sources_never_clash_and_are_found_wherever_there_are_enough(labels, num_sources, index):
    bank = labelled(*labels)
    meant = [concept("event", label, "") for label in labels]
    possible = any(
        not any(clash(a, b, 0.1) for a, b in itertools.combinations(group, 2))
        for group in itertools.combinations(meant, num_sources)
    )
    if possible:
        chosen = SourceRange().draw(bank, rng(index), num_sources)
        assert len(chosen) == num_sources
        assert not any(clash(a.concept, b.concept, 0.1) for a, b in itertools.combinations(chosen, 2))
    else:
        with pytest.raises(ValueError, match="too few distinct classes"):
            SourceRange().draw(bank, rng(index), num_sources)


def test_a_rare_class_is_found_among_thousands_of_clips_of_another():
    bank = bank_of([row(n, label="dog", caption=f"Dog number {n} barks") for n in range(3000)] + [row(9999, label="rain")])
    assert sorted(names(bank, SourceRange().draw(bank, rng(0), 2))) == ["dog", "rain"]


def test_a_corpus_of_one_class_says_that_it_has_too_few():
    with pytest.raises(
        ValueError, match=r"mixture of 2 needs .* too few distinct classes: no more than 1 together, such as 'dog'"
    ):
        SourceRange().draw(labelled("dog", "dog", "puppy"), rng(0), 2)


def test_a_corpus_without_captions_and_labels_says_what_to_fill_in():
    with pytest.raises(ValueError, match=r"has a caption or label: fill the column `caption` .* or `label`"):
        SourceRange().draw(labelled("", "", ""), rng(0), 2)


def test_a_corpus_with_labels_and_no_captions_serves():
    bank = labelled("dog", "rain", "church bells")
    assert len({*names(bank, SourceRange().draw(bank, rng(3), 3))}) == 3


def test_a_corpus_without_sources_says_which_roles_it_lacks():
    bank = bank_of([row(0, "noise", "rain")])
    with pytest.raises(ValueError, match="no event or speech or music"):
        SourceRange().draw(bank, rng(0), 2)


def test_what_nobody_described_or_what_is_too_short_is_never_drawn():
    bank = bank_of([row(0, label="dog"), row(1, label="rain"), row(2), row(3, label="engine", seconds=0.2)])
    drawn = {name for index in range(50) for name in names(bank, SourceRange().draw(bank, rng(index), 2))}
    assert drawn == {"dog", "rain"}


def test_roles_come_as_often_as_their_shares_say():
    rows = [row(n, label=label) for n, label in enumerate(["dog", "rain", "engine", "laughing"])]
    rows += [row(10, "speech", gender="f"), row(11, "speech", gender="m"), row(12, "music", "piano")]
    bank, sources = bank_of(rows), SourceRange(event=0.5, speech=0.5, music=0.0)
    first = [sources.draw(bank, rng(index), 2)[0].role for index in range(400)]
    assert first.count("speech") == pytest.approx(200, abs=60) and "music" not in first


def test_two_voices_are_mixed_only_if_one_is_a_mans_and_one_a_womans():
    rows = [row(n, "speech", gender=gender) for n, gender in enumerate(["m", "m", "f", "f", ""])]
    bank = bank_of(rows)
    for index in range(30):
        assert {one.voice for one in SourceRange().draw(bank, rng(index), 2)} == {"man", "woman"}
    with pytest.raises(ValueError, match="too few distinct"):
        SourceRange().draw(bank, rng(0), 3)


def test_a_background_is_one_that_no_query_fits_or_none():
    bank = bank_of([row(0, label="rain"), row(1, label="dog"), row(2, "noise", "light rain"), row(3, "noise", "fan")])
    sources = SourceRange().draw(bank, rng(0), 2)
    assert {bank.value(SourceRange().draw_noise(bank, rng(n), sources).row, "label") for n in range(30)} == {"fan"}
    only_rain = bank_of([row(0, label="rain"), row(1, label="dog"), row(2, "noise", "light rain")])
    assert SourceRange().draw_noise(only_rain, rng(0), SourceRange().draw(only_rain, rng(0), 2)) is None


def test_backgrounds_that_nobody_described_are_refused_with_the_remedy():
    bank = bank_of([row(0, label="rain"), row(1, label="dog"), row(2, "noise")])
    with pytest.raises(ValueError, match=r"no noise .* label or caption.* --task\.noise-probability 0"):
        SourceRange().draw_noise(bank, rng(0), SourceRange().draw(bank, rng(0), 2))


def test_labels_that_are_no_json_are_named():
    rows = [row(0, label="rain") | {"labels": "{label: rain}"}, row(1, label="dog") | {"labels": "{label: dog}"}]
    with pytest.raises(ValueError, match=r"labels of 'event\d' are not JSON"):
        SourceRange().draw(bank_of(rows), rng(0), 2)


@pytest.mark.parametrize("shares", [{"event": -1.0}, {"event": 0.0, "speech": 0.0, "music": 0.0}])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ValueError, match="shares"):
        SourceRange(**shares)


@pytest.mark.parametrize(
    ("known", "voice"),
    [
        ({"gender": "m"}, "man"),
        ({"gender": "Female", "age": 30}, "woman"),
        ({"gender": "m", "age": 9}, "child"),
        ({"gender": "f", "age": "twenties"}, "woman"),
        ({"gender": None, "age": None}, "person"),
        ({}, "person"),
    ],
)
def test_a_voice_is_what_the_corpus_says_of_it(known, voice):
    assert voice_of(known) == voice


def test_names_are_picked_as_often_as_their_shares():
    generator = np.random.default_rng(0)
    drawn = [pick(generator, {"a": 1.0, "b": 0.0, "c": 3.0}) for _ in range(4000)]
    assert "b" not in drawn and drawn.count("c") == pytest.approx(3000, abs=120)
