import numpy as np
import pandas as pd
import pytest

from pipelines.listen_page import distribution, distributions, label_name, label_rows, quantity, role, sentence
from pipelines.outliers import Choice, Reason

S = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    "label, value, said",
    [
        ("snr_db", -4.9, f"\N{MINUS SIGN}4.9{S}dB"),
        ("snr_db", -0.001, f"0{S}dB"),
        ("level_db", -200.0, f"\N{MINUS SIGN}∞{S}dB"),
        ("rt60_s", 0.456, f"0.46{S}s"),
        ("lost_share", 0.125, f"12.5{S}%"),
        ("bandwidth_hz", 3875.0, f"3,875{S}Hz"),
        ("target_absent", 1.0, "1"),
        ("lag_samples", -3.0, "\N{MINUS SIGN}3"),
        ("characters_per_s", 10.5, f"10.5{S}/s"),
    ],
)
def test_values_are_worded_with_their_units(label, value, said):
    assert quantity(label, value) == said


def test_labels_are_worded_as_people_say_them():
    said = {"enrolment_snr_db": "enrolment SNR", "sir1_db": "SIR 1", "rt60_s": "RT60", "active_share": "active share"}
    said |= {"target_absent": "target absent", "lag_samples": "lag samples", "characters_per_s": "characters"}
    assert {label: label_name(label) for label in said} == said


def test_the_table_calls_a_miss_what_the_gate_calls_a_miss():
    requested = {"snr_db": 5.0, "rt60_s": 0.5, "sir_db": 1.0, "lag_samples": 0.0}
    measured = {"snr_db": 5.05, "rt60_s": 0.9, "lag_samples": 0.0, "stem_residual_db": -20.0, "active_share": 0.5}
    rows = {row.name: row for row in label_rows(requested, measured)}
    assert {name for name, row in rows.items() if row.missed} == {"RT60", "SIR", "stem residual"}
    assert rows["SIR"].measured == ""
    assert rows["lag samples"].limit == "exact"
    assert rows["SNR"].limit == f"±{S}0.1{S}dB"
    assert rows["active share"].limit == ""


def test_equal_loudness_never_clips():
    quiet = role("input", np.array([[0, 20, -20, 20] * 4000], np.int16), 16000)
    assert quiet.equal_gain > 10
    click = np.zeros((1, 16000), np.int16)
    click[0, 100] = 30000
    assert role("input", click, 16000).equal_gain * 30000 / 32767 <= 0.9905
    assert role("target", np.zeros((1, 16000), np.int16), 16000).equal_gain == 1.0


def test_files_can_be_kept_elsewhere_than_in_the_page():
    kept = {}
    found = role("input", np.ones((1, 1600), np.int16), 16000, keep=lambda kind, data: kept.setdefault(kind, data) and kind)
    assert (found.audio, found.picture) == ("audio/flac", "image/png")
    assert kept["audio/flac"][:4] == b"fLaC" and kept["image/png"][1:4] == b"PNG"


def test_what_is_not_aligned_has_a_time_line_of_its_own():
    audio = np.ones((1, 1600), np.int16)
    assert role("target", audio, 16000).timeline == role("input", audio, 16000).timeline
    assert role("reference", audio, 16000, aligned=False).timeline != role("input", audio, 16000).timeline


def test_a_distribution_leaves_silence_off_the_axis_and_counts_misses():
    labels = pd.DataFrame(
        {"measured_snr_db": [1.0, 2.0, 3.0, 200.0, np.nan], "requested_snr_db": [1.0, 2.5, 3.0, np.nan, np.nan]}
    )
    found = distribution(labels, "snr_db", [Choice(1, ()), Choice(3, ()), Choice(4, ())])
    assert found.num_missed == 1
    assert found.note == "4 of 5, 1 at ±∞"
    assert found.svg.count('class="mark"') == 1


def test_labels_that_never_vary_have_no_chart_and_come_last():
    labels = pd.DataFrame(
        {"measured_lag_samples": [0.0, 0.0], "measured_level_db": [-20.0, -21.0], "measured_snr_db": [1.0, 2.0]}
    )
    labels["requested_snr_db"] = labels["measured_snr_db"]
    assert [(chart.name, bool(chart.svg)) for chart in distributions(labels, [])] == [
        ("SNR", True),
        ("level", True),
        ("lag samples", False),
    ]


def test_a_reason_is_a_sentence():
    assert sentence(Reason("snr_db", "lowest", -5.0, 8.0)) == f"lowest SNR: \N{MINUS SIGN}5{S}dB (median 8{S}dB)"
    assert sentence(Reason("rt60_s", "miss", float("nan"), 0.5)) == f"RT60 misses its request: 0.5{S}s asked, not measured"
