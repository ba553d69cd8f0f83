"""What a language model states in its explanation: calculations that can be executed, and an answer.

A calculation is digits and signs before `=`, and a number after it. Whatever is told otherwise (words, tables, dates) is not
executed; the card and the documentation say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from agentkit_synthesis.traces.expressions import NotExecutable, evaluate
from agentkit_synthesis.traces.functions import rounded

__all__ = ["Stated", "is_same", "stated_answer", "stated_steps", "without_answer"]

EQUATION = re.compile(
    r"(?<![\w.,])([-(]*\d[\d\s.,()*/+\-×÷−%]*?)"  # digits and signs, not the end of a word or of a number
    r"=\s*([-−]?\d+(?:,\d{3})*(?:\.\d+)?)(?![\d,.]*\s*[-+*/×÷−]\s*[\d(])"  # a number, with which no further term begins
)
NUMBERING = re.compile(r"^\s*\(?\d+[.):]\s+")
SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-"})
ANSWER = re.compile(r"^\W*(?:the )?(?:final )?answer(?:\W*?(?: is)?\W*?[:=]| is )\W*?(-?\w.*?)\W*$", re.IGNORECASE)
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
FEWEST_DECIMALS = 2  # a result rounded to fewer is wrong


@dataclass(frozen=True, slots=True)
class Stated:
    """A calculation that a text states.

    Attributes:
        text: the line it stands in.
        expression: its left side, in the language of steps.
        result: its right side.
        holds: whether executing the one gives the other, or what it is when rounded to two decimals or more.
    """

    text: str
    expression: str
    result: Fraction
    holds: bool


def stated_steps(text: str) -> Iterator[Stated]:
    """Yield the calculations of a text that can be executed, right and wrong ones."""
    for line in text.splitlines():
        for left, right in EQUATION.findall(NUMBERING.sub("", line)):
            last = re.split(r"[,.]\s+", THOUSANDS.sub("", left))[-1]
            expression = " ".join(last.translate(SIGNS).split())
            if not re.search(r"\d\s*[-+*/%]", expression):
                continue
            told = THOUSANDS.sub("", right).translate(SIGNS)
            try:
                found = evaluate(expression, {})
            except NotExecutable:
                continue
            if isinstance(found, int | Fraction):
                yield Stated(line.strip(), expression, Fraction(told), _agrees(Fraction(found), told))


def stated_answer(text: str) -> str:
    """Return what a text gives as its answer, after its last `Answer:`; nothing where it gives none."""
    return next((found[1].strip() for line in reversed(text.splitlines()) if (found := ANSWER.match(line.strip()))), "")


def without_answer(text: str) -> str:
    """Return a text without the answer's line at its end."""
    lines = text.strip().splitlines()
    while lines and (not lines[-1].strip() or ANSWER.match(lines[-1].strip())):
        lines.pop()
    return "\n".join(lines)


def is_same(said: str, answer: str, unit: str) -> bool:
    """Return whether an answer that was said is the right one, whatever its unit, full stop and separators."""
    return _bare(said, unit) == _bare(answer, unit)


def _bare(text: str, unit: str) -> object:
    text = THOUSANDS.sub("", text.strip().strip("*`\"'").rstrip(".").strip())
    if unit and text.endswith(unit):
        text = text[: -len(unit)].strip()
    text = text.translate(SIGNS)
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return tuple(part.strip() for part in text.split(",")) if "," in text else text


def _agrees(found: Fraction, told: str) -> bool:
    decimals = len(told.partition(".")[2])
    return Fraction(told) == found or (decimals >= FEWEST_DECIMALS and rounded(found, decimals) == Fraction(told))
