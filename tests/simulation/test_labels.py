import pytest

from simulation.labels import disagreements


@pytest.mark.parametrize(
    ("label", "requested", "measured", "well"),
    [
        ("snr_db", 5.0, 5.09, True),
        ("snr_db", 5.0, 5.11, False),
        ("sir2_db", -3.0, -3.2, False),
        ("rt60_s", 0.5, 0.59, True),
        ("rt60_s", 0.5, 0.65, False),
        ("lag_samples", 0, 0, True),
        ("lag_samples", 0, 1, False),
        ("drr_db", 1.0, 9.0, True),  # information only
    ],
)
def test_a_label_is_held_to_its_request(label, requested, measured, well):
    assert (disagreements({label: requested}, {label: measured}) == []) is well


def test_a_requested_label_that_was_not_measured_is_named():
    assert "snr_db" in disagreements({"snr_db": 3.0}, {})[0]


def test_a_mixture_that_is_not_the_sum_of_its_stems_is_named():
    assert disagreements({}, {"stem_residual_db": -61.0}) == []
    assert "sum of its stems" in disagreements({}, {"stem_residual_db": -59.0})[0]
