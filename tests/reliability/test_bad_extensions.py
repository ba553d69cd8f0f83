"""Plugins that misbehave, through the real program: their fault is theirs alone, and said in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.slow

GOOD = "from agentkit import Plugin, tool\n"
TOOL = '''
@tool(effect="read", egress=False)
def mine(x: int = 0) -> str:
    """Do it."""
    return "mine"
plugin = Plugin(name="bad", tools=lambda: (mine,))
'''
CALC = [{"call": {"tool": "calculator", "arguments": {"expression": "1+1"}}}, {"final": "2"}]

CASES = {
    "exits at import": ("import sys\nsys.exit('so long')\n", "SystemExit: so long"),
    "interrupts at import": ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "raises at import": ("1 / 0\n", "ZeroDivisionError"),
    "has no such name": ("other = 1\n", "AttributeError"),
    "is no plugin": ("plugin = 7\n", "is a int, not an agentkit.Plugin"),
    "syntax error": ("def (\n", "SyntaxError"),
    "a hook that raises later": (f"{GOOD}plugin = Plugin(name='bad', tools=lambda: 1 / 0)\n", "ZeroDivisionError"),
    "a hook that exits later": (f"{GOOD}plugin = Plugin(name='bad', tools=lambda: exit(3))\n", "SystemExit"),
    "tools that are none": (f"{GOOD}plugin = Plugin(name='bad', tools=lambda: (7,))\n", "int is no Tool"),
    "a tool's name that is taken": (
        f"{GOOD}{TOOL.replace('mine', 'calculator')}",
        "another plugin has a tool 'calculator' already",
    ),
    "two tools of one name": (f"{GOOD}{TOOL.replace('(mine,)', '(mine, mine)')}", "two of them are called 'mine'"),
    "a schema that is none": (
        f"{GOOD}{TOOL}from dataclasses import replace\n"
        "wrong = replace(mine, spec=replace(mine.spec, parameters={'type': 'object', 'properties': {'x': {'type': 'nonsense'}}}))\n"
        "plugin = Plugin(name='bad', tools=lambda: (wrong,))\n",
        "no JSON Schema of an object",
    ),
}


CASES["hangs at import"] = ("import time\nwhile True:\n    time.sleep(60)\n", "it was not done within 3 s")
FINE = f"{GOOD}print('hello from import')\n{TOOL}"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, toolbox: Any) -> Any:
    """One run of the program with all of them installed, and one that only prints."""
    folder = tmp_path_factory.mktemp("extensions")
    names = []
    for number, (module, _) in enumerate([*CASES.values(), (FINE, "")]):
        name, code = (
            f"bad{number}",
            module.replace("name='bad'", f"name='bad{number}'").replace('name="bad"', f'name="bad{number}"'),
        )
        points = f"[agentkit.plugins]\n{name} = {name}_plugin:plugin\n"
        toolbox.install(folder / "site", f"{name}-agentkit", points, **{f"{name}_plugin": code})
        names.append(name)
    for place in ("home", "work"):
        (folder / place).mkdir()
    steps = folder / "steps.json"
    steps.write_text(json.dumps(CALC))
    env = {**toolbox.on_path(folder / "site", only=",".join(["basics", *names])), "AGENTKIT_EXTENSIONS__IMPORT_S": "3"}
    program = toolbox.Program(folder / "home", folder / "work")
    return program("run", "x", "--json", "-m", f"scripted:{steps}", env=env)


@pytest.mark.parametrize("case", CASES)
def test_a_plugin_that(case: str, ran: Any) -> None:
    number = list(CASES).index(case)
    line = next(line for line in ran.err.splitlines() if f"bad{number}-agentkit" in line)
    assert CASES[case][1] in line
    assert line.startswith("agentkit: ")
    assert line.endswith("going on without it")


def test_none_of_them_harms_the_run(ran: Any) -> None:
    assert ran.code == 0, ran.err
    assert ran.document["data"]["answer"] == "2", "and the process has ended, though one of them hangs"
    assert ran.document["data"]["steps"][0]["result"] == "2", "nobody takes the calculator's name from it"
    assert "Traceback" not in ran.err


def test_a_plugin_that_prints_at_import_does_not_reach_stdout(ran: Any) -> None:
    assert json.loads(ran.out)["data"]["answer"] == "2"
    assert "hello from import" in ran.err
