"""500 held-out requests with what must come of them: the calls, the world's answers, the final text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from agentkit.types import Step, ToolSpec
from agentkit_synthesis import files, invented
from agentkit_synthesis.arithmetic import calculator, sum_of
from agentkit_synthesis.conversation import Returned, Said, Split
from agentkit_synthesis.live import Live, Wish, enliven, kinds, outcome, wish
from agentkit_synthesis.stream import bundled
from agentkit_synthesis.talk import Talk


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalCase:
    """One request: `expect` are the calls in order with each one's result, `answer_has` what the answer must show."""

    id: str
    kind: Literal["call", "steps"]
    seen: bool
    request: str
    tools: tuple[ToolSpec, ...]
    expect: tuple[Mapping[str, Any], ...]  # tool, arguments, result, failed, untrusted
    answer_has: tuple[str, ...]

    @property
    def near_misses(self) -> int:
        """How many other tools share a word of their name with the expected one."""
        wanted = self.expect[0]["tool"]
        return sum(_alike(wanted, spec.name) for spec in self.tools)

    def world(self, tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the result of a call in this case's world: the expected one's, or a failure."""
        for call in self.expect:
            if call["tool"] == tool and dict(call["arguments"]) == dict(arguments):
                return call
        return {"tool": tool, "arguments": arguments, "result": "not found", "failed": True, "untrusted": False}

    def to_json(self) -> str:
        """Return the case as one line of JSON."""
        tools = [{"name": t.name, "description": t.description, "parameters": t.parameters,
                  "references": t.rules.references} for t in self.tools]  # fmt: skip
        plain = {"id": self.id, "kind": self.kind, "seen": self.seen, "request": self.request,
                 "expect": list(self.expect), "answer_has": self.answer_has, "tools": tools}  # fmt: skip
        return json.dumps(plain, ensure_ascii=False)


def evaluation_set(seed: int, n: int = 500, *, split: Split = "test") -> tuple[EvalCase, ...]:
    """Return `n` cases, half over seen tools and half over tools that training never draws."""
    half = n // 2
    seen = [_case(Random(f"eval/{seed}/{split}/{i}"), split, i, seen=True) for i in range(half)]
    unseen = [_case(Random(f"eval/{seed}/{split}/{i}"), split, i, seen=False) for i in range(half, n)]
    return (*seen, *unseen)


def _case(rng: Random, split: Split, index: int, *, seen: bool) -> EvalCase:
    if not seen:
        return _unseen(rng, split, index)
    if index % 5 == 0:
        return _steps(rng, split, index)
    own = list(bundled(rng).values())
    if index % 5 in (1, 2):
        target: Live = rng.choice(own)
        near = [live for live in own if live is not target]
    else:
        pool = kinds()
        at = rng.randrange(len(pool))
        target = enliven(pool[at], rng)
        near = [enliven(pool[(at + step) % len(pool)], rng) for step in (-2, -1, 1, 2)]
    return _single(rng, split, index, target, near, seen=True)


def _single(rng: Random, split: Split, index: int, target: Live, near: list[Live], *, seen: bool) -> EvalCase:
    talk = Talk(rng, split)
    if target.id == "calculator":
        asked = sum_of(rng, split)
        talk.user(asked.text)
        talk.calculated("calculator", asked.expression)
    else:
        made = wish(target, rng, split)
        talk.user(made.text)
        while not _stands_in(made, talk):
            talk.turns.clear()
            made = wish(target, rng, split)
            talk.user(made.text)
        talk.call(target.spec.name, made.arguments)
        talk.returned(outcome(target, rng, split, made.spoken), untrusted=target.untrusted)
    others = _padded(rng, target, near, rng.randint(4, 11)) if seen else near
    return _finished(talk, index, "call", [target, *others], seen=seen)


def _stands_in(made: Wish, talk: Talk) -> bool:
    """Whether every text to be copied stands in the request as it is; a capital at the beginning changes one."""
    said = talk.turns[-1]
    texts = [value for value in made.arguments.values() if isinstance(value, str)]
    return isinstance(said, Said) and all(text in said.text for text in texts)


def _steps(rng: Random, split: Split, index: int) -> EvalCase:
    talk = Talk(rng, split)
    own = bundled(rng)
    names = ("aggregate", "aggregate", "copy", "save_sum", "save_page", "save_output", "search_read", "save_aggregate")
    task, _ = files.needs()[rng.choice(names)]
    task(talk)
    extra = _padded(rng, calculator(), [], rng.randint(0, 4))
    return _finished(talk, index, "steps", [*own.values(), *(e for e in extra if e.spec.name not in own)], seen=True)


def _unseen(rng: Random, split: Split, index: int) -> EvalCase:
    target, (verb, noun) = invented.invent(rng, split)
    tools = {target.spec.name: target}
    tries = 0
    count = rng.randint(5, 12)
    while len(tools) < count:
        tries += 1
        near = len(tools) < 3
        live, head = invented.invent(rng, split, [(verb, noun)] if near else ())
        if head == (verb, noun) or (near and tries < 60 and not _alike(target.spec.name, live.spec.name)):
            continue
        if not near and (head[0] == verb or head[1] == noun):
            continue
        tools.setdefault(live.spec.name, live)
    others = [live for live in tools.values() if live is not target]
    return _single(rng, split, index, target, others, seen=False)


def _padded(rng: Random, target: Live, near: list[Live], count: int) -> list[Live]:
    chosen: dict[str, Live] = {}
    for live in rng.sample(near, min(len(near), max(2, count // 2))):
        if live.spec.name != target.spec.name:
            chosen[live.spec.name] = live
    while len(chosen) < count:
        live = enliven(rng.choice(kinds()), rng)
        if (
            live.id != target.id
            and live.spec.name != target.spec.name
            and not any(live.id == o.id for o in chosen.values())
        ):
            chosen.setdefault(live.spec.name, live)
    return list(chosen.values())


def _finished(talk: Talk, index: int, kind: Literal["call", "steps"], lives: list[Live], *, seen: bool) -> EvalCase:
    talk.rng.shuffle(lives)
    calls = [call for turn in talk.turns if isinstance(turn, Step) for call in turn.calls]
    results = [turn for turn in talk.turns if isinstance(turn, Returned)]
    expect = tuple(
        {"tool": c.tool, "arguments": dict(c.arguments), "result": r.text, "failed": r.failed, "untrusted": r.untrusted}
        for c, r in zip(calls, results, strict=True)
    )
    request = next(turn.text for turn in talk.turns if isinstance(turn, Said))
    has = () if expect[-1]["tool"] == "write_file" else (results[-1].text,)
    return EvalCase(
        id=f"{talk.split}-{index}", kind=kind, seen=seen, request=request,
        tools=tuple(live.spec for live in lives), expect=expect, answer_has=has,
    )  # fmt: skip


def _alike(one: str, other: str) -> bool:
    return one != other and bool(set(one.split("_")) & set(other.split("_")))


__all__ = ["EvalCase", "evaluation_set"]
