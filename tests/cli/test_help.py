"""Help: quick, complete, and true."""

import subprocess
import sys
import time
from importlib import import_module

import click
import pytest

from agentkit.cli.group import COMMANDS, NOUNS, cli

HEAVY = {"rich", "prompt_toolkit", "langchain_core", "langgraph", "pydantic", "platformdirs", "llama_cpp", "httpx"}


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from agentkit.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: code = end.code\n"
        "print('LOADED', code, *{name.partition('.')[0] for name in sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = next(line for line in out.splitlines() if line.startswith("LOADED")).split()
    assert loaded[1] == "0"
    assert HEAVY & set(loaded) == set()


def test_help_is_quick(agentkit, record_property) -> None:
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        assert agentkit("--help").code == 0
        seconds.append(time.monotonic() - began)
    record_property("help_seconds", round(min(seconds), 3))
    assert min(seconds) < 1.0  # the target is 0.3 s on an idle machine; this one may be busy


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name: str) -> None:
    command = import_module(f"agentkit.cli.{name}").command
    first = (command.help or "").strip().splitlines()[0]
    assert first == COMMANDS[name]
    assert f"agentkit {name}" in command.help  # an example to copy


@pytest.mark.parametrize("name", sorted(NOUNS))
def test_nouns_have_verbs_with_help(name: str) -> None:
    command = import_module(f"agentkit.cli.{name}").command
    assert isinstance(command, click.Group)
    assert command.default in command.commands
    assert [verb for verb, found in command.commands.items() if not (found.help or "").strip()] == []


def test_every_list_has_json() -> None:
    missing = [
        name
        for name in NOUNS
        for verb, found in import_module(f"agentkit.cli.{name}").command.commands.items()
        if verb in {"list", "show"} and "--json" not in {opt for p in found.params for opt in p.opts}
    ]
    assert missing == []


def test_verbs_are_only_on_nouns() -> None:
    context = click.Context(cli)
    groups = {name for name in COMMANDS if isinstance(cli.get_command(context, name), click.Group)}
    assert groups == NOUNS


def test_help_names_every_command(agentkit) -> None:
    out = agentkit("--help").out
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []


def test_version(agentkit) -> None:
    ran = agentkit("--version")
    assert ran.code == 0
    assert ran.out.startswith("agentkit ")
