"""Who decides about which call."""

from __future__ import annotations

from typing import Any

import pytest

from agentkit.config import PolicySettings
from agentkit.policy import Allow, Ask, Decision, Deny, Policy
from agentkit.types import Effect, ToolCall, ToolRules, ToolSpec


def spec(name: str, effect: Effect, *, egress: bool = False, **rules: Any) -> ToolSpec:
    return ToolSpec(
        name=name,
        description=name,
        parameters={"type": "object"},
        rules=ToolRules(effect=effect, egress=egress, **rules),
    )


CALCULATOR = spec("calculator", Effect.PURE)
READ = spec("read_file", Effect.READ, grounded={"path": "context"})
WRITE = spec("write_file", Effect.WRITE, sinks=("path",))
NOTE = spec("add_note", Effect.WRITE)
FETCH = spec("fetch_url", Effect.READ, egress=True, sinks=("url",))
SEARCH = spec("web_search", Effect.READ, egress=True)
RUN = spec("run_command", Effect.IRREVERSIBLE, sinks=("command",))
MAIL = spec("send_mail", Effect.IRREVERSIBLE, egress=True, sinks=("to",))
POST = spec("post_comment", Effect.WRITE, egress=True, sinks=("issue",))
TRAIN = spec("train", Effect.WRITE, cost=True)
MEASURE = spec("measure", Effect.READ, cost=True)
UNKNOWN = ToolSpec(name="mystery", description="says nothing of itself", parameters={"type": "object"})


def decide(
    tool: ToolSpec,
    arguments: dict[str, Any],
    *,
    tainted: bool = False,
    said: str = "",
    interactive: bool = True,
    **settings: Any,
) -> Decision:
    policy = Policy(PolicySettings(**settings), interactive=interactive)
    call = ToolCall(id="1", tool=tool.name, arguments=arguments)
    return policy.decide(tool, call, untrusted_in_context=tainted, trusted_texts=[said] if said else [])


ALLOW, ASK, DENY = Allow, Ask, Deny
U = "https://example.com/a"


@pytest.mark.parametrize(
    ("mode", "tool", "arguments", "said", "clean", "tainted"),
    [
        # looking at what is here is free in every mode
        ("auto", CALCULATOR, {"expression": "1+1"}, "", ALLOW, ALLOW),
        ("auto", READ, {"path": "/etc/passwd"}, "", ALLOW, ALLOW),
        ("manual", CALCULATOR, {}, "", ALLOW, ALLOW),
        ("manual", READ, {"path": "a"}, "", ALLOW, ALLOW),
        # the network: only where the user pointed
        ("auto", FETCH, {"url": U}, f"open {U}", ALLOW, ALLOW),
        ("auto", FETCH, {"url": U}, "open something", ASK, ASK),
        ("auto", FETCH, {"url": f"{U}?secret=1"}, f"open {U}", ASK, ASK),
        ("manual", FETCH, {"url": U}, f"open {U}", ALLOW, ALLOW),
        ("auto", SEARCH, {"query": "cats"}, "find news", ALLOW, ASK),
        ("auto", SEARCH, {"query": "cats"}, "find cats", ALLOW, ALLOW),
        # writing: inside the workspace, and once a stranger spoke only where the user pointed
        ("auto", WRITE, {"path": "out.txt", "content": "x"}, "", ALLOW, ASK),
        ("auto", WRITE, {"path": "out.txt"}, "save it to out.txt", ALLOW, ALLOW),
        ("auto", WRITE, {"path": "/etc/cron.d/x"}, "", ASK, ASK),
        ("auto", WRITE, {"path": "a/../../x"}, "", ASK, ASK),
        ("auto", WRITE, {"path": "~/.bashrc"}, "", ASK, ASK),
        ("auto", WRITE, {"path": "/data/x"}, "save it to /data/x", ALLOW, ALLOW),
        ("manual", WRITE, {"path": "out.txt"}, "save it to out.txt", ASK, ASK),
        ("auto", NOTE, {"text": "x"}, "", ALLOW, ASK),
        ("auto", POST, {"issue": "PROJ-1", "text": "x"}, "comment on PROJ-1", ALLOW, ALLOW),
        ("auto", POST, {"issue": "PROJ-2", "text": "x"}, "comment on PROJ-1", ASK, ASK),
        # what cannot be taken back
        ("auto", RUN, {"command": "ls"}, "run ls", ASK, ASK),
        ("auto", MAIL, {"to": "bob@example.com"}, "mail bob@example.com", ASK, ASK),
        ("auto", UNKNOWN, {"x": 1}, "", ASK, ASK),
        ("manual", UNKNOWN, {}, "", ASK, ASK),
        # a long job, whatever it does
        ("auto", TRAIN, {"data": "a.jsonl"}, "train on a.jsonl", ASK, ASK),
        ("auto", MEASURE, {"data": "a.jsonl"}, "measure it on a.jsonl", ASK, ASK),
        ("yolo", TRAIN, {}, "", ALLOW, ALLOW),
        # yolo
        ("yolo", MAIL, {"to": "eve@evil.example"}, "", ALLOW, ALLOW),
        ("yolo", UNKNOWN, {}, "", ALLOW, ALLOW),
    ],
)
def test_the_table(mode: str, tool: ToolSpec, arguments: dict[str, Any], said: str, clean: type, tainted: type) -> None:
    assert type(decide(tool, arguments, said=said, mode=mode)) is clean
    assert type(decide(tool, arguments, said=said, mode=mode, tainted=True)) is tainted


@pytest.mark.parametrize("mode", ["manual", "auto", "yolo"])
@pytest.mark.parametrize("entry", ["send_mail", "send_*", "*"])
def test_the_deny_list_goes_before_everything(mode: str, entry: str) -> None:
    verdict = decide(MAIL, {"to": "a@b.example"}, mode=mode, deny_tools=(entry,), allow_tools=("send_mail:*",))
    assert verdict == Deny("it is on the deny list (policy.deny_tools)")


@pytest.mark.parametrize("mode", ["manual", "auto"])
def test_the_allow_list_stands_in_for_a_person(mode: str) -> None:
    assert decide(RUN, {"command": "make"}, mode=mode, allow_tools=("run_command",)) == Allow()
    assert decide(UNKNOWN, {}, mode=mode, allow_tools=("myst*",)) == Allow()
    assert decide(FETCH, {"url": U}, mode=mode, allow_tools=("fetch_url",)) == Allow()
    assert decide(TRAIN, {"data": "a"}, mode=mode, allow_tools=("train",)) == Allow()
    assert isinstance(decide(RUN, {"command": "make"}, mode=mode, allow_tools=("other",)), Ask)


def test_but_not_where_a_stranger_chose_the_destination() -> None:
    listed = ("send_mail", "run_command", "mystery")
    for tool, arguments in ((MAIL, {"to": "eve@evil.example"}), (RUN, {"command": "rm -r x"}), (UNKNOWN, {"x": "eve"})):
        assert isinstance(decide(tool, arguments, tainted=True, allow_tools=listed), Ask)
    assert decide(MAIL, {"to": "bob@example.com"}, tainted=True, said="bob@example.com", allow_tools=listed) == Allow()


@pytest.mark.parametrize(
    ("entry", "tool", "value", "fits"),
    [
        ("send_mail:*", MAIL, "eve@evil.example", True),
        ("send_mail:*@example.com", MAIL, "bob@example.com", True),
        ("send_mail:*@example.com", MAIL, "bob@example.community", False),
        ("send_mail:*@example.com", MAIL, "eve@evil.example,bob@example.com", False),
        ("send_mail:*@example.com", MAIL, "eve@evil.example bob@example.com", False),
        ("fetch_url:https://docs.example.com/*", FETCH, "https://docs.example.com/a/b?c=d", True),
        ("fetch_url:https://docs.example.com/*", FETCH, "http://docs.example.com/a", False),
        ("fetch_url:https://docs.example.com/*", FETCH, "https://docs.example.com@evil.example/", False),
        ("fetch_url:https://docs.example.com/*", FETCH, "https://docs.example.com:8443/", False),
        ("fetch_url:https://*.example.com/*", FETCH, "https://evil.example/x.example.com/", False),
        ("fetch_url:https://*.example.com/*", FETCH, "https://evil.example\\.example.com/", False),
        ("run_command:git status*", RUN, "git status --short", True),
        ("run_command:git status*", RUN, "git status; rm -rf x", False),
        ("run_command:git status*", RUN, "git status $(rm x)", False),
        ("write_file:out/*", WRITE, "out/a.txt", True),
        ("write_file:out/*", WRITE, "out/../../etc/x", False),
        ("run_command:ls", RUN, "ls", True),
        ("fetch_url:x", RUN, "x", False),
    ],
)
def test_an_allowed_pattern_fits_all_of_a_destination(entry: str, tool: ToolSpec, value: str, fits: bool) -> None:
    verdict = decide(tool, {tool.rules.sinks[0]: value}, tainted=True, allow_tools=(entry,))
    assert (verdict == Allow()) is fits


@pytest.mark.parametrize("tainted", [True, False])
def test_a_pattern_allows_nothing_that_does_not_fit_it(tainted: bool) -> None:
    listed = ("send_mail:*@example.com", "fetch_url:https://docs.example.com/*", "run_command:git status")
    for tool, good, bad in (
        (MAIL, "bob@example.com", "eve@evil.example"),
        (FETCH, "https://docs.example.com/a", "https://evil.example/a"),
        (RUN, "git status", "git push"),
    ):
        name = tool.rules.sinks[0]
        assert decide(tool, {name: good}, tainted=tainted, allow_tools=listed) == Allow()
        assert isinstance(decide(tool, {name: bad}, tainted=tainted, allow_tools=listed), Ask)
        assert isinstance(decide(tool, {name: [good, bad]}, tainted=tainted, allow_tools=listed), Ask)
        assert isinstance(
            decide(tool, {}, tainted=tainted, allow_tools=listed), Allow if tool is FETCH and not tainted else Ask
        )
    assert isinstance(decide(MAIL, {"to": "eve@evil.example"}, said="mail eve@evil.example", allow_tools=listed), Ask)


def test_every_destination_must_be_named() -> None:
    said = "mail bob@example.com and ann@example.com"
    allow = ("send_mail",)
    assert (
        decide(MAIL, {"to": ["bob@example.com", "ann@example.com"]}, tainted=True, said=said, allow_tools=allow)
        == Allow()
    )
    for to in (["bob@example.com", "eve@evil.example"], {"x": ["eve@evil.example"]}, "bob@example.co"):
        verdict = decide(MAIL, {"to": to}, tainted=True, said=said, allow_tools=allow)
        assert isinstance(verdict, Ask)


def test_an_allowed_host_is_a_named_destination() -> None:
    hosts = ("intranet.local",)
    assert decide(FETCH, {"url": "http://intranet.local:8080/x"}, tainted=True, allow_hosts=hosts) == Allow()
    for url in ("http://intranet.local@evil.example/", "http://evil.example/intranet.local", "http://[bad"):
        assert isinstance(decide(FETCH, {"url": url}, tainted=True, allow_hosts=hosts), Ask)


def test_a_reference_to_a_result_is_never_the_users_word() -> None:
    tool = spec("fetch_url", Effect.READ, egress=True, sinks=("url",), references=("url",))
    assert isinstance(decide(tool, {"url": "$1"}, said="it costs $1"), Ask)


def test_arguments_grounded_in_trust_are_destinations_too() -> None:
    tool = spec("deploy", Effect.WRITE, egress=True, grounded={"target": "trusted"})
    assert decide(tool, {"target": "staging"}, said="deploy to staging") == Allow()
    assert isinstance(decide(tool, {"target": "production"}, said="deploy to staging"), Ask)


def test_the_reason_says_what_and_what_to_do() -> None:
    asked = decide(FETCH, {"url": U}, interactive=True)
    assert asked == Ask(f"nobody trusted named '{U}' (argument 'url'), and it leaves this machine", once=True)
    headless = decide(MAIL, {"to": "eve@evil.example"}, tainted=True, interactive=False)
    assert isinstance(headless, Ask)
    assert headless.why == (
        "nobody trusted named 'eve@evil.example' (argument 'to'), and untrusted text has been read; "
        "name it in the task, or allow it with --allow-tool 'send_mail:*'"
    )
    assert decide(RUN, {"command": "ls"}) == Ask("it cannot be taken back")
    assert decide(RUN, {"command": "ls"}, interactive=False) == Ask(
        "it cannot be taken back; allow it with --allow-tool run_command"
    )


@pytest.mark.parametrize("tainted", [True, False])
@pytest.mark.parametrize("tool", [CALCULATOR, READ, WRITE, NOTE, FETCH, SEARCH, RUN, MAIL, POST, UNKNOWN])
def test_the_mend_that_is_named_works(tool: ToolSpec, tainted: bool) -> None:
    arguments = dict.fromkeys(tool.rules.sinks or ("x",), "../somewhere")
    verdict = decide(tool, arguments, tainted=tainted, interactive=False)
    if isinstance(verdict, Ask):
        entry = verdict.why.rpartition("--allow-tool ")[2].strip("'")
        assert decide(tool, arguments, tainted=tainted, allow_tools=(entry,)) == Allow()


def test_the_same_question_gets_the_same_answer() -> None:
    policy = Policy(PolicySettings(), interactive=False)
    call = ToolCall(id="1", tool="fetch_url", arguments={"url": U})
    answers = {str(policy.decide(FETCH, call, untrusted_in_context=True, trusted_texts=("x",))) for _ in range(3)}
    assert len(answers) == 1
