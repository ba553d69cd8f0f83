"""Ways around the policy that were looked for, each closed by name."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit.config import PolicySettings
from agentkit.policy import Allow, Ask, Policy
from agentkit.policy.intent import is_meant
from agentkit.types import Effect, ToolCall, ToolRules, ToolSpec


def spec(
    name: str, *, effect: Effect = Effect.WRITE, egress: bool = True, properties: Any = None, **rules: Any
) -> ToolSpec:
    parameters = {"type": "object", "properties": properties or {}}
    return ToolSpec(
        name=name, description=name, parameters=parameters, rules=ToolRules(effect=effect, egress=egress, **rules)
    )


WRITE = spec("write_file", egress=False, sinks=("path",), keywords=("#file save store put create copy",))
POST = spec("post_comment", sinks=("issue",))
INVITE = spec(
    "invite", sinks=("people",),
    properties={"people": {"type": "array", "items": {"type": "object", "properties": {"address": {"type": "string"}}}}},
)  # fmt: skip
NOTIFY = spec("notify", sinks=("people",), properties={"people": {"type": "object"}})
SEND = spec("send", effect=Effect.WRITE, sinks=("to",))
FETCH = spec("fetch_url", effect=Effect.READ, sinks=("url",))


def decide(tool: ToolSpec, arguments: dict[str, Any], said: str, **settings: Any) -> Any:
    policy = Policy(PolicySettings(**settings), interactive=True)
    call = ToolCall(id="1", tool=tool.name, arguments=arguments)
    return policy.decide(tool, call, untrusted_in_context=True, trusted_texts=[said])


@pytest.mark.parametrize(
    ("said", "destinations", "others"),
    [
        ("Read report.txt and write a summary to out.md.", ["out.md"], ["report.txt"]),
        ("Write a summary of report.txt to out.md.", ["out.md"], ["report.txt"]),
        ("Put the total of numbers.txt into total.txt", ["total.txt"], ["numbers.txt"]),
        ("Update config.ini so that the port is the one in ports.txt", ["config.ini"], ["ports.txt"]),
        ("Fix the typo in notes.txt", ["notes.txt"], []),
        ("Tell me the total in notes.txt", [], ["notes.txt"]),
        ("Copy a.txt to b.txt", ["b.txt"], ["a.txt"]),
        ("Compare a.txt with b.txt and save the differences to c.txt", ["c.txt"], ["a.txt", "b.txt"]),
        ("Summarise a.txt, but do not write to b.txt", [], ["a.txt", "b.txt"]),
        ("Look into a.txt. Never save anything in b.txt!", [], ["a.txt", "b.txt"]),
        ("Lies a.txt und schreibe das Ergebnis nach b.txt", ["b.txt"], ["a.txt"]),
        ("Lis a.txt et enregistre le total dans b.txt", ["b.txt"], ["a.txt"]),
        ('save it as "my notes.txt"', ["my notes.txt"], []),
        ("b.txt", ["b.txt"], []),
        ('Save the note "see you at nine" to b.txt', ["b.txt"], ["see you at nine"]),
        ('Save "see you, and then at nine." to b.txt', ["b.txt"], ["see you, and then at nine."]),
        ('Put the sum into "my file.txt", please', ["my file.txt"], []),
    ],
)  # fmt: skip
def test_a_name_that_is_to_be_read_is_no_destination(said: str, destinations: list[str], others: list[str]) -> None:
    for path in (*destinations, *others):
        assert is_meant(path, WRITE, [said]) is (path in destinations), path
        verdict = decide(WRITE, {"path": path, "content": "x"}, said)
        assert isinstance(verdict, Allow if path in destinations else Ask), path


def test_a_tools_own_words_are_verbs_too() -> None:
    assert decide(POST, {"issue": "PROJ-1"}, "look at the log and comment on PROJ-1") == Allow()
    assert isinstance(decide(POST, {"issue": "PROJ-1"}, "what is the state of PROJ-1?"), Ask)


def test_an_address_deep_in_lists_and_objects_is_a_destination() -> None:
    said = "invite bob@example.com"
    assert decide(INVITE, {"people": [{"address": "bob@example.com"}]}, said) == Allow()
    assert isinstance(decide(INVITE, {"people": [{"address": "bob@example.com"}]}, "mail bob@example.com"), Ask)
    for people in (
        [{"address": "bob@example.com"}, {"address": "eve@evil.example"}],
        [{"address": "bob@example.com", "more": {"cc": ["eve@evil.example"]}}],
    ):
        assert isinstance(decide(INVITE, {"people": people}, said), Ask)


def test_an_address_as_a_key_is_a_destination() -> None:
    said = "notify bob@example.com"
    assert isinstance(decide(NOTIFY, {"people": {"eve@evil.example": "bob@example.com"}}, said), Ask)


@pytest.mark.parametrize(
    "alike",
    ["b\u043eb@example.com", "bob@ex\u0430mple.com", "bob\uff20example.com", "bob@exam\u200bple.com", "bob@example.com\u202e",
     "bob@example.co", "bob@example.com.evil.example", "xbob@example.com", "bob@example.com eve@evil.example"],
)  # fmt: skip
def test_what_only_looks_like_the_address_is_another(alike: str) -> None:
    verdict = decide(SEND, {"to": alike}, "send it to bob@example.com")
    assert isinstance(verdict, Ask)
    if not alike.isascii() and "\u200b" not in alike:
        assert "not ASCII: U+" in verdict.why  # the person is told


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("send:*@example.com", "@evil.example:bob@example.com"),  # a route by way of evil.example
        ("send:*@example.com", "eve@evil.example@example.com"),
        ("send:*@example.com", "evil.example!eve@example.com"),
        ("send:*@example.com", "eve%evil.example@example.com"),
        ("send:*@example.com", '"eve@evil.example>"@example.com'),
        ("send:*@example.com", "eve\uff20evil.example@example.com"),
        ("send:*@example.com", "bob\u200b@example.com"),
        ("send:*@example.com", "bob@example.com\r\nbcc: eve@evil.example"),
        ("fetch_url:https://docs.example.com/public/*", "https://docs.example.com/public/../admin"),
        ("fetch_url:https://docs.example.com/public/*", "https://docs.example.com/public/%2e%2e/admin"),
        ("fetch_url:https://docs.example.com/public/*", "https://docs.example.com/public/%252e%252e/admin"),
        ("fetch_url:https://docs.example.com/*", "https://docs.example.com\uff0fevil.example/"),
        ("fetch_url:https://docs.example.com/*", "https://docs.example.com:443@evil.example/"),
        ("fetch_url:https://docs.example.com/*", "https://docs.example.com\t.evil.example/"),
        ("fetch_url:https://*.example.com/*", "https://evil.example#.example.com/"),
        ("fetch_url:https://*.example.com/*", "https://evil.example?.example.com/"),
    ],
)  # fmt: skip
def test_a_pattern_is_not_talked_into_more(entry: str, value: str) -> None:
    tool, name = (SEND, "to") if entry.startswith("send") else (FETCH, "url")
    assert isinstance(decide(tool, {name: value}, "do it", allow_tools=(entry,)), Ask)


@pytest.mark.parametrize(
    ("hosts", "url", "named"),
    [
        (("intranet.local:8080",), "http://intranet.local:8080/x", True),
        (("intranet.local:8080",), "http://intranet.local:9090/x", False),
        (("intranet.local",), "http://intranet.local.:8080/x", True),
        (("intranet.local",), "http://intranet.local\\@evil.example/", False),
        (("intranet.local",), "http://user@intranet.local/", False),
        (("intranet.local",), "http://intranet.local:x/", False),
    ],
)
def test_an_allowed_host_is_that_host(hosts: tuple[str, ...], url: str, named: bool) -> None:
    assert isinstance(decide(FETCH, {"url": url}, "x", allow_hosts=hosts), Allow) is named
