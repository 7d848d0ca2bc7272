import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.formats.splits import Shares, draw, settle

ROWS = st.lists(
    st.tuples(st.sampled_from(["", "train", "valid", "test"]), st.sampled_from("abcdefgh")), min_size=1, max_size=40
)


def settled(rows, shares=None):
    official, groups = (pd.Series(list(column), dtype="str") for column in zip(*rows))
    splits, torn = settle(official, groups, shares or Shares())
    return pd.DataFrame({"official": official, "group": groups, "split": splits}), torn


@given(ROWS)
def test_no_group_is_in_two_splits(rows):
    frame, _ = settled(rows, Shares(valid=0.3, test=0.3))
    assert frame.groupby("group")["split"].nunique().max() == 1
    assert set(frame["split"]) <= {"train", "valid", "test"}


@given(ROWS)
def test_an_official_split_that_keeps_groups_whole_is_honoured(rows):
    whole = {group: split for split, group in rows}
    frame, torn = settled([(whole[group], group) for _, group in rows])
    known = frame[frame["official"] != ""]
    assert (known["split"] == known["official"]).all()
    assert torn == 0


def test_a_torn_group_goes_to_the_most_held_out_split_and_is_counted():
    frame, torn = settled([("train", "a"), ("test", "a"), ("", "a"), ("train", "b")])
    assert list(frame["split"]) == ["test", "test", "test", "train"]
    assert torn == 1


def test_a_draw_does_not_hang_on_what_else_is_there():
    frame, _ = settled([("", "a"), ("", "b")])
    again, _ = settled([("", "b"), ("", "c"), ("", "a")])
    assert frame.set_index("group")["split"].to_dict() == again.set_index("group")["split"][["a", "b"]].to_dict()


def test_shares_are_kept_over_many_groups():
    counts = pd.Series([draw(f"speaker-{number}", Shares()) for number in range(20_000)]).value_counts(normalize=True)
    assert counts["valid"] == pytest.approx(0.05, abs=0.005)
    assert counts["test"] == pytest.approx(0.05, abs=0.005)


def test_another_salt_draws_other_groups():
    names = [f"speaker-{number}" for number in range(1000)]
    held = [{name for name in names if draw(name, Shares(salt=salt)) == "test"} for salt in ("a", "b")]
    assert held[0] != held[1]


@pytest.mark.parametrize("shares", [{"valid": -0.1}, {"valid": 0.6, "test": 0.5}])
def test_impossible_shares_are_refused(shares):
    with pytest.raises(ValueError, match="shares of valid"):
        Shares(**shares)
