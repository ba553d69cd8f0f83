"""The engine in this process, held to the contract of engines, on a tiny model of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkit.engine.llama import LlamaEngine
from agentkit.protocols import Engine, Request
from agentkit.testing import EngineContract


class TestLlama(EngineContract):
    @pytest.fixture(autouse=True)
    def _model(self, tiny: Path) -> None:
        self.path = tiny

    def make(self) -> Engine:
        return LlamaEngine(self.path, context=2048, threads=1)

    def request(self, **changes: Any) -> Request:
        return super().request(**{"max_tokens": 64, **changes})
