"""The page: sections of text, tables and pictures as one HTML file that needs nothing else.

A page is data. Every text is plain: it is escaped here and nowhere else.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import html
from typing import TYPE_CHECKING, Any

from ltjax.report import style
from ltjax.report.stylesheet import CSS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
      text: what it says.
      look: its class in the style sheet: `win` (also `agrees`), `differs`, `faint` (also `not`),
        `edge` (a line on its left), or several with spaces.
      faint: said behind it, paler, as a deviation.
      after: said behind that.
      star: a star, or room for one, so that numbers stay in line; None for neither.
      anchor: of a section of the page, to which the text then leads.
    """

    text: str
    look: str = ""
    faint: str = ""
    after: str = ""
    star: bool | None = None
    anchor: str = ""


@dataclasses.dataclass(frozen=True)
class Text:
    """Paragraphs; `look`: `lead` (larger), `note` (pale), `caption` (small), `mark` (a warning)."""

    sentences: Sequence[str]
    look: str = ""


@dataclasses.dataclass(frozen=True)
class Items:
    """Sentences as a list."""

    sentences: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Names and values, as settings: lists and mappings without brackets and quotes."""

    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; it scrolls sideways where it is too wide.

    Attributes:
      heads: of the columns.
      body: rows of cells, which may be plain text.
      title: headline above it; may be empty.
      note: caption below the title; may be empty.
      over: a row above the heads: texts, each with the number of columns that it spans.
      left: parts of that row which say what the lines are; a terminal repeats them.
      wordy: cells hold sentences: they are flush left and break lines.
    """

    heads: Sequence[str]
    body: Sequence[Sequence[str | Cell]]
    title: str = ""
    note: str = ""
    over: Sequence[tuple[str, int]] = ()
    left: int = 0
    wordy: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Attributes:
      title: the first words of the caption, and what stands for the figure where there is none.
      figure: None, or one with nothing drawn, makes a sentence (`absent`); where matplotlib is
        missing, None makes nothing, for the page says so once.
      caption: the rest of the caption.
      absent: why there is no figure.
    """

    title: str
    figure: "Figure | None"
    caption: str = ""
    absent: str = "want of anything to show"


@dataclasses.dataclass(frozen=True)
class Fold:
    """Parts that open and close on a click; closed at first, unless they are `shown`."""

    title: str
    parts: "Sequence[Part]"
    shown: bool = False


Part = Text | Items | Pairs | Table | Picture | Fold


@dataclasses.dataclass(frozen=True)
class Section:
    """A headline with parts.

    Attributes:
      title: of the section; empty for parts that belong to no headline.
      parts: in order.
      anchor: what a `Cell` may lead to.
    """

    title: str
    parts: Sequence[Part]
    anchor: str = ""


def page(
    title: str,
    sections: Sequence[Section],
    *,
    lead: Sequence[str] = (),
    notes: Sequence[str] = (),
    about: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> str:
    """The page as HTML: the same characters for the same input.

    Args:
      title: headline of the page.
      sections: in order.
      lead: sentences under the headline: what was found.
      notes: a list behind the sections: what a reader has to know.
      about: paragraphs behind that: the rules by which it was judged.
      settings: what the run was asked for, by name.
      provenance: library versions, device, seed and the like, by name.
    """
    first: list[Part] = [Text(lead, "lead")] if lead else []
    if not style.available() and not any(map(_pictured, sections)):
        first.append(Text([style.MISSING_PLOTS], "note"))
    last: list[tuple[str, Part]] = []
    if notes:
        last.append(("Notes", Items(notes)))
    if about:
        last.append(("The rule", Text(about)))
    if settings is not None:
        last.append(("Settings", Pairs(settings)))
    if provenance is not None:
        last.append(("Where it comes from", Pairs(provenance)))
    every = [*sections, *(Section(name, [part]) for name, part in last)]
    inner = [*map(_part, first), *map(_section, every)]
    head = _text(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{head}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n<h1>{head}</h1>\n"
        + "\n".join(part for part in inner if part)
        + "\n</body>\n</html>\n"
    )


def _pictured(section: Section) -> bool:
    return any(isinstance(part, Picture) and part.figure is not None for part in section.parts)


def _section(section: Section) -> str:
    anchor = f' id="{_text(section.anchor)}"' if section.anchor else ""
    head = f"<h2{anchor}>{_text(section.title)}</h2>" if section.title else ""
    return "\n".join(part for part in [head, *map(_part, section.parts)] if part)


def _part(part: Part) -> str:
    match part:
        case Text(sentences, look):
            return f'<div class="{look}">\n{_each("p", sentences)}\n</div>'
        case Items(sentences):
            return f"<ul>\n{_each('li', sentences)}\n</ul>"
        case Pairs(values):
            rows = (
                f'<tr><th scope="row">{_text(name)}</th><td>{_text(plain(value))}</td></tr>'
                for name, value in values.items()
            )
            return '<table class="pairs">\n<tbody>\n' + "\n".join(rows) + "\n</tbody>\n</table>"
        case Table():
            return _table(part)
        case Picture():
            return _picture(part)
        case Fold(title, parts, shown):
            inner = "\n".join(map(_part, parts))
            opened = " open" if shown else ""
            return f"<details{opened}>\n<summary>{_text(title)}</summary>\n{inner}\n</details>"


def _table(table: Table) -> str:
    over = "".join(
        f'<th colspan="{span}" scope="colgroup">{_text(text)}</th>' for text, span in table.over
    )
    heads = "".join(f'<th scope="col">{_text(n)}</th>' for n in table.heads)
    head = f"<tr>{over}</tr>\n<tr>{heads}</tr>" if over else f"<tr>{heads}</tr>"
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.body)
    title = f"<h3>{_text(table.title)}</h3>\n" if table.title else ""
    note = f'<p class="caption">{_text(table.note)}</p>\n' if table.note else ""
    kind = ' class="wordy"' if table.wordy else ""
    return (
        f'{title}{note}<div class="scroll">\n<table{kind}>\n<thead>\n{head}\n</thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{_text(cell)}</td>"
    look = f' class="{_text(cell.look)}"' if cell.look else ""
    return f"<td{look}>{_said(cell)}</td>"


def _said(cell: Cell) -> str:
    text = _text(cell.text)
    if cell.anchor:
        text = f'<a href="#{_text(cell.anchor)}">{text}</a>'
    if cell.faint:
        text += f' <span class="faint">{_text(cell.faint)}</span>'
    star = "" if cell.star is None else f'<span class="star">{"*" * cell.star}</span>'
    return f"{text}{_text(cell.after)}{star}"


def _picture(picture: Picture) -> str:
    title = _text(picture.title)
    if picture.figure is None and not style.available():
        return ""
    if picture.figure is None or not style.shows(picture.figure):
        return _part(Text([f"{picture.title}: no figure, for {picture.absent}."], "note"))
    # Inside an image element, so that the ids of several do not clash.
    code = base64.b64encode(style.svg(picture.figure).encode()).decode()
    return (
        f'<figure>\n<img src="data:image/svg+xml;base64,{code}" alt="{title}">\n'
        f"<figcaption><b>{title}.</b> {_text(picture.caption)}</figcaption>\n</figure>"
    )


def _each(tag: str, sentences: Iterable[str]) -> str:
    return "\n".join(f"<{tag}>{_text(s)}</{tag}>" for s in sentences)


def _text(text: str) -> str:
    return html.escape(str(text))


def plain(value: Any) -> str:
    """Lists and mappings without brackets and quotes; anything else as Python writes it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plain, value))
    return str(value)
