"""What goes out is bounded, valid and visible."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools.output import cap, clean, decode, digest, outcome_of, plain_data, was_cut
from agentkit.types import Done, Outcome

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("dirty", "tidy"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x07link\x1b]8;;\x07", "link"),
        ("\x1b]0;title\x1b\\after", "after"),
        ("\x9b31mred", "red"),
        ("a\x00b\x07c\x08d", "abcd"),
        ("one\r\ntwo\rthree\tfour", "one\ntwo\nthree\tfour"),
        ("safe\u202etxt.exe\u2066\u2069", "safetxt.exe"),
        ("hi\U000e0049\U000e0067\U000e007f", "hi"),
        ("lone\ud800 and\udfff", "lone and"),
        ("kept: é 漢字 👩‍👩‍👧 ñ ‑ €", "kept: é 漢字 👩‍👩‍👧 ñ ‑ €"),
    ],
)
def test_clean(dirty: str, tidy: str) -> None:
    assert clean(dirty) == tidy


@given(ANY_TEXT)
def test_cleaned_text_is_valid_and_clean_already(text: str) -> None:
    tidy = clean(text)
    assert clean(tidy) == tidy
    assert tidy.encode("utf-8").decode("utf-8") == tidy
    assert "\x00" not in tidy
    assert "\x1b" not in tidy


@given(st.text(alphabet="ab\n\x1b[m", max_size=3_000), st.integers(1, 1_000))
def test_no_text_is_longer_than_its_limit(text: str, limit: int) -> None:
    shown = cap(text, limit)
    assert len(shown) <= limit
    if len(clean(text)) <= limit:
        assert shown == clean(text)
    elif limit > 300:
        assert was_cut(shown)
        assert digest(text) in shown


def test_texts_that_differ_in_the_middle_are_told_apart() -> None:
    assert cap("a" * 500 + "b" + "a" * 500, 300) != cap("a" * 500 + "c" + "a" * 500, 300)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        (b"\xef\xbb\xbfmarked", "marked"),
        ("wide é".encode("utf-16"), "wide é"),
        (b"half \xff text", "half \ufffd text"),
        (b"", ""),
        (("x" * 4095 + "é").encode(), "x" * 4095 + "é"),  # the sniffed head ends inside a character
    ],
)
def test_text_is_decoded(data: bytes, text: str) -> None:
    assert decode(data) == text


@pytest.mark.parametrize("data", [b"\x00" * 10, b"%PDF-1.7 text", b"\x1f\x8b\x08abc", bytes(range(128, 256)) * 20])
def test_binary_is_told(data: bytes) -> None:
    assert decode(data).startswith("[binary data: ")


def outcome(value: object) -> Outcome:
    return outcome_of(value, limit=1_000)


def test_strange_values_do_not_break_it() -> None:
    deep: object = []
    for _ in range(100_000):
        deep = [deep]
    loop: list[object] = []
    loop.append(loop)
    assert plain_data(deep) is None
    assert plain_data(loop) is None
    assert plain_data({"n": float("nan")}) == {"n": "NaN"}
    assert plain_data({"big": "x" * 2_000_000}) is None
    assert outcome(10**5_000).text.startswith("[an integer of about")
    assert outcome(loop).text == "[[...]]"
    assert outcome(Done(text=b"bytes")).text == "bytes"  # type: ignore[arg-type]


@given(
    st.recursive(
        ANY_TEXT | st.integers() | st.none() | st.booleans(), lambda v: st.lists(v) | st.dictionaries(ANY_TEXT, v)
    )
)
def test_data_is_json_that_a_database_takes(value: object) -> None:
    text = json.dumps(plain_data(value), ensure_ascii=False)
    text.encode("utf-8")
    assert "\x00" not in text
    assert "\\u0000" not in text


def test_what_is_cut_twice_keeps_its_first_size() -> None:
    once = cap("y" * 100_000, 20_000)
    twice = cap(once, 4_000)
    assert len(twice) <= 4_000
    assert "100,000 characters in all" in twice
    assert "20,000" not in twice
    assert digest("y" * 100_000) in twice
