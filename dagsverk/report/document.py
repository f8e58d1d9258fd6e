"""A report's HTML file: everything it shows is in it, and it can run nothing and fetch nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from dagsverk import markup
from dagsverk.markup import Html

NAME = "Dagsverk"
STYLE_SHEET = Path(__file__).with_name("report.css")
# Also when the file lies on a disk: no script, no address, nothing from elsewhere. Styles are in the file.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@cache
def _style() -> str:
    return "".join(sheet.read_text(encoding="utf-8") for sheet in (markup.STYLE_SHEET, STYLE_SHEET))


def document(title: str, words: str, *content: object) -> str:
    """A whole HTML document.

    Args: title, words: text; escaped. content: pieces of `markup`.
    """
    brand = markup.element("p", markup.join(markup.LOGO, markup.element("span", NAME)), "dv-brand")
    heading = markup.element("h1", markup.short(title, 200))
    top = markup.element("div", markup.join(heading, markup.element("p", words)), "dv-title")
    main = markup.join(Html('<header class="dv-head">'), brand, Html("</header>"), top, *content)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="content-security-policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light dark">'
        '<link rel="icon" href="data:,">'
        f"<title>{markup.text(markup.short(title, 200))} · {NAME}</title>"
        f"<style>{_style()}</style></head>"
        f'<body><main class="dv">{main}</main></body></html>\n'
    )
