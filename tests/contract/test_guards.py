"""Our guards, held to the contract of guards."""

from __future__ import annotations

import pytest

from agentkit.guards import default_guards
from agentkit.protocols import Guard
from agentkit.testing import GuardContract


@pytest.mark.parametrize("index", range(len(default_guards())), ids=[guard.name for guard in default_guards()])
class TestOurs(GuardContract):
    @pytest.fixture(autouse=True)
    def _index(self, index: int) -> None:
        self.index = index

    def make(self) -> Guard:
        return default_guards()[self.index]
