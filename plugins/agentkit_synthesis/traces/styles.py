"""Telling a solution in a style: the same steps, from bare calculations to sentences for a child."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from agentkit_synthesis.traces.problem import Move, Problem, show
from agentkit_synthesis.traces.systems import Style

__all__ = ["MARK", "Told", "answer_line", "tell"]

MARK = "Answer: "  # the last line of every reply begins with it

CONNECTIVES = ("Then", "Next", "After that", "Now", "From there")
OPENINGS: Mapping[Style, tuple[str, ...]] = {
    "numbered": ("", "Step by step:", "The solution in steps:", "Working:"),
    "bullets": ("", "Working:", "Steps:", "How it is found:"),
    "sentences": ("", "Here is how it is worked out.", "This takes a few steps.", "It can be found like this."),
    "justified": ("", "Each step with its reason:", "Step by step, with reasons:"),
    "reason_first": ("", "Reason first, then the step:"),
    "child": (
        "Let's find out together!",
        "This is like a little puzzle.",
        "We can do this in small steps.",
        "Ready? Here we go.",
    ),
    "first_person": ("", "Let me see.", "All right.", "I go through it in order."),
    "formal": ("", "Derivation:", "Record of the working:"),
    "dialogue": ("", "One question at a time."),
}
CHILD = ("First let's", "Now let's", "Next we can", "Then we", "Our turn again: let's", "Look, now we can")
HAPPY = ("That makes {}!", "We get {}.", "And that is {}.", "So it is {}.", "Look: {}!")
ASKED = (
    "What comes first?",
    "What has to be known next?",
    "And then?",
    "What does that lead to?",
    "What is still open?",
)


@dataclass(frozen=True, slots=True)
class Told:
    """A solution in words: the text of each step, and the whole reply."""

    steps: tuple[str, ...]
    final: str


def tell(problem: Problem, results: Sequence[Any], style: Style, rng: Random) -> Told:
    """Return a solution in words.

    Args:
        problem: what is solved.
        results: of each step; the problem's own, or others that follow from a wrong one.
        style: how it is told.
        rng: chooses among ways to say the same.
    """
    values = _shown({**problem.given, **{f"s{n}": result for n, result in enumerate(results, 1)}})
    steps = []
    for number, (move, result) in enumerate(zip(problem.moves, results, strict=True), 1):
        part = _Part(move, {**values, "r": show(result)}, number, len(results))
        steps.append(WRITERS[style](part, rng))
    opening = rng.choice(OPENINGS.get(style, ("",)))
    last = results[-1]
    conclusion = _capital(problem.conclusion.format_map({**values, "r": show(last)})) + "."
    body = (" " if style == "paragraph" else "\n").join(steps)
    if style == "table":
        body = f"| step | what | result |\n|---|---|---|\n{body}"
    closing = [] if style == "terse" else [conclusion]
    lines = [opening, body, *closing, answer_line(last, problem.unit)]
    return Told(tuple(steps), "\n".join(line for line in lines if line))


def answer_line(answer: Any, unit: str) -> str:
    """Return the line that a reply ends with."""
    return f"{MARK}{show(answer)}{f' {unit}' if unit else ''}"


class _Part:
    """A step with its values filled in."""

    def __init__(self, move: Move, values: Mapping[str, str], number: int, total: int) -> None:
        self.do, self.why = move.do.format_map(values), move.why.format_map(values)
        self.says = move.says.format_map(values)
        self.equation = f"{move.shown.format_map(values)} = {self.says}" if move.shown else self.says
        self.number, self.total, self.has_shown = number, total, bool(move.shown)


def _terse(part: _Part, rng: Random) -> str:
    return part.equation if part.has_shown else f"{part.do}: {part.says}"


def _numbered(part: _Part, rng: Random) -> str:
    return f"{part.number}. {_capital(part.do)}: {part.equation}."


def _bullets(part: _Part, rng: Random) -> str:
    return f"- {_capital(part.do)}: {part.equation}"


def _sentences(part: _Part, rng: Random) -> str:
    start = "First" if part.number == 1 and part.total > 1 else "Finally" if part.number == part.total > 1 else rng.choice(CONNECTIVES)  # fmt: skip
    return f"{start}, {part.do}: {part.equation}." if part.total > 1 else f"{_capital(part.do)}: {part.equation}."


def _justified(part: _Part, rng: Random) -> str:
    return f"{part.number}. {_capital(part.do)}, because {part.why}: {part.equation}."


def _reason_first(part: _Part, rng: Random) -> str:
    return f"{_capital(part.why)}, so {part.do}: {part.equation}."


def _child(part: _Part, rng: Random) -> str:
    start = CHILD[0] if part.number == 1 else rng.choice(CHILD[1:])
    return f"{start} {part.do}. {_capital(part.why)}. {rng.choice(HAPPY).format(part.equation)}"


def _first_person(part: _Part, rng: Random) -> str:
    start = "First I" if part.number == 1 else rng.choice(("Then I", "Next I", "Now I", "I"))
    return f"{start} {part.do}, because {part.why}. That gives {part.equation}."


def _table(part: _Part, rng: Random) -> str:
    return f"| {part.number} | {part.do} | {part.equation} |"


def _formal(part: _Part, rng: Random) -> str:
    return f"({part.number}) Ground: {part.why}. Operation: {part.do}. Result: {part.equation}."


def _dialogue(part: _Part, rng: Random) -> str:
    asked = ASKED[0] if part.number == 1 else rng.choice(ASKED[1:])
    return f"{asked} {_capital(part.why)}: {part.do}. That is {part.equation}."


def _paragraph(part: _Part, rng: Random) -> str:
    start = "To begin," if part.number == 1 else f"{rng.choice(CONNECTIVES)}"
    return f"{start} {part.do}, which gives {part.equation}."


WRITERS: Mapping[Style, Callable[[_Part, Random], str]] = {
    "terse": _terse, "numbered": _numbered, "bullets": _bullets, "sentences": _sentences, "justified": _justified,
    "reason_first": _reason_first, "child": _child, "first_person": _first_person, "table": _table, "formal": _formal,
    "dialogue": _dialogue, "paragraph": _paragraph,
}  # fmt: skip


def _shown(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values in words; a list of numbers also as a sum, under `name_sum`."""
    found = {name: show(value) for name, value in values.items()}
    return found | {
        f"{name}_sum": " + ".join(map(show, value)) for name, value in values.items() if isinstance(value, list)
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
