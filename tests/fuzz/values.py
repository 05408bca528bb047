"""Texts and JSON that are likely to be read wrongly: at the edges of types, of encodings and of limits."""

from typing import Any, Final

from hypothesis import strategies as st

TEXTS: Final = (
    *("", " ", "\t", "0", "-1", "1e309", "1_0", "²", "٣", "0x10", "1.0", "true", "null", "None", "NaN"),
    *("9007199254740993", "9" * 19, "9" * 20, "9" * 400, "1772443798120", "-62135596800001", "253402300800000"),
    *("2026-03-02", "2026-02-30T09:29:58Z", "2026-03-02T09:29:58", "2026-03-02T25:00:00Z", "09:29"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-03-02T09:29:58.1234567Z", "2026-W10-1"),
    *("/Date(1772443798120)/", "/Date(99999999999999999)/", "/Date(1772443798120+9900)/", "/Date()/"),
    *("\x00", "a\x00b", "a\nb", "\u202eabc", "\ufeff", "\ufffe", "\ud800", "😀", "é", "e\u0301", "İ", "ß", "Ключ"),
    *("a" * 255, "a" * 256, "é" * 255, "a" * 5000, "x" * 70_000),
    *("contact", "Contact", "CONTACT", "person", "people", "contact.propertyChange", "object.creation", "contact."),
    *("created", "updated", "deleted", "merged", "change", "delete", "insert", "ping"),
    *("amara.okafor@northwind.example", "Amara Okafor", "<b>", "&amp;", "%00", "%", "+", "a=b&c=d", "[]", "a[b]", "|"),
    *("003xx0000000001AAA", "00000000-0000-0000-0000-000000000000", "{11111111-2222-3333-4444-555555555555}"),
    *("https://evil.example/", "//evil.example", "../../", "${HOME}", "' OR 1=1 --"),
)
"""Among them: numbers in disguise, times that are none, what breaks an encoding, ids at their limit, known words."""
NUMBERS: Final[tuple[int | float, ...]] = (
    *(0, -1, 1, 255, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**25, -(2**63), -(2**63) - 1),
    *(-0.0, 0.5, 1e15, 1e16, 1e308, 5e-324, 1772443798120, 1772443798.12, -62135596800000, 253402300800000),
)

texts: Final = st.sampled_from(TEXTS) | st.sampled_from(TEXTS[::-1]) | st.text(max_size=12)
scalars: Final = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.floats(allow_nan=False) | texts
json_values: Final[st.SearchStrategy[Any]] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
"""Whatever JSON can hold."""
