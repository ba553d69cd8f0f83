"""A literal counts whole, or not at all."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.literals import is_grounded, literals, spans


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("bob@example.com", "Send it to bob@example.com."),
        ("bob@example.com", "To: Bob <bob@example.com>, please"),
        ("bob@example.com", "bob@example.com's inbox"),
        ("a.txt", "compare a.txt,b.txt and c.txt"),
        ("c.txt", "compare a.txt, b.txt; c.txt"),
        ("b.txt", "(see b.txt)"),
        ("./a.txt", "read a.txt"),
        ("a.txt", "read ./a.txt"),
        ("/etc/hosts", "What is in /etc/hosts?"),
        ("src/main.py", "fix `src/main.py`!"),
        ("my file.txt", 'delete "my file.txt" now'),
        ("my file.txt", "delete 'my file.txt' now"),
        ("ls -la", "run `ls -la`"),
        ("ls -la", "run:\n```sh\nls -la\npwd\n```"),
        ("ls -la", "do this:\nls -la\nthanks"),
        ("https://example.com/a?b=1&c=2", "open https://example.com/a?b=1&c=2, then stop"),
        ("https://en.wikipedia.org/wiki/Foo_(bar)", "read (https://en.wikipedia.org/wiki/Foo_(bar))"),
        ("HTTPS://Example.com/a", "open https://example.com/a"),
        ("https://example.com/", "open https://example.com"),
        ("https://example.com", "open example.com"),
        ("https://example.com/news", "open example.com/news."),
        ("200", "What is 15% of 200?"),
        ("15%", "What is 15% of 200?"),
        ("1,000", "pay 1,000 now"),
        ("-3.5", "add -3.5"),
        ("PROJ-123", "close PROJ-123."),
        ("#ops", "tell #ops."),
        ("café.txt", "read cafe\u0301.txt"),
        ("don't", "don't"),
        ("read a.txt", '"read a.txt"'),
        ("a.txt", '"read a.txt"'),
        (r"say \"hi\"", r'{"text": "say \"hi\""}'),
        ('say "hi"', r'{"text": "say \"hi\""}'),
        (r"C:\logs", r'{"path": "C:\\logs"}'),
        ("café.txt", r'{"path": "caf\u00e9.txt"}'),
        ("C:\\logs\\", 'read "C:\\logs\\" now'),
        ("don't panic", "open 'don't panic' now"),
        ("don’t panic", "open ‘don’t panic’ now"),
        ("my file", "lies „my file“ da"),
        ("my file", "「my file」を読む"),
        ("my file.txt", '```json\n{"path": "my file.txt"}\n```'),
        ("https://example.com/a", "see [this](https://example.com/a), please"),
        ("https://en.wikipedia.org/wiki/Foo_(bar)", "see [Foo](https://en.wikipedia.org/wiki/Foo_(bar))."),
        ("https://Ann:Key@example.com/", "open https://Ann:Key@EXAMPLE.com"),
        ("See https://Example.com: Now", "See https://Example.com: Now"),
        ("a\x00b", "read a\x00b now"),
    ],
)
def test_a_whole_literal(value: str, text: str) -> None:
    assert is_grounded(value, [text])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("bob@example.co", "Send it to bob@example.com."),
        ("ob@example.com", "Send it to bob@example.com."),
        ("example.com", "Send it to bob@example.com."),
        ("bob@example.com", "Send it to bob@example.com.evil.org"),
        ("bob@example.com", "Send it to jim-bob@example.com"),
        ("etc/hosts", "What is in /etc/hosts?"),
        ("/etc", "What is in /etc/hosts?"),
        ("main.py", "fix src/main.py"),
        ("file.txt", 'delete "my file.txt"'),
        ("my", 'delete "my file.txt" now'),
        ("https://example.com", "open https://example.com/a"),
        ("https://example.com/a", "open https://example.com/a?b=1"),
        ("https://example.com.evil.org", "open example.com"),
        ("https://example.com/other", "open example.com"),
        ("https://readme.md", "read readme.md"),
        ("rm -rf build", "run `rm -rf build/tmp`"),
        ("rm -rf build", "please rm -rf build tmp"),
        ("rm", "run `rm -rf build`"),
        ("20", "What is 15% of 200?"),
        ("1", "pay 1,000"),
        ("000", "pay 1,000"),
        ("A.txt", "read a.txt"),
        ("", "anything"),
        ("   ", "anything"),
        ("a.txt", ""),
        ("аpple.com", "open apple.com"),
        ("https://example.com/news.", "example.com/news."),
        ("say", r'{"text": "say \"hi\""}'),
        ("hi", r'{"text": "say \"hi\""}'),
        ("panic", "open 'don't panic' now"),
        ("don", "open ‘don’t panic’ now"),
        ("file", "lies „my file“ da"),
        ("file.txt", '```json\n{"path": "my file.txt"}\n```'),
        ("https://example.com?q=abc", "open https://example.com?q=ABC"),
        ("https://ann:key@example.com", "open https://Ann:Key@example.com"),
        ("see https://example.com: now", "See https://Example.com: Now"),
    ],
)
def test_a_piece_is_not_a_literal(value: str, text: str) -> None:
    assert not is_grounded(value, [text])


@given(st.from_regex(r"[a-z]{2,8}(/[a-z]{1,8}){0,3}\.(txt|csv|json)", fullmatch=True))
def test_a_path_is_found_whole_and_never_in_pieces(path: str) -> None:
    text = f"Please read {path}, then answer."
    assert is_grounded(path, [text])
    assert not is_grounded(path[:-1], [text])
    assert not is_grounded(path[1:], [text])


@given(
    st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.(com|org|example)", fullmatch=True),
    st.sampled_from(["<{}>", "({})", "{}.", "'{}'", "{},"]),
)
def test_an_address_is_found_whole_and_never_in_pieces(address: str, frame: str) -> None:
    text = f"write to {frame.format(address)} today"
    assert is_grounded(address, [text])
    assert not is_grounded(address[:-1], [text])
    assert not is_grounded(address[1:], [text])


@given(st.text(max_size=60))
def test_any_text_has_literals_and_is_one(text: str) -> None:
    found = literals(text)
    assert all(found)
    if text.strip() and text.strip()[0] not in "\"'`":
        assert is_grounded(text, [text])


@pytest.mark.parametrize(
    ("text", "room", "found"),
    [
        ("a.txt b.txt c.txt", 100, {"a.txt b.txt c.txt", "a.txt", "b.txt", "c.txt"}),
        ("a.txt b.txt c.txt", 11, {"b.txt", "c.txt"}),
        ("a.txt b.txt c.txt", 10, {"c.txt"}),
        ("x\na.txt b.txt\nc.txt", 17, {"a.txt b.txt", "a.txt", "b.txt", "c.txt"}),
        ("x\na.txt b.txt\nc.txt", 16, {"b.txt", "c.txt"}),
        ('x "my file" y', 13, {'x "my file" y', "x", "my file", "y"}),
        ('x "my file" y', 11, {"my file", "y"}),
        ('x "my file" y', 10, {"y"}),
        ('x "my file" y "z z"', 11, {"y", "z z"}),
        ("x ```\nab cd\nef gh\n```", 13, {"ef gh", "ef", "gh", "cd"}),
        ("abcdef", 3, set()),
    ],
)
def test_a_window_holds_what_stands_in_it_whole(text: str, room: int, found: set[str]) -> None:
    assert set(spans(text, room)) - {"```"} == found


def test_the_last_comes_first() -> None:
    assert spans("a b a c", None)[:3] == ("c", "a", "b")


@pytest.mark.parametrize(
    "text", ['\\"' * 20_000, '"' * 20_001, "'a" * 20_000, "x'" * 20_000, "```\n" * 8_000, '"\\' * 20_000]
)
def test_what_a_stranger_writes_takes_no_long(text: str) -> None:
    began = time.process_time()
    literals(text)
    assert time.process_time() - began < 2  # a hundredth of it, where nothing else runs
