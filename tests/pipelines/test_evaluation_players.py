import functools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.shards import decode_flac
from infra.storage import open_store
from pipelines.evaluation_page import PAGE
from pipelines.evaluation_players import add_page, choose, signals
from tests.pipelines import evaluation_samples
from tests.pipelines.evaluation_samples import key
from tests.pipelines.test_listen import HOSTILE, Page, wait
from training.metrics.clip_table import METRIC, Evaluation


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The store with a page of 4 examples a task, and the evaluation."""
    store = open_store(str(tmp_path_factory.mktemp("evaluation")))
    evaluation = evaluation_samples.evaluation(store)
    add_page(store, evaluation, 4, functools.partial(evaluation_samples.hear, text=HOSTILE))
    return store, evaluation


def test_half_are_the_worst_and_half_are_spread_over_the_others(made):
    """b gains less over a the higher the number; its example 2 has no value."""
    chosen = choose(made[1], "sr", 6)
    assert [one.key for one in chosen] == [key(number) for number in (11, 10, 9, 8, 5, 0)]
    assert [one.why for one in chosen[:2]] == [
        "SI-SDR: b 1.40 dB worse than a: the worst",
        "SI-SDR: b 1.00 dB worse than a: 1 of 11 are worse",
    ]
    assert chosen[-1].why == "SI-SDR: b 3.00 dB better than a: 10 of 11 are worse"


@pytest.mark.parametrize("count", [1, 2, 3, 5, 11, 40])
def test_no_example_is_chosen_twice_and_none_for_want_of_others_is_made_up(made, count):
    keys = [one.key for one in choose(made[1], "sr", count)]
    assert len(set(keys)) == len(keys) == min(count, 11)


def test_one_model_is_compared_with_the_input_and_without_an_input_its_value_counts(made):
    about, clips = made[1].description, made[1].clips
    systems = {name: one for name, one in about["systems"].items() if name != "a"}
    frame = clips.to_pandas()
    alone = Evaluation(about | {"systems": systems}, clips.filter(np.array(frame["system"] != "a")))
    assert choose(alone, "sr", 1)[0].why == "SI-SDR: b 2.60 dB better than input: the worst"
    no_input = Evaluation(alone.description, clips.filter(np.array(~frame["system"].isin(["a", "input"]))))
    of_b = frame[(frame["system"] == "b") & (frame["task"] == "sr")]
    worst = of_b.loc[of_b[METRIC + "si_sdr"].idxmin()]
    (first,) = choose(no_input, "sr", 1)
    assert (first.key, first.why) == (worst["key"], f"SI-SDR of b {worst[METRIC + 'si_sdr']:.2f} dB: the worst")


def test_a_task_without_numbers_shows_its_first_examples(made):
    assert [one.key for one in choose(made[1], "tta", 2)] == [key(0), key(1)]


def test_every_link_of_the_page_is_a_file_beside_it_with_the_system_s_samples(made):
    store, _ = made
    html = Page(store.get(PAGE).decode())
    links = [attributes["src"] for _, attributes in html.tags if "src" in attributes]
    assert sorted(links) == sorted(name for name in store.list() if name.startswith("heard/"))
    assert all(re.fullmatch(r"heard/[a-z_]+-[0-9a-f]{12}/\d\d-[A-Za-z0-9-]+\.(flac|png)", link) for link in links)
    players = {player["aria-label"]: player["src"] for player in html.all("audio")}
    audio, rate_hz = decode_flac(store.get(players[f"b of {key(11)}"]))
    wanted = evaluation_samples.case("sr", 11).targets[0]
    assert rate_hz == evaluation_samples.RATE_HZ and np.abs(audio[0] / 32767 - wanted).max() < 1e-4
    assert f"b 2 of {key(0)}" in players  # the second voice of ss


def test_a_text_of_an_example_stays_text(made):
    html = Page(made[0].get(PAGE).decode())
    assert len(html.all("script")) == 1 and HOSTILE in html.text["small"] + html.text["p"]
    assert not [attributes for _, attributes in html.tags if any(name.startswith("on") for name in attributes)]


def test_the_same_examples_heard_in_another_order_are_the_same_files(made, tmp_path):
    store = open_store(str(tmp_path))
    add_page(store, made[1], 2, lambda names: reversed(list(evaluation_samples.hear(names, HOSTILE))))
    names = list(store.list("heard/"))
    assert len(names) > 40 and all(store.get(name) == made[0].get(name) for name in names)


def test_a_system_that_failed_says_why(made, tmp_path):
    about, frame = made[1].description, made[1].clips.to_pandas()
    only = Evaluation(about, made[1].clips.filter(np.array(frame["key"] == key(2))))
    without = Evaluation(about, only.clips.filter(np.array(only.clips.to_pandas()["task"] == "sr")))
    store = open_store(str(tmp_path))
    add_page(store, without, 2, evaluation_samples.hear)
    assert "b: failed: it gave &lt;nothing&gt;" in store.get(PAGE).decode()


def test_signals_are_what_is_given_then_each_target_and_what_was_made_of_it():
    case = replace(evaluation_samples.case("ss", 0), reference=np.ones(4, np.float32))
    waves = {"a": case.targets, "oracle": case.targets[:1], "input": case.targets, "target": case.targets}
    found = [(name, system) for name, system, _ in signals(case, waves, ["a", "oracle", "target"])]
    assert found[:2] == [("input", "input"), ("reference", "")]
    assert found[2:] == [("target 1", "target"), ("a 1", "a"), ("oracle 1", "oracle"), ("target 2", ""), ("a 2", "")]


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """The page with clips of 6 s, which last while a busy machine looks at what they do."""
    store = open_store(str(tmp_path_factory.mktemp("long")))
    add_page(store, evaluation_samples.evaluation(store), 1, functools.partial(evaluation_samples.hear, seconds=3.0))
    return Path(store.local_path(PAGE))


@pytest.mark.browser
def test_in_a_browser_players_load_and_a_switch_keeps_the_position(browser, long):
    browser.open(long)
    wait(browser, "[...document.querySelectorAll('audio')].every(audio => audio.readyState >= 1 && audio.duration > 5)")
    browser.run("for (const image of document.images) image.loading = 'eager'")
    wait(browser, "[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("return document.title").startswith("Evaluation ")
    browser.run("window.roles = document.querySelector('article').querySelectorAll('.role'); window.at = {}")
    browser.run("window.audio = index => roles[index].querySelector('audio')")
    browser.run("audio(0).addEventListener('pause', () => { at.left = audio(0).currentTime; })")
    browser.run("audio(2).addEventListener('seeked', () => { at.sought = audio(2).currentTime; })")
    browser.run("audio(2).addEventListener('playing', () => { at.playing ??= audio(2).currentTime; })")
    browser.run("roles[0].querySelector('button').click()")
    wait(browser, "audio(0).currentTime > 0.5")
    browser.run("roles[2].querySelector('button').click()")
    wait(browser, "'left' in at && 'sought' in at && 'playing' in at")
    at = browser.run("return at")
    assert at["left"] > 0.5 and at["sought"] == pytest.approx(at["left"], abs=0.25), at
    assert browser.run("return audio(2).error") is None
    assert browser.complaints() == []
