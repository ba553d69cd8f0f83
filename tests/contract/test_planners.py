"""Every planner that is installed, held to the contract of planners."""

from __future__ import annotations

import pytest

from agentkit.extensions import installed, load_planner
from agentkit.protocols import Planner
from agentkit.testing import PlannerContract


@pytest.mark.parametrize("name", installed("agentkit.planners"))
class TestInstalled(PlannerContract):
    @pytest.fixture(autouse=True)
    def _name(self, name: str) -> None:
        self.name = name

    def make(self) -> Planner:
        planner: Planner = load_planner(self.name)
        return planner
