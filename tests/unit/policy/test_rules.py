"""The rules of `[[policy.rules]]`: which one decides, and that a rule which cannot hold is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkit import config
from agentkit.config import PolicyRule, PolicySettings
from agentkit.errors import ConfigError
from agentkit.policy import Allow, Ask, Decision, Deny, Policy, check_rules
from agentkit.types import Effect, ToolCall, ToolRules, ToolSpec


def spec(name: str, *arguments: str, effect: Effect = Effect.IRREVERSIBLE, **rules: Any) -> ToolSpec:
    properties = {argument: {"type": "string"} for argument in arguments}
    return ToolSpec(
        name=name, description=name, parameters={"type": "object", "properties": properties},
        rules=ToolRules(effect=effect, sinks=arguments[:1], **rules),
    )  # fmt: skip


MAIL = spec("send_mail", "to", "cc", "body")
WRITE = spec("write_file", "path", "content", effect=Effect.WRITE, egress=False)
READ = spec("read_file", "path", effect=Effect.READ, egress=False)
RUN = spec("run_command", "command")
FETCH = spec("fetch_url", "url", effect=Effect.READ)


def decide(
    tool: ToolSpec,
    arguments: dict[str, Any],
    *rules: PolicyRule,
    said: str = "",
    tainted: bool = False,
    interactive: bool = True,
    workspace: Path | None = None,
    **settings: Any,
) -> Decision:
    policy = Policy(PolicySettings(rules=rules, **settings), interactive=interactive, workspace=workspace)
    call = ToolCall(id="1", tool=tool.name, arguments=arguments)
    return policy.decide(tool, call, untrusted_in_context=tainted, trusted_texts=[said] if said else [])


def rule(decision: Any, tool: str = "*", **more: Any) -> PolicyRule:
    return PolicyRule(decision=decision, tool=tool, **more)


def test_the_highest_rule_decides_and_among_equals_the_strictest() -> None:
    call = {"command": "make"}
    assert decide(RUN, call, rule("allow", "run_*")) == Allow()
    assert isinstance(decide(RUN, call, rule("allow", "run_*"), rule("deny")), Deny)
    assert isinstance(decide(RUN, call, rule("allow"), rule("ask")), Ask)
    assert decide(RUN, call, rule("allow", priority=1), rule("deny")) == Allow()
    assert isinstance(decide(RUN, call, rule("allow", priority=1), rule("deny", priority=2)), Deny)
    assert isinstance(decide(RUN, call, rule("allow", "other")), Ask)


def test_a_rule_is_about_what_it_says() -> None:
    looking = rule("deny", effect=("read",), why="no reading")
    assert decide(READ, {"path": "a"}, looking) == Deny("no reading")
    assert decide(WRITE, {"path": "a"}, looking) == Allow()
    unattended = rule("deny", "run_command", interactive=False)
    assert isinstance(decide(RUN, {"command": "x"}, unattended, interactive=False), Deny)
    assert isinstance(decide(RUN, {"command": "x"}, unattended), Ask)


def test_reading_is_free_until_a_rule_says_otherwise() -> None:
    assert decide(READ, {"path": "a"}) == Allow()
    assert decide(READ, {"path": "a"}, rule("ask", "read_file", why="look first")) == Ask("look first", once=True)


@pytest.mark.parametrize("mode", ["manual", "auto", "yolo"])
def test_what_a_rule_denies_is_denied_in_every_mode(mode: Any) -> None:
    assert isinstance(decide(RUN, {"command": "x"}, rule("deny", "run_command"), mode=mode), Deny)
    assert isinstance(
        decide(RUN, {"command": "x"}, rule("ask", "run_command"), mode=mode), Allow if mode == "yolo" else Ask
    )


def test_an_allowing_rule_names_destinations_and_nothing_beside_them() -> None:
    ours = rule("allow", "send_mail", arguments={"to": "*@example.com"})
    assert decide(MAIL, {"to": "bob@example.com"}, ours, tainted=True) == Allow()
    assert isinstance(decide(MAIL, {"to": "eve@evil.example"}, ours, tainted=True), Ask)
    two = spec("send_mail", "to", "cc")
    two = ToolSpec(
        **{
            **{n: getattr(two, n) for n in ("name", "description", "parameters")},
            "rules": ToolRules(sinks=("to", "cc")),
        }
    )
    for tainted in (True, False):
        assert isinstance(decide(two, {"to": "bob@example.com", "cc": "eve@evil.example"}, ours, tainted=tainted), Ask)
    assert decide(two, {"to": "bob@example.com", "cc": "ann@b.example"}, ours, said="cc ann@b.example") == Allow()


def test_a_rule_without_arguments_stands_for_a_person_but_not_for_a_stranger() -> None:
    plain = rule("allow", "send_mail")
    assert decide(MAIL, {"to": "eve@evil.example"}, plain) == Allow()
    assert isinstance(decide(MAIL, {"to": "eve@evil.example"}, plain, tainted=True), Ask)


FORBIDDEN = [
    ("private/*", "private/key"), ("private/*", "./private/key"), ("private/*", "out/../private/key"),
    ("private/*", "PRIVATE/key"), ("private/*", "private//key"), ("private/*", "private\\key"),
    ("private/*", "{workspace}/private/key"), ("private/*", "link/key"), ("private/*", "private%2fkey"),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "path"), FORBIDDEN)
def test_a_denying_pattern_forbids_every_way_of_writing_it(tmp_path: Path, pattern: str, path: str) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "link").symlink_to("private")
    given = {"path": path.format(workspace=tmp_path), "content": ""}
    denying = rule("deny", "write_file", arguments={"path": pattern})
    assert isinstance(decide(WRITE, given, denying, workspace=tmp_path, mode="yolo"), Deny)
    assert isinstance(
        decide(WRITE, given, workspace=tmp_path, mode="yolo", deny_tools=(f"write_file:{pattern}",)), Deny
    )


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/a", "https://EVIL.example/a", "https://evil.example./a", "https://evil.example:443/a",
     "https://me@evil.example/a", "https://%65vil.example/a", "https://ｅvil.example/a"],
)  # fmt: skip
def test_and_every_way_of_writing_an_address(url: str) -> None:
    assert isinstance(
        decide(FETCH, {"url": url}, rule("deny", arguments={"url": "https://evil.example/*"}), mode="yolo"), Deny
    )


def test_a_default_that_is_left_out_counts_as_given() -> None:
    post = ToolSpec(
        name="post", description="post", rules=ToolRules(sinks=("channel",)),
        parameters={"type": "object", "properties": {"channel": {"type": "string", "default": "everyone"}}},
    )  # fmt: skip
    denying = rule("deny", "post", arguments={"channel": "everyone"})
    assert isinstance(decide(post, {}, denying, mode="yolo"), Deny)
    assert decide(post, {"channel": "me"}, denying, mode="yolo") == Allow()


def test_the_decoder_is_told_what_is_allowed() -> None:
    rules = (
        rule("allow", "send_*", arguments={"to": "*@example.com", "body": "*"}), rule("deny", "send_mail", arguments={"to": "x"}),
        rule("allow", "send_mail", arguments={"to": "boss@a.example"}, interactive=False),
    )  # fmt: skip
    settings = PolicySettings(rules=rules, allow_tools=("fetch_url:https://docs.example.com/*", "run_command"))
    policy = Policy(settings, interactive=True)
    assert policy.allowed([MAIL, FETCH, RUN, READ]) == {
        ("send_mail", "to"): ("*@example.com",),
        ("fetch_url", "url"): ("https://docs.example.com/*",),
    }


def test_a_rule_that_could_never_hold_is_refused() -> None:
    check_rules(
        (rule("deny", "send_mail", arguments={"to": "*"}), rule("deny", "not_installed", arguments={"x": "*"})), [MAIL]
    )
    with pytest.raises(
        ConfigError, match=r"policy.rules\[0\].arguments.boddy: 'send_\*' has no such argument; did you mean 'body'"
    ):
        check_rules((rule("deny", "send_*", arguments={"boddy": "*"}),), [MAIL, RUN])


# files


RULES = """
[[policy.rules]]
tool = "fetch_url"
arguments = { url = "https://docs.example.com/*" }
decision = "allow"
priority = 5

[[policy.rules]]
effect = "irreversible"
interactive = false
decision = "deny"
why = "not at night"
"""


def user_file(agentkit_home: Path, text: str) -> Path:
    agentkit_home.mkdir(exist_ok=True)
    path = agentkit_home / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_rules_are_read_from_a_file_and_from_the_environment(agentkit_home: Path, tmp_path: Path) -> None:
    user_file(agentkit_home, RULES)
    first, second = config.load(cwd=tmp_path).settings.policy.rules
    assert (first.tool, first.arguments, first.priority) == ("fetch_url", {"url": "https://docs.example.com/*"}, 5)
    assert (second.effect, second.interactive, second.why) == (("irreversible",), False, "not at night")
    variables = {"AGENTKIT_HOME": str(agentkit_home), "AGENTKIT_POLICY__RULES": '[{tool = "x", decision = "deny"}]'}
    assert config.load(cwd=tmp_path, environ=variables).settings.policy.rules == (rule("deny", "x"),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('decison = "deny"', r"policy.rules\[0\].decison: unknown key in .*config.toml:2; did you mean 'policy.rules\[0\].decision'"),
        ('decision = "forbid"', r"policy.rules\[0\].decision: 'forbid' from .*config.toml:2 does not fit"),
        ('tool = "x"', r"policy.rules\[0\] in .*config.toml:2: 'decision' is missing"),
        ('decision = "deny"\neffect = "wirte"', r"policy.rules\[0\].effect"),
        ('decision = "deny"\npriority = "high"', r"policy.rules\[0\].priority"),
    ],
)  # fmt: skip
def test_a_rule_with_a_mistake_says_where_and_what(agentkit_home: Path, tmp_path: Path, line: str, said: str) -> None:
    user_file(agentkit_home, f"\n[[policy.rules]]\n{line}\n")
    with pytest.raises(ConfigError, match=said):
        config.load(cwd=tmp_path)


def test_an_unknown_key_is_shown_with_its_line(agentkit_home: Path, tmp_path: Path) -> None:
    user_file(agentkit_home, "# mine\n[policy]\nmode = 'auto'\nalow_tools = ['x']\n")
    with pytest.raises(
        ConfigError, match=r"policy.alow_tools: unknown key in .*config.toml:4; did you mean 'policy.allow_tools'"
    ):
        config.load(cwd=tmp_path)


# a project's file may be a stranger's


@pytest.mark.parametrize(
    "text",
    [
        '[policy]\nmode = "yolo"', '[policy]\nmode = "auto"', '[policy]\nallow_tools = ["*"]',
        '[policy]\nallow_hosts = ["10.0.0.1"]', '[policy]\ncommands = ["sh"]', '[policy]\ntrusted_projects = ["/"]',
        '[[policy.rules]]\ndecision = "allow"', '[plugins.basics]\ncommands = ["sh"]', '[plugins.basics]\nallow_hosts = ["x"]',
        '[engine]\nmodel = "https://evil.example/v1"', '[store]\nurl = "postgresql://evil.example/x"',
    ],
)  # fmt: skip
def test_a_projects_file_cannot_allow(agentkit_home: Path, tmp_path: Path, text: str) -> None:
    user_file(agentkit_home, '[policy]\nmode = "manual"\n')
    (tmp_path / "agentkit.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"agentkit.toml:\d: a project's file may be a stranger's"):
        config.load(cwd=tmp_path)
    trusting = {"policy.trusted_projects": (str(tmp_path),)}
    config.load(cwd=tmp_path, flags=trusting)


def test_but_it_can_forbid_and_adds_to_what_the_user_forbids(agentkit_home: Path, tmp_path: Path) -> None:
    user_file(agentkit_home, '[policy]\ndeny_tools = ["a"]\n[[policy.rules]]\ntool = "b"\ndecision = "deny"\n')
    (tmp_path / "agentkit.toml").write_text(
        '[policy]\nmode = "manual"\ndeny_tools = ["c"]\n[[policy.rules]]\ntool = "d"\ndecision = "ask"\n[run]\nmax_turns = 3\n'
    )
    settings = config.load(cwd=tmp_path).settings
    assert settings.policy.deny_tools == ("a", "c")
    assert settings.policy.rules == (rule("deny", "b"), rule("ask", "d"))
    assert (settings.policy.mode, settings.run.max_turns) == ("manual", 3)


def test_a_project_cannot_trust_itself(agentkit_home: Path, tmp_path: Path) -> None:
    (tmp_path / "agentkit.toml").write_text(f'[policy]\ntrusted_projects = ["{tmp_path}"]\nmode = "yolo"\n')
    with pytest.raises(ConfigError, match="a stranger's"):
        config.load(cwd=tmp_path)
