"""What is measured of traces: students taught with explanations, and others with answers alone, each on all families together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

from agentkit.errors import InvalidParams
from agentkit_synthesis.measure.cells import Cell
from agentkit_synthesis.measure.params import MeasureParams
from agentkit_synthesis.measure.problems import Problem, answered, read_problems
from agentkit_synthesis.measure.speaking import CONTEXT, Exercise, answers_of, taught
from agentkit_synthesis.measure.tokens import Tokenizer

__all__ = ["EXPLAINED", "LONGER", "PLAIN", "Traces", "cells_of_traces", "read_traces", "teach_traces"]

EXPLAINED, PLAIN, LONGER = "explained", "answers", "answers, as many tokens"
ARMS = (EXPLAINED, PLAIN, LONGER)
FEWEST_TRAIN, FEWEST_TEST = 50, 20
STEPS = 4_000
SPARE = 1.5  # times the longest reply that was learnt, for a reply


@dataclass(frozen=True)
class Traces:
    """Problems of each family, to train on and held out, and what to warn of."""

    train: Mapping[str, Sequence[Problem]]
    test: Mapping[str, Sequence[Problem]]
    warnings: tuple[str, ...]

    @cached_property
    def exercises(self) -> tuple[Tokenizer, list[Exercise], list[Exercise]]:
        """A tokenizer, and the problems with explanations and with answers alone, in the same order."""
        problems = [one for several in self.train.values() for one in several]
        words = Tokenizer([text for one in problems for text in (one.question, one.explained, one.bare)])
        questions = [words.encode(one.question) for one in problems]
        long = [Exercise(asked, words.encode(one.explained)) for asked, one in zip(questions, problems, strict=True)]
        short = [Exercise(asked, words.encode(one.bare)) for asked, one in zip(questions, problems, strict=True)]
        fitting = [place for place, one in enumerate(long) if len(one) <= CONTEXT]
        return words, [long[place] for place in fitting], [short[place] for place in fitting]

    @property
    def digest(self) -> str:
        """A hash of all problems."""
        told = [[[astuple(one) for one in several] for several in of.values()] for of in (self.train, self.test)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def cells(self, params: MeasureParams) -> list[Cell]:
        """Return every student that is to be taught."""
        return cells_of_traces(params)


def read_traces(params: MeasureParams) -> Traces:
    """Read the splits of a data set of traces.

    Raises:
        InvalidParams: there is no test split, a family is not there, or all have too few rows.
    """
    files = [params.data / f"{name}.jsonl" for name in ("train", "test")]
    for path in files:
        if not path.is_file():
            raise InvalidParams(
                f"/data: {params.data} has no {path.name}: students are scored on problems that are held out; make it with a share for the test"
            )
    train = read_problems(files[0], params.families, params.systems, most=params.train_rows)
    test = read_problems(files[1], params.families, params.systems, most=params.test_rows)
    if absent := [name for name in params.families if name not in train]:
        raise InvalidParams(
            f"/families: there are no explained traces of {', '.join(absent)}; there are some of {', '.join(sorted(read_problems(files[0], (), params.systems, most=1))) or 'none'}"
        )
    told = []
    for name in sorted(train):
        if len(train[name]) < FEWEST_TRAIN or len(test.get(name, ())) < FEWEST_TEST:
            told.append(
                f"{name}: {len(train[name])} rows to train on and {len(test.get(name, ()))} to score are too few; {FEWEST_TRAIN} and {FEWEST_TEST} are needed"
            )
    kept = [name for name in sorted(train) if not any(line.startswith(f"{name}: ") for line in told)]
    if not kept:
        raise InvalidParams(
            f"/data: {'; '.join(told) or f'{params.data} has no explained traces: rows whose reply ends in `Answer: ...` after an explanation'}"
        )
    return Traces({name: train[name] for name in kept}, {name: test[name] for name in kept}, tuple(told))


def cells_of_traces(params: MeasureParams) -> list[Cell]:
    """Return every student that is to be taught: arm by seed."""
    steps, seeds = params.steps or STEPS, params.seeds or 3
    return [
        Cell(kind="traces", student="llama", arm=arm, seed=params.seed + n, steps=steps)
        for arm in ARMS
        for n in range(seeds)
    ]


def teach_traces(traces: Traces, cell: Cell, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Teach one student all families and score it on each: exact match of its answer on problems held out.

    With `LONGER` a student of answers alone takes so many more steps that it reads as many tokens as one of explanations.

    Raises:
        Cancelled: `should_stop` said so.
    """
    words, long, short = traces.exercises
    ratio = sum(map(len, long)) / sum(map(len, short))
    exercises = long if cell.arm == EXPLAINED else short
    steps = round(cell.steps * ratio) if cell.arm == LONGER else cell.steps
    model, read = taught(exercises, vocabulary=len(words), steps=steps, seed=cell.seed, should_stop=should_stop)
    most = int(SPARE * max(len(one.reply) for one in exercises)) + 8
    asked = [(family, one) for family, several in traces.test.items() for one in several]
    replies = answers_of(model, [words.encode(one.question) for _, one in asked], most=most, should_stop=should_stop)
    right = dict.fromkeys(traces.test, 0)
    for reply, (family, one) in zip(replies, asked, strict=True):
        right[family] += answered(words.decode(reply)) == one.answer
    weights = sum(weight.numel() for weight in model.parameters())
    return {
        "score": sum(right.values()) / len(asked), "right": right, "of": {family: len(several) for family, several in traces.test.items()},
        "rows": len(exercises), "steps_taken": steps, "tokens": read, "weights": weights,
    }  # fmt: skip
