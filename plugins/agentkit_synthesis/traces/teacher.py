"""A second teacher: a language model explains, and is believed only where a program agrees (rejection sampling).

Any model that agentkit knows: sprout, a GGUF file, an OpenAI-compatible server. It is asked up to `samples` times; the first reply
is taken whose answer is the solver's and whose calculations, as far as they can be executed, all hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from agentkit import config
from agentkit.engine import open_engine
from agentkit.errors import ContextFull
from agentkit.messages import system_message, user_message
from agentkit.protocols import Engine, Reply, Request, Sampling
from agentkit.types import Task
from agentkit_synthesis.dataset.rows import Rejected, split_of
from agentkit_synthesis.traces.expressions import plain
from agentkit_synthesis.traces.problem import Problem, show
from agentkit_synthesis.traces.source import problem_at, row_of, style_at
from agentkit_synthesis.traces.stated import is_same, stated_answer, stated_steps, without_answer
from agentkit_synthesis.traces.styles import answer_line

__all__ = ["explain", "taught"]

ASKED = (
    "Write every calculation as an equation, for instance 3 * 4 = 12. End with a line that says `Answer: ` and the bare answer: a "
    "number, a word, a date as YYYY-MM-DD, or names separated by commas."
)


def taught(options: Mapping[str, Any], seed: int, index: int) -> Mapping[str, Any] | Rejected:
    """Return row `index` as a model explains it, or why none of its replies was taken."""
    family, level, problem = problem_at(options, seed, index)
    system, _ = style_at(seed, index)
    engine = _opened(options["teacher"])
    said = explain(engine, problem, system, options, seed=(seed * 1_000_003 + index * 101) % 2**31)
    if isinstance(said, Rejected):
        return said
    steps = [
        {"text": one.text, "expression": one.expression, "inputs": [], "result": plain(_whole(one.result))}
        for one in stated_steps(said)
    ]
    about: dict[str, Any] = {"id": f"traces-{seed}-{index}", "family": family, "level": level, "system": system}
    answer = show(problem.moves[-1].result)
    row = row_of(problem, final=said, steps=steps, answer=answer, teacher=engine.capabilities.model, **about)
    return {**row, "verified": True, "split": split_of(problem.key, options["test_share"])}


def explain(engine: Engine, problem: Problem, system: str, options: Mapping[str, Any], *, seed: int) -> str | Rejected:
    """Return the first reply that holds, ending with the answer's line; else the commonest reason why none did.

    Raises:
        EngineError: the model, or its server, failed.
    """
    reasons: Counter[str] = Counter()
    for sample in range(options["samples"]):
        sampling = Sampling(temperature=options["temperature"], seed=seed + sample)
        request = Request(
            messages=[system_message(f"{system} {ASKED}".strip()), user_message(Task.of(problem.question))],
            allow=frozenset({"final"}),
            sampling=sampling,
            max_tokens=options["max_tokens"],
        )
        try:
            reply = _reply(engine, request)
        except ContextFull:
            return Rejected("the problem does not fit into the teacher's context")
        reason = _wrong(problem, reply)
        if not reason:
            return f"{without_answer(reply.step.text)}\n{answer_line(problem.moves[-1].result, problem.unit)}"
        reasons[reason] += 1
    return Rejected(reasons.most_common(1)[0][0])


def _reply(engine: Engine, request: Request) -> Reply:
    *_, last = engine.stream(request)
    assert isinstance(last, Reply)  # the protocol: a stream ends with it
    return last


def _wrong(problem: Problem, reply: Reply) -> str:
    """Return why a reply is not taken, or nothing."""
    text = reply.step.text
    if not text.strip():
        return "the teacher said nothing"
    if reply.finish == "length":
        return "the teacher's reply was cut off"
    said = stated_answer(text)
    if not said:
        return "the teacher gave no answer"
    if not is_same(said, show(problem.moves[-1].result), problem.unit):
        return "the teacher's answer is wrong"
    if not without_answer(text):
        return "the teacher explained nothing"
    if not all(one.holds for one in stated_steps(text)):
        return "the teacher states a calculation that is wrong"
    return ""


def _whole(number: Any) -> Any:
    return int(number) if number.denominator == 1 else number


@lru_cache(maxsize=1)
def _opened(model: str) -> Engine:
    """Return the engine of a model, opened once a process, with the user's settings for all else."""
    settings = config.load().settings.engine
    return open_engine(replace(settings, model=model))
