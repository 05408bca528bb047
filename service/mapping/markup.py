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
_LINE, _BLOCK, _GAP = "\n", "block", " "
_KINDS: Final = {
    **dict.fromkeys(("br", "p"), _LINE),
    **dict.fromkeys(("address", "article", "blockquote", "div", "footer", "form", "header", "hr", "main"), _BLOCK),
    **dict.fromkeys(("pre", "section", "h1", "h2", "h3", "h4", "h5", "h6"), _BLOCK),
    **dict.fromkeys(("dd", "dl", "dt", "li", "ol", "ul", "table", "tr"), _BLOCK),
    **dict.fromkeys(("td", "th"), _GAP),
    **dict.fromkeys(_HIDDEN, "hidden"),
}
"""What stands for a tag in the text; the other ones leave no trace."""
_USUAL: Final = {
    f"<{slash}{name}{end}>": name
    for name in ("a", "b", "code", "em", "i", "small", "span", "strong", "sub", "sup", "u", *_KINDS.keys() - _HIDDEN)
    for slash, end in (("", ""), ("/", ""), ("", "/"), ("", " /"))
}
"""Tags without attributes as most markup has them: found by their text, in half the time."""
_USUAL_MAX: Final = max(map(len, _USUAL))
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
    tidy = "\n".join([" ".join(line.split()) for line in lines]).strip()
    return _EMPTY_LINES.sub("\n\n", tidy) if "\n\n\n" in tidy else tidy


def _parts(text: str) -> list[str]:
    """Split into pieces of text and what stands for the tags between them."""
    parts: list[str] = []
    at = look = 0
    while (start := text.find("<", look)) >= 0:
        shown = text[start : text.find(">", start, start + _USUAL_MAX) + 1]
        if (name := _USUAL.get(shown)) is not None:
            end = start + len(shown)
        elif (tag := _TAG.match(text, start)) is None:
            look = start + 1
            continue
        elif (closed := _end(text, tag)) is None:
            break
        else:
            name, end = (tag["name"] or "").lower(), closed
        if said := (piece := text[at:start]) and not (piece.isspace() and _is_fresh(parts)):
            parts.append(piece)
        kind = _KINDS.get(name)
        if kind in {_LINE, _GAP}:
            parts.append(kind)
        elif kind == _BLOCK and (said or not _is_fresh(parts)):
            parts.append(_LINE)
        elif name in _HIDDEN and not text.startswith("</", start):
            closing = _HIDDEN[name].search(text, end)
            end = closing.start() if closing else len(text)
        at = look = end
    parts.append(text[at:])
    return parts


def _is_fresh(parts: list[str]) -> bool:
    """Say whether what comes next stands at the start of a line."""
    return not parts or parts[-1] == "\n"


def _end(text: str, tag: re.Match[str]) -> int | None:
    """Where the tag ends; None if it never does. A quoted ``>`` is part of the tag."""
    at = tag.end()
    if tag["comment"]:
        closing = text.find("-->", at)
        return len(text) if closing < 0 else closing + 3
    while mark := _MARK.search(text, at):
        if (quote := mark["quote"]) is None:
            return mark.end()
        closing = text.find(quote, mark.end())
        at = mark.end() if closing < 0 else closing + 1  # a quote that nothing closes is none
    return None
