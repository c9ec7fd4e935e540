"""The report's page as Markdown: the same page, read tag by tag, so that the two cannot differ."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_SILENT = frozenset({"style", "title"})
_WRAP = {"em": "*", "strong": "**"}
_BLOCKS = frozenset({"p", "h1", "h2", "h3", "li", "dt", "dd", "caption", "figcaption", "th", "td"})
_SPECIAL = re.compile(r"([\\`*_\[\]<>|$~#&])")


def markdown(page: str) -> str:
    """Return a page made of the tags that our template uses as Markdown with pipe tables.

    Text is escaped, so that nothing in it is read as Markdown, HTML or TeX.

    Parameters
    ----------
    page : str
        HTML whose figures are ``img`` elements.
    """
    writer = _Writer()
    writer.feed(page)
    writer.close()
    return "\n\n".join(writer.blocks) + "\n"


class _Writer(HTMLParser):
    """Collects blocks: a paragraph, a heading, a whole list, a whole table."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[str] = []
        self.silent = 0
        self.text = ""
        self.code: str | None = None
        self.rows: list[list[str]] = []
        self.numbers: list[bool] = []
        self.term = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _SILENT:
            self.silent += 1
        elif tag in _BLOCKS:
            self.text = ""
            if tag == "th":
                self.numbers.append("num" in (given.get("class") or ""))
        elif tag in _WRAP:
            self.text += _WRAP[tag]
        elif tag == "code":
            self.code = ""
        elif tag == "table":
            self.rows, self.numbers = [], []
        elif tag == "tr":
            self.rows.append([])
        elif tag == "img":
            self.blocks.append(f"![{_escaped(given['alt'] or '')}]({given['src']})")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self.silent -= 1
        elif tag in _BLOCKS:
            self._finish(tag, re.sub(r"\s+", " ", self.text).strip())
            self.text = ""
        elif tag in _WRAP:
            self.text += _WRAP[tag]
        elif tag == "code" and self.code is not None:
            fence = "``" if "`" in self.code else "`"
            self.text, self.code = f"{self.text}{fence}{self.code}{fence}", None
        elif tag == "table":
            self.blocks.append(_table(self.rows, self.numbers))

    def handle_data(self, data: str) -> None:
        if self.silent:
            return
        if self.code is not None:
            self.code += data
        else:
            self.text += _escaped(data)

    def _finish(self, tag: str, text: str) -> None:
        if tag in ("td", "th"):
            self.rows[-1].append(text)
        elif tag == "dt":
            self.term = text
        elif tag in ("li", "dd"):
            item = f"- **{self.term}**: {text}" if tag == "dd" else f"- {text}"
            if self.blocks and self.blocks[-1].startswith("- "):
                self.blocks[-1] += f"\n{item}"
            else:
                self.blocks.append(item)
        elif text:
            self.blocks.append(f"{'#' * int(tag[1])} {text}" if tag in ("h1", "h2", "h3") else text)


def _table(rows: list[list[str]], numbers: list[bool]) -> str:
    head, *body = rows
    rule = ["---:" if number else "---" for number in numbers]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *body))


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
