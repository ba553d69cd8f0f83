"""Our store, held to the contract of stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit.protocols import Store
from agentkit.store import open_store
from agentkit.testing import StoreContract


class TestSqlite(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make(self) -> Store:
        return open_store(url=str(self.folder / "test.db"))
