"""The real program in a process of its own, with a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """stdout, which must be exactly one JSON document."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def one_line(self) -> str:
        """The one line of stderr: no traceback, nothing else."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@dataclass(frozen=True)
class Program:
    """agentkit, run in `work` with its data in `home`."""

    home: Path
    work: Path

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
        own = {"HOME": str(self.home), "AGENTKIT_HOME": str(self.home), "TERM": "xterm"}
        return {**kept, **own, "AGENTKIT_EXTENSIONS__ONLY": "basics", **(extra or {})}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "agentkit", *words]

    def __call__(
        self, *words: str, stdin: str | None = "", env: Mapping[str, str] | None = None, timeout: float = 60
    ) -> Ran:
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.work,
            env=self.environment(env),
            timeout=timeout,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=self.work,
            env=self.environment(),
            **options,
        )


@pytest.fixture
def agentkit(tmp_path: Path) -> Program:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    return Program(home, work)


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Write a script of steps; return the model's name."""
    return script_writer(tmp_path)


def script_writer(tmp_path: Path) -> Callable[..., str]:
    """Return what writes scripts of steps into a folder, and gives the model's name."""

    def write(*steps: Mapping[str, Any]) -> str:
        path = tmp_path / f"script-{len(list(tmp_path.glob('script-*')))}.json"
        path.write_text(json.dumps(list(steps)))
        return f"scripted:{path}"

    return write


@pytest.fixture(scope="session")
def plain_tree() -> Callable[..., dict[str, Any]]:
    """Make a search tree as planners leave it."""
    return plain_tree_of


def plain_tree_of(nodes: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the plain data of a tree; a node's `actions` say of each what is not as at the beginning of a search."""
    chosen = {"strategy": "mcts", "chosen": 0, "why": "worth 0.83 by its prior and 5 visits", "ending": "simulations"}
    spent = {"simulations": 8, "calls": 1, "tool_calls": 6, "tokens": 420}
    empty: dict[str, Any] = {"version": 1, "chances": [], "found": {}, "steps": {}, "notes": [], "memo": {}}
    plain = [_plain_node(number, **node) for number, node in enumerate(nodes)]
    return {**empty, **chosen, "spent": spent, "nodes": plain, **more}


def _plain_node(number: int, actions: Mapping[str, Mapping[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    acts = actions or {}
    untried = {"priors": 1 / (len(acts) or 1), "child": -1, "visits": 0, "reward": 0.0, "quality": 0.0}
    lists = {name: [act.get(name, least) for act in acts.values()] for name, least in untried.items()}
    state: dict[str, Any] = {"value": None, "q": 0.0, "exact": None, "opponent": False, "observation": ""}
    place = {"key": f"{number:02x}", "parent": -1, "via": -1}
    return {**place, "actions": list(acts), **lists, **state, "total": sum(lists["visits"]), **more}
