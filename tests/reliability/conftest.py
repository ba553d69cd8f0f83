"""What the end-to-end tests use: the real program, a stranger's plugins, a tiny model; and agents on scripted models.

Both kinds of database; Postgres is skipped, with the reason, where there is no server. The loop scripts are shared with
`python -m benchmarks.loops`, so they are imported by their path from the checkout.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import databases  # noqa: E402

needs_postgres = pytest.mark.skipif(databases.server() is None, reason=databases.MISSING)
BOTH = ["sqlite", pytest.param("postgres", marks=needs_postgres)]


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_e2e = _load("reliability_e2e", TESTS / "e2e" / "conftest.py")
_unit = _load("reliability_unit", TESTS / "unit" / "conftest.py")
agentkit, tiny_model = _e2e.agentkit, _e2e.tiny_model


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., str]:
    """Write a script of steps; return the model's name."""

    def write(*steps: Mapping[str, Any]) -> str:
        path = tmp_path / f"script-{len(list(tmp_path.glob('script-*')))}.json"
        path.write_text(json.dumps(list(steps)))
        return f"scripted:{path}"

    return write


make, database, script = _unit.make, _unit.database, _unit.script


@pytest.fixture(scope="session")
def toolbox() -> SimpleNamespace:
    """What lays out distributions, and the real program, for fixtures that outlive a test."""
    return SimpleNamespace(install=_e2e.install, on_path=_e2e.on_path, Program=_e2e._cli.Program)


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)
