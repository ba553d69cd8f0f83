"""The contract of guards."""
# ruff: noqa: D102  a test's name says what it holds

from __future__ import annotations

import time
from random import Random
from typing import Any, get_args

from agentkit.protocols import Go, Guard, HistoryItem, Spent, Verdict
from agentkit.types import Done, Failed, ToolCall


class GuardContract:
    """What every guard promises: it is a pure, quick function of the history that never raises."""

    def make(self) -> Guard:
        """Return a guard."""
        raise NotImplementedError

    def histories(self) -> list[list[HistoryItem]]:
        """Return some histories, ordinary and odd."""
        rng = Random(5)
        return [
            [HistoryItem(kind="user", text="do it")],
            [_called("read_file", {"path": f"{n}.txt"}, f"text {n}") for n in range(6)],
            [_called("read_file", {"path": "a.txt"}, "same")] * 12,
            [_called("run", {"x": n % 2}, "", failed=True) for n in range(12)],
            [HistoryItem(kind="text", text=""), HistoryItem(kind="call"), HistoryItem(kind="nudge", text="\ud800")],
            [_called(rng.choice("ab"), {"n": rng.randrange(3)}, str(rng.random())) for _ in range(200)],
        ]

    def test_it_is_a_guard(self) -> None:
        guard = self.make()
        assert isinstance(guard, Guard)
        assert guard.name

    def test_nothing_has_happened_yet(self) -> None:
        assert isinstance(self.make().check([], Spent()), Go)

    def test_the_same_history_gets_the_same_verdict(self) -> None:
        one, other = self.make(), self.make()
        for history in self.histories():
            before = list(history)
            verdict = one.check(history, Spent())
            assert isinstance(verdict, get_args(Verdict))
            assert verdict == one.check(history, Spent()) == other.check(tuple(history), Spent())
            assert history == before

    def test_a_long_history_is_judged_quickly(self) -> None:
        history = [_called("read_file", {"path": f"{n}.txt"}, f"text {n}") for n in range(500)]
        began = time.monotonic()
        self.make().check(history, Spent(model_calls=500, tool_calls=500))
        assert time.monotonic() - began < 2.0


def _called(tool: str, arguments: dict[str, Any], output: str, *, failed: bool = False) -> HistoryItem:
    return HistoryItem(
        kind="call",
        call=ToolCall(id="c", tool=tool, arguments=arguments),
        outcome=Failed(text="no") if failed else Done(text=output),
        output_digest=output,
        seconds=0.01,
    )
