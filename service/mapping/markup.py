"""HTML to plain text, in one pass whatever the text is.

The standard library's ``html.parser`` takes quadratic time over tags that are never closed (37 s for 64 KiB of ``<a``
on Python 3.11), and notes come from anybody who can write to a CRM; so tags are found here, entities by the library.
"""

import html
import re
from typing import Final

from service.mapping.values import MappingError

_TAG: Final = re.compile(r"<(?:(?P<comment>!--)|(?P<other>[!?])|/?(?P<name>[a-zA-Z][a-zA-Z0-9:-]{0,31}))")
_HIDDEN: Final = {name: re.compile(f"</{name}", re.IGNORECASE) for name in ("script", "style", "title", "template")}
_LINES: Final = frozenset({"br", "p"})
_BLOCKS: Final = frozenset(
    (
        *("address", "article", "blockquote", "div", "footer", "form", "header", "hr", "main", "pre"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "section"),
        *("dd", "dl", "dt", "li", "ol", "ul", "table", "tr"),
    )
)
_GAPS: Final = frozenset({"td", "th"})
_MARK: Final = re.compile(r">|=\s{0,8}(?P<quote>[\"'])")
_EMPTY_LINES: Final = re.compile(r"\n{3,}")


def plain_text(text: str) -> str:
    """Return the text without tags, comments, scripts and styles, with entities resolved and spaces tidied.

    Blocks start a line, ``<br>`` and ``<p>`` always one more; where there are any, line breaks of the source count as
    spaces. A ``<`` that opens no tag stays. MappingError for a character reference of impossible length.
    """
    parts = _parts(text) if "<" in text else [text]
    if "\n" in parts:
        parts = [part if part == "\n" else part.replace("\n", " ") for part in parts]
    try:
        resolved = html.unescape("".join(parts))
    except ValueError:  # digits past what Python reads as a number
        raise MappingError("found text with a character reference that is too long") from None
    lines = resolved.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return _EMPTY_LINES.sub("\n\n", "\n".join(" ".join(line.split()) for line in lines).strip())


def _parts(text: str) -> list[str]:
    """Split into pieces of text and what stands for the tags between them."""
    parts: list[str] = []
    at = 0
    while tag := _TAG.search(text, at):
        if (end := _end(text, tag)) is None:
            break
        fresh = not parts or parts[-1] == "\n"
        if (piece := text[at : tag.start()]) and not (fresh and piece.isspace()):
            parts.append(piece)
            fresh = False
        name = (tag["name"] or "").lower()
        if name in _LINES or (name in _BLOCKS and not fresh):
            parts.append("\n")
        elif name in _GAPS:
            parts.append(" ")
        hidden = None if text.startswith("</", tag.start()) else _HIDDEN.get(name)
        if hidden is not None:
            closing = hidden.search(text, end)
            end = closing.start() if closing else len(text)
        at = end
    parts.append(text[at:])
    return parts


def _end(text: str, tag: re.Match[str]) -> int | None:
    """Where the tag ends; None if it never does. A quoted ``>`` is part of the tag."""
    at = tag.end()
    if tag["name"] and text.startswith(">", at):
        return at + 1
    if tag["comment"]:
        closing = text.find("-->", at)
        return len(text) if closing < 0 else closing + 3
    while mark := _MARK.search(text, at):
        if (quote := mark["quote"]) is None:
            return mark.end()
        closing = text.find(quote, mark.end())
        at = mark.end() if closing < 0 else closing + 1  # a quote that nothing closes is none
    return None
