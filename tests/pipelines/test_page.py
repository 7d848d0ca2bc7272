import re

import jinja2
import pytest

from pipelines.page import html
from pipelines.rendering import ROOT
from tests.pipelines.test_listen import HOSTILE, Page

TEMPLATES = ROOT / "pipelines"
PAGES = sorted(path.name for path in TEMPLATES.glob("*.html") if "{% extends" in path.read_text())
RULE = re.compile(r"^[^{}%/]+\{[^{}]+\}$", re.MULTILINE)


def test_a_page_is_one_document_with_one_look_and_one_script():
    page = Page(html("listen.html", sections=[]))
    assert [len(page.all(tag)) for tag in ("html", "title", "style", "script", "main")] == [1] * 5
    assert not page.all("link")


def test_a_value_that_a_template_is_not_given_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="sections"):
        html("listen.html")


def test_texts_are_escaped_and_filters_are_those_given(tmp_path, monkeypatch):
    (tmp_path / "shout.html").write_text("<p>{{ text | shout }}</p>")
    monkeypatch.setattr("pipelines.page.__file__", str(tmp_path / "page.py"))
    assert html("shout.html", {"shout": str.upper}, text="a <b> & c") == "<p>A &lt;B&gt; &amp; C</p>"
    assert HOSTILE not in html("shout.html", {"shout": str}, text=HOSTILE)


@pytest.mark.parametrize("name", PAGES)
def test_a_rule_of_the_shared_look_stands_once(name):
    shared = set(RULE.findall((TEMPLATES / "page.html").read_text()))
    assert len(shared) > 8
    text = (TEMPLATES / name).read_text()
    if "report_look.css" in text:
        shared |= set(RULE.findall((TEMPLATES / "report_look.css").read_text()))
    assert not shared & set(RULE.findall(text))
