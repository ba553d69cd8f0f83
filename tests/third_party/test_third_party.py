"""A stranger's distribution: built apart, installed by pip, and found by what the user runs.

`acme_agentkit` adds a tool, a planner, a prompt, a command and a settings section; `broken_agentkit` ends
the process when it is imported. Each test is a process of its own that sees them on its path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent

pytestmark = pytest.mark.slow


def pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which both distributions were pip-installed from wheels."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    for name in ("acme_agentkit", "broken_agentkit"):
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(HERE / name))
    built = sorted(wheels.glob("*.whl"))
    assert [wheel.name.split("-")[0] for wheel in built] == ["acme_agentkit", "broken_agentkit"]
    pip("install", "--no-deps", "--no-index", "--target", str(target), *map(str, built))
    return target


class Shell:
    """Runs agentkit in an empty folder, with the strangers installed."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder = folder
        self._environ = {**os.environ, "PYTHONPATH": str(site)}

    def __call__(self, *words: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "-m", "agentkit", *words], code, environ)

    def python(self, text: str) -> str:
        return self._run([sys.executable, "-c", text], 0, {}).stdout

    def _run(self, command: Sequence[str], code: int, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environ | environ,
            capture_output=True,
            text=True,
            timeout=100,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stderr
        return done

    def scripted(self, *steps: dict[str, Any]) -> str:
        """Return the name of a model that takes these steps."""
        path = self.folder / "steps.json"
        path.write_text(json.dumps(steps), encoding="utf-8")
        return f"scripted:{path}"


@pytest.fixture
def agentkit(tmp_path: Path, site: Path) -> Shell:
    """agentkit in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Shell(folder, site)


GREET = {"call": {"tool": "acme_greet", "arguments": {"name": "Ada"}}}


def test_everything_is_listed_with_its_distribution(agentkit: Shell) -> None:
    rows = json.loads(agentkit("plugins", "--json").stdout)["data"]
    acme = {(row["kind"], row["name"], row["status"]) for row in rows if row["distribution"] == "acme-agentkit 1.2.3"}
    assert acme == {
        ("plugin", "acme", "ok"),
        ("planner", "acme_last", "ok"),
        ("prompt", "acme", "ok"),
        ("command", "acme", "ok"),
    }


def test_the_tool_is_offered_and_used(agentkit: Shell) -> None:
    model = agentkit.scripted(GREET, {"final": "done"})
    result = json.loads(agentkit("run", "greet Ada", "-m", model, "--json").stdout)["data"]
    assert [(step["tool"], step["result"]) for step in result["steps"]] == [("acme_greet", "Hello, Ada!")]
    assert result["stop_reason"] == "done"


def test_the_settings_section_reaches_the_tool(agentkit: Shell) -> None:
    (agentkit.folder / "agentkit.toml").write_text('[plugins.acme]\ngreeting = "Moin"\ntimes = 2\n', encoding="utf-8")
    shown = json.loads(agentkit("config", "show", "--json").stdout)["data"]
    assert (shown["plugins.acme.greeting"], shown["plugins.acme.times"]) == ("Moin", 2)
    model = agentkit.scripted(GREET, {"final": "done"})
    result = json.loads(agentkit("run", "greet Ada", "-m", model, "--json").stdout)["data"]
    assert result["steps"][0]["result"] == "Moin, Ada! Moin, Ada!"


def test_the_environment_reaches_the_settings_section_too(agentkit: Shell) -> None:
    model = agentkit.scripted(GREET, {"final": "done"})
    done = agentkit("run", "greet Ada", "-m", model, "--json", AGENTKIT_PLUGINS__ACME__GREETING="Ahoy")
    assert json.loads(done.stdout)["data"]["steps"][0]["result"] == "Ahoy, Ada!"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [('greetin = "Moin"', "did you mean 'plugins.acme.greeting'?"), ('times = "often"', "plugins.acme.times")],
)
def test_the_settings_section_is_closed(agentkit: Shell, line: str, complaint: str) -> None:
    (agentkit.folder / "agentkit.toml").write_text(f"[plugins.acme]\n{line}\n", encoding="utf-8")
    model = agentkit.scripted(GREET, {"final": "done"})
    done = agentkit("run", "greet Ada", "-m", model, code=3)
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_the_planner_plans(agentkit: Shell) -> None:
    model = agentkit.scripted({"final": "42"})
    done = agentkit(
        "run",
        "say 42",
        "-m",
        model,
        "-T",
        "calculator",
        "--output-format",
        "stream-json",
        AGENTKIT_RUN__PLANNER="acme_last",
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    plans = [event for event in events if event["type"] == "plan"]
    assert [event["strategy"] for event in plans] == ["acme_last"]
    assert events[-1]["answer"] == "42"


def test_the_prompt_is_loaded_by_name_and_rendered(agentkit: Shell) -> None:
    text = agentkit.python("from agentkit.prompts import load; print(load('acme_welcome').render(name='Ada'))")
    assert text.strip() == "You greet Ada on behalf of acme."


def test_the_command_is_there_and_in_the_help(agentkit: Shell) -> None:
    assert agentkit("acme", "--loud").stdout == "MEEP MEEP\n"
    assert "acme" in agentkit("--help").stdout


def test_a_broken_plugin_harms_nobody_and_is_shown(agentkit: Shell) -> None:
    rows = json.loads(agentkit("plugins", "--json").stdout)["data"]
    broken = [row for row in rows if row["status"] == "broken"]
    assert {(row["kind"], row["distribution"]) for row in broken} == {
        ("plugin", "broken-agentkit 0.0.1"),
        ("command", "broken-agentkit 0.0.1"),
    }
    assert all("no licence file" in row["detail"] for row in broken)
    assert agentkit("plugins", "--strict", code=3).stdout

    done = agentkit("run", "say 42", "-m", agentkit.scripted({"final": "42"}))
    assert done.stdout == "42\n"
    assert "broken-agentkit" in done.stderr


def test_a_broken_command_is_one_line_and_its_own(agentkit: Shell) -> None:
    done = agentkit("broken", code=3)
    assert "broken-agentkit 0.0.1" in done.stderr
    assert "Traceback" not in done.stderr
    assert agentkit("--version").stdout.startswith("agentkit ")


def test_extensions_can_be_switched_off(agentkit: Shell) -> None:
    names = [row["name"] for row in json.loads(agentkit("tools", "--json").stdout)["data"]]
    assert "acme_greet" in names
    without = agentkit("tools", "--json", AGENTKIT_EXTENSIONS__DISABLED="acme,broken")
    assert "acme_greet" not in [row["name"] for row in json.loads(without.stdout)["data"]]
    assert "broken-agentkit" not in without.stderr
