"""A trace for the user's own tools being written: turns, calls with what they gave, and the goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from agentkit.types import ToolSpec
from agentkit_synthesis.tooluse.own import wording
from agentkit_synthesis.tooluse.own.running import Bench
from agentkit_synthesis.tooluse.world import Given

__all__ = ["Script"]

FAILED = ("I could not do that: {e}.", "That did not work: {e}.", "It failed: {e}.", "The tool says: {e}.")


class Script:
    """What has been said so far.

    Attributes:
        bench: where the tools are called.
        messages: in the conversational format of TRL.
        needed: names of the tools called.
        goal: what must hold: the end, the calls, what the last answer says.
        asked: what was asked for, whatever the words.
        family: of the row.
    """

    def __init__(self, bench: Bench, rng: Random) -> None:
        self.bench, self.rng, self.family = bench, rng, ""
        self.messages: list[dict[str, Any]] = []
        self.needed: list[str] = []
        self.asked: list[Any] = []
        self._words = ""
        self.goal: dict[str, Any] = {"end": "final", "calls": [], "says": []}

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """The tools there are."""
        return self.bench.specs

    def user(self, text: str) -> None:
        """Add a person's turn."""
        self._words = text
        self.messages.append({"role": "user", "content": text})

    def called(self, name: str) -> None:
        """Count a tool as needed."""
        if name not in self.needed:
            self.needed.append(name)

    def call(self, name: str, arguments: Mapping[str, Any], given: Given) -> None:
        """Add a step of one call, with what it gave."""
        self.calls(name, [(arguments, given)])

    def calls(self, name: str, made: Sequence[tuple[Mapping[str, Any], Given]]) -> None:
        """Add a step of several calls of one tool, with what they gave."""
        self.called(name)
        steps, results = [], []
        for arguments, given in made:
            id = f"call{len(self.goal['calls']) + 1:05d}"
            function = {"name": name, "arguments": dict(arguments)}
            self.goal["calls"].append(function)
            self.asked.append(
                function if arguments else [function, self._words]
            )  # else there is one problem, and one split
            steps.append({"id": id, "type": "function", "function": function})
            told = {"role": "tool", "tool_call_id": id, "name": name, "content": given.text}
            if not given.ok:
                told["status"] = "error"
            elif name in self.bench.trusted:
                told["trust"] = "trusted"
            results.append(told)
        self.messages += [{"role": "assistant", "content": "", "tool_calls": steps}, *results]

    def answer(self, spec: ToolSpec, given: Given) -> None:
        """Add the answer to one call."""
        self.answers(spec, [given])

    def answers(self, spec: ToolSpec, results: Sequence[Given]) -> None:
        """Add the answer to several."""
        told = [wording.answer(spec, given.text, self.rng) for given in results]
        self.goal["says"] = [says for _, says in told]
        self.messages.append({"role": "assistant", "content": " ".join(text for text, _ in told)})

    def report(self, failed: Given) -> None:
        """Add an answer that says why it failed."""
        error = failed.text.removeprefix("Error: ").rstrip(".")
        self.goal["says"] = [error]
        self.messages.append({"role": "assistant", "content": self.rng.choice(FAILED).format(e=error)})

    def ask(self, text: str) -> None:
        """Add a question back."""
        self.goal["asks"] = True
        self.asked.append(text)
        self.messages.append({"role": "assistant", "content": text, "kind": "ask"})

    def decline(self, text: str) -> None:
        """Add a refusal."""
        self.goal["end"] = "decline"
        self.asked.append(text)
        self.messages.append({"role": "assistant", "content": text, "kind": "decline"})
