"""Pages for a browser, by the templates beside this file: page.html is the frame and the look, the others fill its blocks.

What pages share (page_parts.html, report_look.css, report_player.js) is written into each: a page needs no other file for
its look. A template that asks for a value it was not given is an error, and every text is escaped.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2


def html(template: str, filters: dict[str, Callable[..., Any]] | None = None, **values: Any) -> str:
    """The whole HTML document by one template, `filters` by the names that the template calls them."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(template).render(**values)
