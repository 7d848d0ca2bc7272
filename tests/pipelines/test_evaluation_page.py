import re

import numpy as np
import pytest

from infra.storage import open_store
from pipelines.evaluation_page import Published, band_order, page, sections, verdict
from tests.pipelines import evaluation_samples
from tests.pipelines.test_listen import HOSTILE, Page
from training.metrics.clip_table import Evaluation


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory) -> Evaluation:
    return evaluation_samples.evaluation(open_store(str(tmp_path_factory.mktemp("evaluation"))))


def row(low, high):
    return {"low": low, "high": high}


@pytest.mark.parametrize(
    "low, high, said",
    [(0.1, 0.3, "better"), (-0.3, -0.1, "worse"), (-0.1, 0.3, ""), (0.0, 0.3, ""), (-0.3, 0.0, ""), (None, None, "")],
)
def test_a_gain_is_marked_only_where_its_interval_excludes_0(low, high, said):
    assert verdict(row(low, high)) == said


def test_bands_are_in_the_order_of_their_numbers():
    bands = ["15 dB and more", "0 to 5 dB", "10 to 15 dB", "under 0 dB", "replace", "add"]
    in_order = ["under 0 dB", "0 to 5 dB", "10 to 15 dB", "15 dB and more", "add", "replace"]
    assert sorted(bands, key=band_order) == in_order


def test_a_section_has_the_numbers_of_the_table_in_one_order(evaluation):
    of_task = {section.task: section for section in sections(evaluation)}
    sr = of_task["sr"]
    assert (sr.num_clips, sr.metrics) == (12, ["si_sdr", "mel_distance"])
    assert sr.systems == ["a", "b", "input", "oracle", "mask"]  # the target has no number here
    frame = evaluation.clips.to_pandas()
    values = frame[(frame["task"] == "sr") & (frame["system"] == "a")]["metric.si_sdr"]
    assert sr.cell("a", "si_sdr")["mean"] == pytest.approx(values.mean())
    assert list(sr.differences) == [("a", "input"), ("b", "input"), ("b", "a")]
    assert [value for value, system, _ in sr.slices["SNR"] if system == "a"] == ["under 0 dB", "0 to 5 dB", "5 dB and more"]
    assert sr.failures == [("b", evaluation_samples.key(2), "failed: it gave <nothing>")]
    assert (sr.best("si_sdr", ["a", "b"], "higher"), sr.best("mel_distance", ["a", "b"], "lower")) == ("b", "b")
    assert sr.best("si_sdr", ["a"], "higher") == ""


def test_a_metric_without_any_value_says_why_and_has_no_column(evaluation):
    of_task = {section.task: section for section in sections(evaluation)}
    assert of_task["sr"].absent == {"utmos": "not run: no weights"}
    assert (of_task["tta"].metrics, of_task["tta"].charts) == ([], [])
    html = page(evaluation, sections(evaluation))
    assert "UTMOS: not run: no weights." in html and "nothing to compare with" in html


def test_charts_have_a_row_for_each_system_on_one_axis(evaluation):
    chart = sections(evaluation)[0].charts[0]
    frame = evaluation.clips.to_pandas()
    values = frame.loc[frame["task"] == sections(evaluation)[0].task, "metric.si_sdr"].dropna()
    assert chart.ends == (values.min(), values.max())
    counts = {system: svg.count('class="one"') for system, svg in chart.rows}
    assert counts == {"a": 12, "b": 11, "input": 12, "oracle": 12, "mask": 12}
    places = [float(x) for _, svg in chart.rows for x in re.findall(r'class="one" d="M([-\d.]+) ', svg)]
    assert np.all((np.array(places) >= 0) & (np.array(places) <= 280))


def test_the_page_says_differences_codebooks_speed_and_parents(evaluation):
    html = page(evaluation, sections(evaluation))
    assert html.count('class="better"') == 18  # (3 pairs x 2 metrics and 3 in the first table) of two tasks
    assert "b over a" in html and "★" in html and "11 of 12" in html
    assert 'id="codebooks"' in html and "--share: " in html
    assert "<td>b</td><td>0.167</td><td>3.00</td>" in html
    assert "a" * 64 in html and "code 0123abcd" in html and evaluation.id[:12] in html


def test_figures_of_others_stand_beside_ours(evaluation):
    shown = sections(evaluation)
    shown[0].published.append(Published("DNS 2020", "Other models, the same set.", ["system", "PESQ"], [["<b>X</b>", "2.94"]]))
    html = page(evaluation, shown)
    assert "Other models, the same set." in html and "<td>&lt;b&gt;X&lt;/b&gt;</td><td>2.94</td>" in html


def test_the_page_needs_nothing_from_outside_and_names_stay_text(evaluation):
    about = evaluation.description
    about = about | {"parents": about["parents"] | {"settings": {"note": HOSTILE}}, "commit": HOSTILE}
    html = Page(page(Evaluation(about, evaluation.clips), sections(evaluation)))
    places = [attributes[name] for _, attributes in html.tags for name in ("src", "href", "srcset") if name in attributes]
    assert all(place.startswith("#") for place in places)
    assert len(html.all("script")) == 1
    assert not [attributes for _, attributes in html.tags if any(name.startswith("on") for name in attributes)]
    policy = next(meta["content"] for meta in html.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
