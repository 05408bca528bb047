"""HTML to plain text: what is kept, and that hostile text takes no more than linear time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.mapping.markup import plain_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("plain\r\nlines\n\n\n\nkept", "plain\nlines\n\nkept"),
        ("a < b and c > d, I <3 you", "a < b and c > d, I <3 you"),
        ("<p>One</p><p>Two &amp; <b>three</b></p>", "One\n\nTwo & three"),
        ("<div>a\nb</div>c<br/>d", "a b\nc\nd"),
        ("<ul>\n  <li>one</li>\n  <li>two</li>\n</ul>end", "one\ntwo\nend"),
        ("<p>a</p>\n<p>b<br>c</p>", "a\n\nb\nc"),
        ("a<br><br>b", "a\n\nb"),
        ("<tr><td>Plan</td><td>Gold</td></tr>", "Plan Gold"),
        ("<b>bold</b>\nnext", "bold\nnext"),
        ("<SCRIPT>if (a<b) x()</SCRIPT>Hi<style>p{}</style>", "Hi"),
        ("before<script>never closed", "before"),
        ("</script>after", "after"),
        ("<!-- gone -->kept<!-- never closed", "kept"),
        ("<!DOCTYPE html><?xml version='1.0'?>kept", "kept"),
        ("<a title='5 > 3' href=\"/x\">link</a>", "link"),
        ("<a href=x'y>it's</a>", "it's"),
        ('<a title="never closed>Hello</a> there', "Hello there"),
        ("cut off <b class", "cut off <b class"),
        ("&lt;b&gt; &#x27;&nbsp;&eacute; &unknown;", "<b> ' é &unknown;"),
        ("  many \t spaces  ", "many spaces"),
        ("", ""),
        ("<br>", ""),
    ],
)  # fmt: skip
def test_keeps_what_people_read(text: str, plain: str) -> None:
    assert plain_text(text) == plain


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<!--",
        "<a ",
        "<a b='",
        '<a b="',
        "<a b=c ",
        "<script>",
        "</script ",
        "<![CDATA[",
        '="x" ',
        "=    ",
        "&#",
        " \n",
    ],
)
def test_hostile_text_of_the_greatest_size_is_read_in_one_pass(piece: str) -> None:
    """The standard parser needs minutes for some of these; a quadratic one would show as a test that hangs."""
    text = piece * (256 * 1024 // len(piece))
    assert len(plain_text(text)) <= len(text)
    assert len(plain_text(f"<a {text}>")) <= len(text) + 4


@settings(deadline=None)
@given(st.text(max_size=80) | st.lists(st.sampled_from("<>&\"'=/!- ab\n"), max_size=60).map("".join))
def test_any_text_gives_tidy_text(text: str) -> None:
    plain = plain_text(text)
    assert plain == plain.strip()
    assert "\n\n\n" not in plain
    assert "  " not in plain
