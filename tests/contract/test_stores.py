"""Our stores, held to the contract of stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.protocols import Store
from agentkit.store import open_store
from agentkit.testing import StoreContract
from benchmarks import databases


class TestSqlite(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make(self) -> Store:
        return open_store(url=str(self.folder / "test.db"))


@pytest.mark.skipif(databases.server() is None, reason=databases.MISSING)
class TestPostgres(StoreContract):
    @pytest.fixture(autouse=True)
    def _database(self) -> Iterator[None]:
        with databases.postgres() as self.url:
            yield

    def make(self) -> Store:
        return open_store(url=self.url)
