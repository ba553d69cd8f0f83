"""What the scripts of the loop suite are made of: tools over a small world, steps, and models that make them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.protocols import Tool
from agentkit.types import (
    Done,
    Effect,
    Failed,
    Outcome,
    Step,
    ToolCall,
    ToolRules,
    ToolSpec,
)

GOAL = "Do the work"
PART = "Look into part"
Act = Callable[[Mapping[str, Any], int], Outcome]  # arguments, and how many calls of the tool came before
Model = Callable[[int], Step]


# ── tools and steps ──


def tool_of(name: str, act: Act, *required: str, schema: Mapping[str, Any] | None = None, **rules: Any) -> Tool:
    """Return a tool whose arguments are anything, and whose n-th call gives `act(arguments, n)`."""
    calls = itertools.count()
    parameters = schema or {"type": "object", "properties": {}}
    known = ToolRules(**{"effect": Effect.READ, "egress": False, **rules})

    def validate(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        for one in required:
            if one not in arguments:
                raise ValueError(f"'{one}' is missing")
        return arguments

    return Tool(
        spec=ToolSpec(name=name, description=name, parameters=parameters, rules=known),
        run=lambda arguments, context: act(arguments, next(calls)),
        validate=validate,
    )


def reads(text: str | None = None, name: str = "read_file", **rules: Any) -> Tool:
    """Return a tool that gives each path a text of its own, always the same; or always `text`."""
    return tool_of(
        name,
        lambda arguments, n: Done(text=text if text is not None else said(repr(sorted(arguments.items())))),
        **rules,
    )


def fails(name: str, text: Callable[[Mapping[str, Any], int], str], **rules: Any) -> Tool:
    """Return a tool that always fails, with a text of the arguments and the number of the call."""
    return tool_of(name, lambda arguments, n: Failed(text=text(arguments, n)), **rules)


def writes(**rules: Any) -> Tool:
    """Return a tool that says what stands in the file afterwards, as `write_file` does."""
    return tool_of(
        "write_file",
        lambda arguments, n: Done(text="written", state={str(arguments["path"]): str(arguments["content"])}),
        **{"effect": Effect.WRITE, **rules},
    )


def call(tool: str, **arguments: Any) -> Step:
    """Return a step that makes one call."""
    return Step(kind="calls", calls=(ToolCall(id="", tool=tool, arguments=arguments),))


def final(text: str = "that is it") -> Step:
    """Return a step that answers."""
    return Step(kind="final", text=text)


WORDS = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu",
    "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "amber", "bronze",
    "copper", "iron", "lead", "nickel", "silver", "tin", "zinc", "oak", "ash", "elm", "fir", "pine", "birch",
    "maple", "cedar", "willow",
]  # fmt: skip


def said(seed: object, words: int = 8) -> str:
    """Return some words, others for every seed."""
    rng = random.Random(str(seed))
    return " ".join(rng.choice(WORDS) + str(rng.randrange(100)) for _ in range(words))


def cycle(*steps: Step) -> Model:
    """Return a model that goes through the steps for ever."""
    return lambda n: steps[n % len(steps)]


def listed(*steps: Step) -> Model:
    """Return a model that makes the steps, then answers."""
    return lambda n: steps[n] if n < len(steps) else final()


# ── scripts ──


@dataclass(frozen=True)
class Script:
    """One behaviour. `useful`: replies before it becomes a loop; `most`: how many more may be wasted before a word."""

    name: str
    tools: Callable[[], Sequence[Tool]]
    model: Model
    detectors: frozenset[str] = frozenset()  # which of the guards may be the first to see it
    useful: int = 1
    most: int = 3


def loop(
    name: str, tools: Callable[[], Sequence[Tool]], model: Model, detectors: str, useful: int = 1, most: int = 3
) -> Script:
    """Return a script that must be noticed."""
    return Script(name, tools, model, frozenset(detectors.split()), useful, most)
