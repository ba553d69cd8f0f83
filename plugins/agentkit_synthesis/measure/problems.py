"""Explanation traces as problems for a student: what is asked, the explained answer, and the answer alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkit_synthesis.quality.rows import read_rows, texts_of

__all__ = ["MARK", "Problem", "answered", "read_problems"]

LONGEST = 2_000  # characters: about the context of 1024 tokens
MARK = "Answer:"  # what follows its last place in a reply is the answer


@dataclass(frozen=True, slots=True)
class Problem:
    """One trace. The system message is left out: it says how to explain, not what is asked."""

    family: str
    question: str
    explained: str
    answer: str

    @property
    def bare(self) -> str:
        """The reply without its explanation."""
        return f"{MARK} {self.answer}"


def answered(reply: str) -> str:
    """Return the answer that a reply ends with; empty where it gives none."""
    _, mark, rest = reply.rpartition(MARK)
    return rest.strip() if mark else ""


def read_problems(
    path: Path, families: tuple[str, ...], systems: tuple[str, ...] = (), *, most: int
) -> dict[str, list[Problem]]:
    """Return the problems of a file by family, the first `most` of each.

    Left out are rows without an explanation, those of more than `LONGEST` characters, which no small student could read, and,
    where `systems` are named, those with another system message.

    Raises:
        InvalidParams: a line cannot be read; names it.
    """
    found: dict[str, list[Problem]] = {}
    for _, row in read_rows(path):
        problem = _problem(row, systems)
        if problem is None or (families and problem.family not in families):
            continue
        own = found.setdefault(problem.family, [])
        if len(own) < most:
            own.append(problem)
    return found


def _problem(row: Mapping[str, Any], systems: tuple[str, ...]) -> Problem | None:
    texts = texts_of(row)
    if systems and texts.system not in systems:
        return None
    answer = answered(texts.answer)
    if not answer and isinstance(row.get("answer"), (str, int, float)):
        answer = str(row["answer"]).strip()
        texts = type(texts)(texts.system, texts.prompt, f"{texts.answer.rstrip()}\n{MARK} {answer}")
    if not answer or not texts.prompt or texts.answer.strip() == f"{MARK} {answer}":
        return None
    if len(texts.prompt) + len(texts.answer) > LONGEST:
        return None
    return Problem(str(row.get("family", "rows")), texts.prompt, texts.answer.strip(), answer)
