import base64
import hashlib
import html.parser
import re
import time
from pathlib import Path

import numpy as np
import pytest

from infra.dataset import (
    RUN,
    ShardRows,
    commit_shard,
    dataset_id,
    finish,
    gather,
    open_dataset,
    read_shard,
    shard_name,
    shards_of,
)
from infra.shards import Sample, build, decode_flac, encode_flac, encode_json
from infra.storage import Store, open_store
from pipelines.listen import Listen, card, listen
from pipelines.outliers import Choice
from tests.pipelines.browser import Browser

HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\"> & \"more\""


class Page(html.parser.HTMLParser):
    """What a browser would find in the page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data):
        self.text[self._open] = self.text.get(self._open, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def edits(store: Store, seconds: float = 0.5) -> Store:
    """A dataset of an editing task, by hand: a longer target, two channels, 48 kHz, a hostile instruction, a missed label."""
    num_samples = round(48000 * seconds)
    examples, rows = [], []
    rng = np.random.default_rng(0)
    for index in range(3):
        key, hears = f"event-edit-s0-{index:08d}", {"snr_db": 5.0 if index else 9.0}
        audio = {
            role: rng.normal(0, 3, (2, size)).astype(np.int16)
            for role, size in (("input", num_samples), ("target", 2 * num_samples))
        }
        clip = {
            "id": "x",
            "path": "x.wav",
            "role": "event",
            "sample_rate_hz": 48000,
            "start_frame": 0,
            "num_frames": num_samples,
        }
        record = {"key": key, "task": "event-edit", "sample_rate_hz": 48000, "requested": {"snr_db": 5.0}, "measured": hears}
        record |= {"texts": {"instruction": HOSTILE}, "mixture_parts": [], "attempt": 0}
        record["scene"] = {"events": [clip | {"licence": "CC0 <1.0>", "sha256": "0" * 64, "label": "bell"}]}
        members = {f"{role}.flac": encode_flac(signal, 48000) for role, signal in audio.items()}
        examples.append((key, members | {"json": encode_json(record)}))
        row = {
            "key": key,
            "index": index,
            "attempt": 0,
            "task": "event-edit",
            "sample_rate_hz": 48000,
            "num_samples": num_samples,
        }
        row |= {"roles": list(audio), "licences": ["CC0 <1.0>"], "requested_snr_db": 5.0, "measured_snr_db": hears["snr_db"]}
        rows.append(row)
    data = build(examples)
    commit_shard(store, shard_name(0), data, ShardRows(shard_name(0), hashlib.sha256(data).hexdigest(), len(data), rows, []))
    totals = gather(store, [shard_name(0)])
    store.put(RUN, b"{}")
    finish(store, totals, {"id": dataset_id(shards_of(totals.table))})
    return store


def page_of(out: str, to: Path, **options) -> str:
    assert listen(Listen(out=out, to=str(to), **options)) == 0
    return to.read_text()


@pytest.fixture
def both(dataset, tmp_path) -> Path:
    """The page of a restoration dataset and of an editing one."""
    edits(open_store(str(Path(dataset.url).parent / "event-edit-0")))
    page_of(str(Path(dataset.url).parent), tmp_path / "page" / "index.html")
    return tmp_path / "page" / "index.html"


@pytest.fixture
def lasting(tmp_path) -> Path:
    """The page of the editing one with targets of a minute, which play on while a busy machine looks at them."""
    edits(open_store(str(tmp_path / "event-edit-0")), seconds=30)
    page_of(str(tmp_path), tmp_path / "page" / "index.html")
    return tmp_path / "page" / "index.html"


def test_every_role_has_a_player_with_the_samples_of_the_shard(dataset, tmp_path):
    page = Page(page_of(dataset.url, tmp_path / "index.html", count=8))
    heard = {}
    for audio in page.all("audio"):
        role, _, key = audio["aria-label"].partition(" of ")
        heard[key, role] = decode_flac(base64.b64decode(audio["src"].removeprefix("data:audio/flac;base64,")))
    stored = {}
    for shard in open_dataset(dataset).shards().itertuples():
        for sample in read_shard(dataset, shard.shard, shard.shard_sha256, shard.num_examples):
            audio = {name.removesuffix(".flac"): value for name, value in sample.members.items() if name.endswith(".flac")}
            stored |= {(sample.key, role): value for role, value in audio.items()}
    assert heard.keys() == stored.keys()
    assert all(np.array_equal(heard[name][0], stored[name][0]) and heard[name][1] == stored[name][1] for name in stored)
    assert len(page.all("img")) == len(stored)


def test_the_page_needs_nothing_from_outside(both):
    text = both.read_text()
    page = Page(text)
    places = [
        attributes[name] for _, attributes in page.tags for name in ("src", "href", "srcset", "action") if name in attributes
    ]
    assert all(place == "#" or place.startswith("data:") for place in places)
    assert not re.search(r"https?://|url\(|@import", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_a_caption_with_markup_stays_text(both):
    page = Page(both.read_text())
    assert len(page.all("script")) == 1
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    assert HOSTILE in page.text["p"] + page.text["small"]
    assert "CC0 <1.0>" in page.text["small"]


def test_a_miss_stands_first_and_is_marked(both):
    page = Page(both.read_text())
    cards = [attributes["id"] for attributes in page.all("article") if attributes["id"].startswith("event-edit")]
    assert cards[0] == "event-edit-s0-00000000"
    assert [attributes.get("class") for attributes in page.all("tr")].count("miss") == 1
    assert "SNR misses its request" in page.text["span"]
    assert "1 label misses its request" in page.text["b"]


def test_what_it_is_made_from_and_how_it_is_labelled_is_on_the_page(dataset, tmp_path):
    page = Page(page_of(dataset.url, tmp_path / "index.html"))
    assert "CC0 1.0" in page.text["small"]
    assert "speech-s" in page.text["li"]
    assert all(name in page.text["b"] for name in ("SNR", "target level"))


def test_a_reference_keeps_its_own_position_unless_it_is_what_the_loudspeaker_plays():
    audio = {f"{name}.flac": (np.ones((1, 800), np.int16), 16000) for name in ("noise", "reference", "input")}
    record = {"requested": {}, "measured": {}, "texts": {}, "scene": {}, "sample_rate_hz": 16000}
    shown = {task: card(Sample("k", audio | {"json": record | {"task": task}}), Choice(0, ())).roles for task in ("tse", "aec")}
    assert [role.name for role in shown["tse"]] == ["input", "reference", "noise"]
    assert [role.timeline for role in shown["tse"]] == ["main", "reference", "main"]
    assert [role.timeline for role in shown["aec"]] == ["main", "main", "main"]


def test_the_same_dataset_gives_the_same_page_and_another_seed_another(dataset, tmp_path):
    pages = [page_of(dataset.url, tmp_path / f"{n}.html", count=3, seed=seed) for n, seed in enumerate((0, 0, 1, 2, 3))]
    assert pages[0] == pages[1]
    assert len(set(pages)) > 1


def test_fewer_examples_are_shown_where_the_page_would_be_too_large(dataset, tmp_path, capsys):
    whole = page_of(dataset.url, tmp_path / "a.html", count=6)
    fewer = page_of(dataset.url, tmp_path / "b.html", count=6, max_mb=len(whole) / 2e6)
    assert len(fewer) < 0.6 * len(whole)
    assert 1 <= len(Page(fewer).all("article")) < 6
    assert "of each are shown" in capsys.readouterr().out


def test_a_place_without_a_dataset_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="make simulate"):
        listen(Listen(out=str(tmp_path), to=str(tmp_path / "index.html")))
    with pytest.raises(ValueError, match="--count"):
        Listen(count=0)
    with pytest.raises(ValueError, match=r"\.html"):
        Listen(to="data/listen")


def test_a_damaged_shard_is_named(dataset, tmp_path):
    data = bytearray(dataset.get(shard_name(1)))
    data[len(data) // 2] ^= 1
    dataset.put(shard_name(1), bytes(data))
    with pytest.raises(ValueError, match=r"shard-000001\.tar"):
        listen(Listen(out=dataset.url, to=str(tmp_path / "index.html"), count=8))


@pytest.mark.s3
def test_a_dataset_on_s3_has_the_same_examples_and_its_page_may_lie_there(dataset, s3, tmp_path):
    remote = open_store(f"{s3}/sr-0")
    for name in dataset.list():
        remote.put(name, dataset.get(name))
    assert listen(Listen(out=s3, to=f"{s3}/listen/index.html")) == 0
    there = Page(open_store(s3).get("listen/index.html").decode())
    here = Page(page_of(dataset.url, tmp_path / "index.html"))
    assert there.all("audio") == here.all("audio")


def wait(browser: Browser, condition: str, timeout_s: float = 60) -> None:
    """Until a JavaScript expression is true."""
    end = time.monotonic() + timeout_s
    while not browser.run(f"return Boolean({condition})"):
        assert time.monotonic() < end, condition
        time.sleep(0.1)


@pytest.mark.browser
def test_in_a_browser_players_load_pictures_show_and_nothing_is_refused(browser, both):
    browser.open(both)
    wait(browser, "all('audio').every(audio => audio.readyState >= 2 && audio.duration > 0)")
    assert browser.run("return all('audio').length") == browser.run("return all('.role').length") > 12
    assert browser.run("return [...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("return document.title") == "Listen: event-edit, sr"
    assert browser.run("return all('.text').some(text => text.textContent.includes('<script>'))")
    assert browser.complaints() == []


@pytest.mark.browser
def test_in_a_browser_roles_are_switched_while_they_play(browser, lasting):
    browser.open(lasting)
    browser.run("document.querySelector('.play').click()")
    wait(browser, "cards[0].started !== null && cards[0].position() > 0.2")
    decoded = browser.run("return cards[0].roles.map(role => [role.buffer.duration, role.buffer.numberOfChannels])")
    assert decoded == [[pytest.approx(30, abs=1e-3), 2], [pytest.approx(60, abs=1e-3), 2]]
    started = browser.run("return cards[0].started")
    browser.press("2")
    wait(browser, "cards[0].heard === cards[0].roles[1] && cards[0].roles[1].volume.gain.value > 0.95")
    assert browser.run("return cards[0].started") == started  # neither stopped nor moved
    wait(browser, "cards[0].roles[0].volume.gain.value < 0.05")
    assert browser.run("return all('.switch').slice(0, 2).map(button => button.ariaPressed)") == ["false", "true"]


@pytest.mark.browser
def test_in_a_browser_the_keys_pause_seek_and_step(browser, lasting):
    browser.open(lasting)
    browser.run("document.querySelector('.play').click()")
    wait(browser, "cards[0].started !== null")
    browser.press(" ")
    wait(browser, "cards[0].started === null")
    browser.run("cards[0].seek(7.5)")
    assert browser.run("return cards[0].output.textContent") == "7.50 / 60.00 s"
    browser.press("j")
    assert browser.run("return current === cards[1] && document.activeElement === cards[1].element")
    browser.press(" ")
    wait(browser, "cards[1].started !== null && cards[0].started === null")


@pytest.mark.browser
def test_in_a_browser_the_filter_shows_one_task(browser, both):
    browser.open(both)
    browser.run("all('.filter button').find(button => button.textContent === 'sr').click()")
    shown = "return [...new Set(cards.filter(card => card.element.offsetParent).map(card => card.element.id.split('-s0-')[0]))]"
    assert browser.run(shown) == ["sr"]
    browser.run("all('.filter button')[0].click()")
    assert browser.run(shown) == ["event-edit", "sr"]
