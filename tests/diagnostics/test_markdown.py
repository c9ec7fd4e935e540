from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from diagnostics.markdown import markdown


def test_headings_paragraphs_lists_and_terms() -> None:
    page = (
        "<head><title>t</title><style>p { x }</style></head><h1>One</h1><p>Some <em>text</em>,\n <strong>more</strong> "
        "<code>a_b</code>.</p><ul><li>x</li><li>y</li></ul><dl><dt>term</dt><dd>what it is</dd></dl><h2>Two</h2>"
    )
    assert markdown(page) == ("# One\n\nSome *text*, **more** `a_b`.\n\n- x\n- y\n- **term**: what it is\n\n## Two\n")


def test_tables_and_figures() -> None:
    page = (
        '<table><caption>What.</caption><thead><tr><th>a</th><th class="num">n</th></tr></thead>'
        '<tbody><tr><td>x | y</td><td class="num"><span class="pass">1</span></td></tr></tbody></table>'
        '<figure><img src="figures/f.png" alt="A &amp; B"><figcaption>Seen.</figcaption></figure>'
    )
    assert markdown(page) == (
        "What.\n\n| a | n |\n| --- | ---: |\n| x \\| y | 1 |\n\n![A \\& B](figures/f.png)\n\nSeen.\n"
    )


@given(st.text(alphabet="ab`*_[]<>|$~#&\\!\n\"' ", max_size=30))
def test_no_text_is_read_as_markup(text: str) -> None:
    found = markdown(f"<table><tr><th>{html.escape(text)}</th></tr></table>")
    cell = found.split("\n")[0][2:-2]
    assert re.sub(r"\\(.)", r"\1", cell) == re.sub(r"\s+", " ", text).strip()
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|$~#&]", cell)
