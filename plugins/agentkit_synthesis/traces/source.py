"""The row source of explanation traces: `make(options, seed, index)`.

A row's problem depends on the seed, the index, the families and the levels; its style on the seed and the index. `explain` and
`pairs` change neither, so that sets with and without explanations have the same problems under the same ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from agentkit_synthesis.dataset.rows import PAIRS, Rejected, split_of
from agentkit_synthesis.traces.expressions import names
from agentkit_synthesis.traces.families import (
    arithmetic,
    code_reading,
    dates,
    logs_configs,
    sets_graphs,
    tables,
    tool_choice,
)
from agentkit_synthesis.traces.problem import Problem, show
from agentkit_synthesis.traces.styles import Told, answer_line, tell
from agentkit_synthesis.traces.systems import ANSWER_ONLY, SYSTEMS, Style
from agentkit_synthesis.traces.verifying import verify
from agentkit_synthesis.traces.wrong import Wrong, go_wrong

__all__ = ["DEFAULTS", "FAMILIES", "SOLVER", "make", "problem_at", "row_of", "style_at", "trace", "wrong_trace"]

SOLVER = "solver"  # the teacher that is a program

FAMILIES: Mapping[str, Callable[[Random, int], Problem]] = {
    "arithmetic": arithmetic.make,
    "dates": dates.make,
    "sets_graphs": sets_graphs.make,
    "tables": tables.make,
    "logs_configs": logs_configs.make,
    "tool_choice": tool_choice.make,
    "code_reading": code_reading.make,
}
DEFAULTS: Mapping[str, Any] = {
    "families": tuple(FAMILIES),
    "difficulty": (1, 2, 3),
    "explain": True,
    "pairs": False,
    "test_share": 0.1,
    "teacher": SOLVER,
}


def make(options: Mapping[str, Any], seed: int, index: int) -> Mapping[str, Any] | Rejected:
    """Return row `index`, or why it did not verify.

    Args:
        options: `families`, `difficulty`, `explain`, `pairs`, `test_share`, `teacher`, as in `TracesParams`; `DEFAULTS` for what
            is not there.
        seed: of the data set.
        index: of the row.
    """
    options = {**DEFAULTS, **options}
    if options["teacher"] != SOLVER:
        from agentkit_synthesis.traces.teacher import taught  # noqa: PLC0415  engines: heavy

        return taught(options, seed, index)
    family, level, problem = problem_at(options, seed, index)
    system, style = style_at(seed, index)
    told = tell(problem, [move.result for move in problem.moves], style, _words(seed, index))
    row = trace(problem, told, id=f"traces-{seed}-{index}", family=family, level=level, system=system, teacher=SOLVER)
    reason = verify(row)
    if reason:
        return Rejected(f"{family} {problem.kind}: {reason}")
    row["verified"] = True
    row["split"] = split_of(problem.key, options["test_share"])
    if options["pairs"]:
        row[PAIRS] = _pairs(problem, row, style, seed, index)
    return row if options["explain"] else _answer_only(row, problem)


def problem_at(options: Mapping[str, Any], seed: int, index: int) -> tuple[str, int, Problem]:
    """Return the family, the level and the problem of a row; families take turns."""
    families: Sequence[str] = options["families"]
    family = families[index % len(families)]
    rng = Random(f"traces/{seed}/{index}")
    level = rng.choice(options["difficulty"])
    return family, level, FAMILIES[family](rng, level)


def trace(
    problem: Problem,
    told: Told,
    *,
    id: str,
    family: str,
    level: int,
    system: str,
    teacher: str,
    wrong: Wrong | None = None,
) -> dict[str, Any]:
    """Return the row of a solution in words, before it is verified."""
    results = [move.result for move in problem.moves] if wrong is None else list(wrong.results)
    steps = [
        {"text": text, "expression": move.expression, "inputs": sorted(names(move.expression)), "result": result}
        for text, move, result in zip(told.steps, problem.moves, results, strict=True)
    ]
    about: dict[str, Any] = {"id": id, "family": family, "level": level, "system": system, "teacher": teacher}
    return row_of(problem, final=told.final, steps=steps, answer=show(results[-1]), **about)


def row_of(
    problem: Problem,
    *,
    id: str,
    family: str,
    level: int,
    system: str,
    steps: Sequence[Mapping[str, Any]],
    final: str,
    answer: str,
    teacher: str,
) -> dict[str, Any]:
    """Return a row that is not verified yet, with the columns in the order that files have."""
    return {
        "id": id,
        "family": family,
        "kind": problem.kind,
        "difficulty": level,
        "split": "train",
        "system": system,
        "user": problem.question,
        "given": dict(problem.given),
        "steps": list(steps),
        "final": final,
        "answer": answer,
        "unit": problem.unit,
        "teacher": teacher,
        "verified": False,
        "hash": _hash(system, problem.question, final),
        "messages": _messages(system, problem.question, final),
    }


def wrong_trace(
    problem: Problem, row: Mapping[str, Any], style: Style, seed: int, index: int
) -> tuple[Wrong, dict[str, Any]] | None:
    """Return a row with one step gone wrong, in the same words; None where no mistake that was tried changes the answer."""
    wrong = go_wrong(problem, Random(f"traces/wrong/{seed}/{index}"))
    if wrong is None:
        return None
    told = tell(problem, wrong.results, style, _words(seed, index))
    about = {"id": row["id"], "family": row["family"], "level": row["difficulty"], "system": row["system"]}
    return wrong, trace(problem, told, teacher=row["teacher"], wrong=wrong, **about)


def _pairs(problem: Problem, row: Mapping[str, Any], style: Style, seed: int, index: int) -> list[dict[str, Any]]:
    """Return the row's preference pair: right against one wrong step; none where the verifier does not see it."""
    made = wrong_trace(problem, row, style, seed, index)
    if made is None or not verify(made[1]):
        return []
    wrong, other = made
    pair = {"id": row["id"], "family": row["family"], "wrong_step": wrong.step, "mistake": wrong.mistake}
    *prompt, chosen = row["messages"]
    return [{**pair, "prompt": prompt, "chosen": [chosen], "rejected": [other["messages"][-1]]}]


def style_at(seed: int, index: int) -> tuple[str, Style]:
    """Return the system message of a row and the style that it asks for."""
    return Random(f"traces/style/{seed}/{index}").choice(SYSTEMS)


def _words(seed: int, index: int) -> Random:
    """Return what chooses a row's words: the same for its right and its wrong version."""
    return Random(f"traces/words/{seed}/{index}")


def _answer_only(row: dict[str, Any], problem: Problem) -> dict[str, Any]:
    """Return a row with the answer alone; it was verified with its steps."""
    final = answer_line(problem.moves[-1].result, problem.unit)
    said = _messages(ANSWER_ONLY, row["user"], final)
    return {**row, "system": ANSWER_ONLY, "steps": [], "final": final, "hash": _hash(ANSWER_ONLY, row["user"], final), "messages": said}  # fmt: skip


def _messages(system: str, user: str, final: str) -> list[dict[str, str]]:
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": user}, {"role": "assistant", "content": final}]


def _hash(*texts: str) -> str:
    return hashlib.sha256("\x00".join(texts).encode()).hexdigest()[:16]
