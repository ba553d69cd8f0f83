"""An engine around another one, for benchmarks that change one thing about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from agentkit.protocols import Capabilities, Delta, Engine, Reply, Request, Score

if TYPE_CHECKING:
    from agentkit.types import Step


class Passing:
    """Passes everything on to the engine, and leaves it open: whoever opened it closes it."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine."""
        self._engine = engine

    @property
    def capabilities(self) -> Capabilities:
        """The engine's."""
        return self._engine.capabilities

    def stream(self, request: Request) -> Iterator[Delta]:
        """Ask the engine."""
        return self._engine.stream(request)

    def branch(self, request: Request, n: int) -> list[Reply]:
        """Ask the engine."""
        return self._engine.branch(request, n)

    def score(self, request: Request, candidates: Sequence[Step]) -> list[Score]:
        """Ask the engine."""
        return self._engine.score(request, candidates)

    def count(self, request: Request) -> int:
        """Ask the engine."""
        return self._engine.count(request)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Ask the engine."""
        return self._engine.embed(texts)

    def close(self) -> None:
        """Leave the engine open."""
