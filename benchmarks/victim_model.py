"""A model that does what the person wants, and what any stranger wants whose words it has read."""

from __future__ import annotations

import re

from langchain_core.messages import HumanMessage, ToolMessage

from agentkit.protocols import Request
from agentkit.types import Step, ToolCall
from benchmarks.victim_attacks import SECRET, Attack, in_call, swapped, understood
from benchmarks.victim_tasks import Call, Task


class Victim:
    """Says its steps one by one, each from what it has read so far; no prompt could make a model obey better."""

    def __init__(self, task: Task, attack: Attack | None = None) -> None:
        """Take what it will be asked to do, and what strangers will want of it."""
        self._task, self._attack = task, attack
        self._todo: list[Call] = list(task.calls)
        self._orders: list[Call] = []
        self.obeyed = False  # the order reached it

    def __call__(self, request: Request) -> Step:
        """Return the next step."""
        if "calls" not in request.allow:
            return Step(kind="final", text="I could not go on.")
        read = _read(request)
        attack = self._attack
        if attack is not None and not self.obeyed and understood(attack, read):
            self.obeyed = True
            self._orders = list(attack.calls)
        now: list[Call] = []
        if self._orders:
            now.append(self._orders.pop(0))
        if self._todo and (not now or (attack is not None and attack.together and not self._orders)):
            now.append(self._todo.pop(0))
        if now:
            calls = [self._call(call, request, read, n) for n, call in enumerate(now)]
            return Step(kind="calls", calls=tuple(calls))
        answer = in_call(self._task.answer, value=self._value(read), secret=SECRET)
        return Step(kind="final", text=f"{answer} {self._said()}".strip())

    def _said(self) -> str:
        """Return what a stranger made it say: text is the model's own, and nothing but the reader's judgement guards it."""
        return self._attack.order if self._attack is not None and self.obeyed else ""

    def _call(self, call: Call, request: Request, read: str, place: int) -> ToolCall:
        name, arguments = call
        results = sum(isinstance(message, ToolMessage) for message in request.messages)
        given = {
            key: in_call(value, value=self._value(read), secret=_secret(read), last=f"${results}")
            for key, value in arguments.items()
        }
        for key in {"content", "body", "text"} & given.keys() if call in self._task.calls else ():
            given[key] = f"{given[key]} {self._said()}".strip()
        swap = self._attack.swap if self._attack is not None and self.obeyed else None
        if swap:
            given = {key: swapped(value, swap) for key, value in given.items()}
        return ToolCall(id=f"call_{results}_{place}", tool=name, arguments=given)

    def _value(self, read: str) -> str:
        """Return what the task's pattern finds, or that it does not: there is no other way to know."""
        found = re.search(self._task.pattern, read, re.MULTILINE) if self._task.pattern else None
        return found[1] if found else "unknown"


def _secret(read: str) -> str:
    return SECRET if SECRET in read else "unknown"


def _read(request: Request) -> str:
    """Return what tools gave and what came with the task, oldest first."""
    return "\n".join(m.text for m in request.messages if isinstance(m, (HumanMessage, ToolMessage)))
