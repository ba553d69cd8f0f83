"""The plugin as a whole: its fixed signatures, its rules, and the clock."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentkit.config import PolicySettings
from agentkit.engine.dialects.plain import signature
from agentkit.tools import Registry, run_call
from agentkit.tools.convert import bare_context
from agentkit.types import Done, Effect, Failed, ToolCall, Trust
from agentkit_basics import plugin
from agentkit_basics.clock import now, zone_name
from agentkit_basics.settings import BasicsSettings

REGISTRY = Registry(plugin.tools())


def test_the_signatures_are_those_that_sprout_was_trained_on() -> None:
    assert [signature(spec) for spec in REGISTRY.specs] == [
        "calculator(expression) work out arithmetic, percentages, and sums",
        "read_file(path) read a text file",
        "write_file(path, content) write text to a file",
        "list_files(path?) list the files in a folder",
        "search_files(query, path?) search files for a text",
        "run_command(command) run a shell command",
        "fetch_url(url) fetch a web page",
        "now(timezone?) tell the current date and time",
    ]


def test_every_tool_states_its_rules() -> None:
    rules = {spec.name: spec.rules for spec in REGISTRY.specs}
    assert {name: (rule.effect, rule.egress) for name, rule in rules.items()} == {
        "calculator": (Effect.PURE, False),
        "read_file": (Effect.READ, False),
        "write_file": (Effect.WRITE, False),
        "list_files": (Effect.READ, False),
        "search_files": (Effect.READ, False),
        "run_command": (Effect.IRREVERSIBLE, True),
        "fetch_url": (Effect.READ, True),
        "now": (Effect.READ, False),
    }
    assert {name for name, rule in rules.items() if rule.trust is Trust.TRUSTED} == {"calculator", "write_file", "now"}
    assert {name: rule.sinks for name, rule in rules.items() if rule.sinks} == {
        "write_file": ("path",), "run_command": ("command",), "fetch_url": ("url",),
    }  # fmt: skip
    for name, rule in rules.items():
        for sink in rule.sinks:
            assert rule.grounded[sink] in {"trusted", "words"}, name  # both: the user's words only


def test_importing_the_plugin_is_light() -> None:
    code = (
        "import sys, agentkit_basics; print([m for m in ('pydantic', 'httpx', 'langchain_core') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_settings_section() -> None:
    assert BasicsSettings().commands == PolicySettings().commands
    section = {"commands": "ls, cat", "max_list": "5", "something": "else"}
    assert BasicsSettings.of(section) == BasicsSettings(commands=("ls", "cat"), max_list=5)


def ask(**arguments: Any) -> Any:
    return run_call(now, ToolCall(id="1", tool="now", arguments=arguments), bare_context())


def test_the_time_is_now() -> None:
    for arguments in ({}, {"timezone": "UTC"}, {"timezone": "Asia/Kolkata"}, {"timezone": None}):
        outcome = ask(**arguments)
        assert isinstance(outcome, Done)
        assert abs(datetime.fromisoformat(outcome.data) - datetime.now(UTC)) < timedelta(seconds=5)
    assert ask(timezone="UTC").text.endswith(" UTC")
    assert ask(timezone="Asia/Kolkata").text.endswith(" IST")


@pytest.mark.parametrize(
    ("asked", "zone"),
    [
        ("Europe/Paris", "Europe/Paris"),
        ("europe/paris", "Europe/Paris"),
        ("Tokyo", "Asia/Tokyo"),
        ("new york", "America/New_York"),
        ("utc", "UTC"),
        ("PST", "America/Los_Angeles"),
        ("../../etc/passwd", None),
        ("Atlantis", None),
    ],
)
def test_zones_by_name(asked: str, zone: str | None) -> None:
    assert zone_name(asked) == zone


def test_an_unknown_zone_is_told_with_the_nearest() -> None:
    assert ask(timezone="Europe/Pariss") == Failed(
        text="no time zone is called 'Europe/Pariss'; did you mean 'Europe/Paris'?"
    )
    assert "Europe/Paris or UTC" in ask(timezone="\x00qqqq").text


def test_making_the_tools_does_not_load_the_network() -> None:
    code = "import sys; from agentkit_basics import plugin; plugin.tools(); print('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
