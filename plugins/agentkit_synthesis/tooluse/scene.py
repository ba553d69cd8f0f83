"""One trace being made: the oracle says, calls and answers; every call is run in the world there and then."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from agentkit_synthesis.tooluse.state import changed
from agentkit_synthesis.tooluse.values import Domain, State, Wish
from agentkit_synthesis.tooluse.world import Given, World, worded
from agentkit_synthesis.wording import dress, sentence

__all__ = ["GaveUp", "Scene"]


class GaveUp(Exception):
    """This draw makes no task; the row is not made."""


class Scene:
    """What has been said and done so far, and what must have come of it at the end.

    Attributes:
        rng: chance.
        world: where calls are run.
        state: the first domain's state before anything was done; not changed.
        messages: in the conversational format of TRL.
        needed: tools that were called, by name.
        goal: what must hold at the end.
    """

    def __init__(self, world: World, rng: Random) -> None:
        self.rng, self.world = rng, world
        self.domain: Domain = world.domains[0]
        self.state: State = world.fresh()[self.domain.key]
        self.messages: list[dict[str, Any]] = []
        self.needed: list[str] = []
        self.goal: dict[str, Any] = {"end": "final", "changes": {}, "says": []}
        self._asked: list[Any] = []
        self._calls = 0

    @property
    def nouns(self) -> Mapping[str, str]:
        """This row's words for the things of its domain."""
        return self.world.nouns[self.domain.key]

    @property
    def problem(self) -> str:
        """A hash of what was asked for, whatever the words: the domain, the values, the end."""
        told = json.dumps([self.domain.key, self._asked, self.goal["end"]], sort_keys=True, default=str)
        return hashlib.sha256(told.encode()).hexdigest()

    def give_up(self, why: str) -> None:
        """Make no row of this draw."""
        raise GaveUp(why)

    def expect(self, changes: Mapping[str, Any], says: Sequence[str] = ()) -> None:
        """State what must have changed, by pointers into the domain's state, and what the answer must say."""
        self.goal["changes"] = {f"/{self.domain.key}{pointer}": value for pointer, value in changes.items()}
        self.goal["says"] = [str(one) for one in says]

    def slots(self, wish: Wish) -> dict[str, Any]:
        """Return the values that a wish's wordings may name."""
        args = {f"{key}_id" if key in self.nouns else key: value for key, value in wish.args.items()}
        return {**args, **wish.slots}

    def user(self, *templates: str, plainly: bool = False, **slots: Any) -> str:
        """Add a person's turn; return it."""
        text = worded(self.rng.choice(templates), self.rng, {**self.nouns, **slots})
        text = text if plainly else dress(text, self.rng, "train").replace("for me for me", "for me")
        self._asked.append(sorted((name, str(value)) for name, value in slots.items()))
        self.messages.append({"role": "user", "content": text})
        return text

    def said(self, text: str) -> None:
        """Add a person's turn of several requests, as it stands."""
        self.messages.append({"role": "user", "content": text})

    def about(self, *what: Any) -> None:
        """Count something towards the problem that no slot names."""
        self._asked.append([str(one) for one in what])

    def call(self, op: str, **arguments: Any) -> Given:
        """Add a step of one call, and its result."""
        return self.calls([(op, arguments)])[0]

    def calls(self, wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Given]:
        """Add a step of independent calls, and their results in order."""
        made, results, given = [], [], []
        for op, arguments in wanted:
            face = self.world.faces.get(f"{self.domain.key}.{op}")
            if face is None:
                raise GaveUp(f"{op} has a name that another tool has")
            if face.name not in self.needed:
                self.needed.append(face.name)
            self._calls += 1
            id = f"call{self._calls:05d}"  # nine letters and digits: what Mistral's templates ask for
            function: dict[str, Any] = {"name": face.name, "arguments": face.arguments(arguments)}
            made.append({"id": id, "type": "function", "function": function})
            result = self.world.call(face.name, function["arguments"])
            given.append(result)
            told = {"role": "tool", "tool_call_id": id, "name": face.name, "content": result.text}
            if not result.ok:
                told["status"] = "error"
            elif face.op.trusted:
                told["trust"] = "trusted"
            results.append(told)
        self.messages.append({"role": "assistant", "content": "", "tool_calls": made})
        self.messages += results
        return given

    def final(self, *templates: str, **slots: Any) -> None:
        """Add the answer."""
        text = worded(self.rng.choice(templates), self.rng, {**self.nouns, **slots})
        self.messages.append({"role": "assistant", "content": sentence(text)})

    def ask(self, text: str) -> None:
        """Add a question back."""
        self.messages.append({"role": "assistant", "content": sentence(text), "kind": "ask"})

    def decline(self, text: str) -> None:
        """Add a refusal."""
        self.messages.append({"role": "assistant", "content": sentence(text), "kind": "decline"})
        self.goal["end"] = "decline"

    def done(self) -> dict[str, Any]:
        """Return what has changed in the world."""
        return changed(self.world.fresh(), self.world.state)
