"""Both kinds of database; Postgres is skipped, with the reason, where there is no server."""

from __future__ import annotations

import pytest

from benchmarks import databases

needs_postgres = pytest.mark.skipif(databases.server() is None, reason=databases.MISSING)
BOTH = ["sqlite", pytest.param("postgres", marks=needs_postgres)]


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)
