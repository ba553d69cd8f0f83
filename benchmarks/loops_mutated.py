"""Scripts changed at random, from a seed: a loop stays a loop, and work stays work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from agentkit.protocols import Tool
from agentkit.types import Done, Step, ToolCall
from tests.reliability.loop_parts import Script, call, reads
from tests.reliability.loops import LOOPS
from tests.reliability.works import WORK

PRELUDE = "look_around"


def mutated(seed: int, n: int) -> Iterator[tuple[str, Script]]:
    """Yield `n` scripts, loops and work in turn, each with its kind: "loop" or "work"."""
    for index in range(n):
        rng = Random(f"{seed}/{index}")
        if index % 2:
            yield "work", _work(rng, index)
        else:
            yield "loop", _loop(rng, index)


def _loop(rng: Random, index: int) -> Script:
    """Return a loop after some work, with its arguments in any order and any white space, its outputs with a duration."""
    base, before = rng.choice(LOOPS), rng.randrange(9)
    noise = rng.random() < 0.5

    def model(n: int) -> Step:
        if n < before:
            return call(PRELUDE, path=f"{index}/{n}.txt")
        step = base.model(n - before)
        own = Random(f"{index}/{n}")
        return replace(step, calls=tuple(replace(one, arguments=_shaken(one, own)) for one in step.calls))

    def tools() -> Sequence[Tool]:
        own = [_noisy(tool, Random(index)) if noise and tool.name != "delegate" else tool for tool in base.tools()]
        return [*own, reads(name=PRELUDE)]

    return replace(base, name=f"{index}: {base.name}", model=model, tools=tools, useful=base.useful + before)


def _shaken(one: ToolCall, rng: Random) -> dict[str, Any]:
    """Return the arguments in another order, and texts of several words with other white space."""
    items = list(one.arguments.items())
    rng.shuffle(items)
    return {
        key: value.replace(" ", rng.choice((" ", "  "))) if isinstance(value, str) and value != "cut off" else value
        for key, value in items
    }


def _noisy(tool: Tool, rng: Random) -> Tool:
    def run(arguments: Any, context: Any) -> Any:
        outcome = tool.run(arguments, context)
        if not isinstance(outcome, Done) or tool.spec.rules.polls:
            return outcome
        return replace(
            outcome, text=f"{outcome.text} (took {rng.randrange(5, 900)} ms, pid {rng.randrange(100, 9_999)})"
        )

    return replace(tool, run=run)


def _work(rng: Random, index: int) -> Script:
    """Return one or two pieces of work after each other, with other reads in between now and then."""
    first, second = rng.sample(WORK, 2)
    names = [{tool.name for tool in script.tools()} for script in (first, second)]
    parts = [first] if names[0] & names[1] else [first, second]
    share = rng.choice((0.0, 0.1, 0.3))
    steps: list[Step] = []
    for part in parts:
        n = 0
        while (step := part.model(n)).kind == "calls":
            steps.append(step)
            n += 1
            if rng.random() < share:
                steps.append(call(PRELUDE, path=f"{index}/{len(steps)}.txt"))

    def tools() -> Sequence[Tool]:
        return [*(tool for part in parts for tool in part.tools()), reads(name=PRELUDE)]

    return Script(
        name=f"{index}: {' + '.join(part.name for part in parts)}",
        tools=tools,
        model=lambda n: steps[n] if n < len(steps) else Step(kind="final", text="done"),
    )
