"""Both kinds of database; Postgres is skipped, with the reason, where there is no server.

The loop scripts are shared with `python -m benchmarks.loops`, so they are imported by their path from the checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

from benchmarks import databases  # noqa: E402

needs_postgres = pytest.mark.skipif(databases.server() is None, reason=databases.MISSING)
BOTH = ["sqlite", pytest.param("postgres", marks=needs_postgres)]


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)
