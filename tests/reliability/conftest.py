"""What the end-to-end tests use: the real program, a stranger's plugins, a tiny model; and agents on scripted models.

Both kinds of database; Postgres is skipped, with the reason, where there is no server. The loop scripts are shared with
`python -m benchmarks.loops`, so they are imported by their path from the checkout.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import databases  # noqa: E402
from tests.e2e import conftest as _e2e  # noqa: E402
from tests.unit import conftest as _unit  # noqa: E402

needs_postgres = pytest.mark.skipif(databases.server() is None, reason=databases.MISSING)
BOTH = ["sqlite", pytest.param("postgres", marks=needs_postgres)]


agentkit, tiny_model = _e2e.agentkit, _e2e.tiny_model


@pytest.fixture
def scripted(tmp_path: Path) -> Callable[..., str]:
    """Write a script of steps for the real program; return the model's name."""
    return _e2e._cli.script_writer(tmp_path)


make, database, script = _unit.make, _unit.database, _unit.script


@pytest.fixture(scope="session")
def toolbox() -> SimpleNamespace:
    """What lays out distributions, and the real program, for fixtures that outlive a test."""
    return SimpleNamespace(install=_e2e.install, on_path=_e2e.on_path, Program=_e2e._cli.Program)


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)
