"""Building one conversation turn by turn: numbers results, keeps references right, executes the calculator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from agentkit.engine.dialects import plain
from agentkit.types import Step
from agentkit_synthesis.conversation import Nudged, Returned, Said, Split, Turn
from agentkit_synthesis.wording import dress, sentence
from agentkit_synthesis.worlds import calculate


class Talk:
    """What has been said so far, and the chance that decides what comes next."""

    def __init__(self, rng: Random, split: Split) -> None:
        """Begin an empty talk."""
        self.rng = rng
        self.split: Split = split
        self.turns: list[Turn] = []
        self.number = 0
        self.results: dict[int, str] = {}

    @property
    def latest(self) -> int:
        """The number by which the latest result is quoted."""
        return (self.number - 1) % plain.MAX_REFERENCES + 1

    def user(self, text: str, *, plainly: bool = False) -> None:
        """Add a person's turn, dressed up unless it is to stand as it is."""
        self.turns.append(Said(text=text if plainly else dress(text, self.rng, self.split)))

    def call(self, tool: str, arguments: Mapping[str, Any], *, plan: str = "") -> None:
        """Add a step of one call."""
        self.calls([(tool, arguments)], plan=plan)

    def calls(self, calls: Sequence[tuple[str, Mapping[str, Any]]], *, plan: str = "") -> None:
        """Add a step of several independent calls."""
        made = tuple(plain.call_of(index, tool, arguments) for index, (tool, arguments) in enumerate(calls))
        self.turns.append(Step(kind="calls", calls=made, plan=plan))

    def returned(self, text: str, *, failed: bool = False, untrusted: bool = False) -> None:
        """Add the next result."""
        self.number += 1
        self.results[self.latest] = text
        self.turns.append(Returned(number=self.number, text=text, failed=failed, untrusted=untrusted))

    def calculated(self, tool: str, expression: str) -> None:
        """Add a calculator call and its true result."""
        self.call(tool, {"expression": expression})
        self.returned(calculate(expression, self.results))

    def final(self, text: str) -> None:
        """Add the answer; `⟦r⟧` in it means the latest result."""
        self.turns.append(Step(kind="final", text=sentence(text.replace("⟦r⟧", f"⟦r{self.latest}⟧"))))

    def ask(self, text: str) -> None:
        """Add a question back."""
        self.turns.append(Step(kind="ask", text=text))

    def decline(self, text: str) -> None:
        """Add a refusal."""
        self.turns.append(Step(kind="decline", text=text))

    def nudge(self, text: str) -> None:
        """Add the framework's note."""
        self.turns.append(Nudged(text=text))
