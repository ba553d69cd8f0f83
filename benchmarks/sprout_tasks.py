"""The five things asked of the embedded model, each as judged cases."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from agentkit import extensions
from agentkit.config import ExtensionSettings, Settings
from agentkit.protocols import Tool
from agentkit.types import RunResult, ToolRules, ToolSpec
from agentkit_synthesis.evaluation import EvalCase, evaluation_set
from agentkit_synthesis.stream import bundled
from agentkit_synthesis.values import path
from agentkit_synthesis.wording import data, dress, pick
from benchmarks import judging
from benchmarks.answering import Bench, fake_tools, nothing_known, tools_of
from benchmarks.figures import ROOT

HANDWRITTEN = ROOT / "tests" / "data" / "handwritten"
LENGTHS = range(2, 21)
HEADERS = ("litres", "units sold", "Cost per day", "kilometres", "# visitors", "weight (kg)")  # none is in training
VARIANTS = ("plain", "header", "negatives", "decimals")
BUNDLED = frozenset(bundled(Random(0)))
BASICS = ("basics",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One request with what came of it; `ranked`: the lexical prior was on."""

    task: str  # "set", "hand", "percent", "sum", "lists"
    id: str
    kind: str
    request: str
    ranked: bool
    right_tool: bool
    right_call: bool
    right_task: bool
    valid: int
    calls: int
    stop: str
    answer: str
    wanted: Any
    got: list[tuple[str, Any, str]] = field(default_factory=list)
    seen: bool = True

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Job:
    """Something still to be asked; `do` runs and judges it at a weight of the ranker."""

    task: str
    do: Callable[[Bench, float], Judged]


def held_out(seed: int, n: int, *, keep: int | None = None) -> list[Job]:
    """Return the generated requests, `keep` of them if given, spread over all kinds."""
    return [Job("set", partial(_judge_case, case)) for case in thinned(evaluation_set(seed, n), keep)]


def handwritten(*, keep: int | None = None) -> list[Job]:
    """Return the hundred requests written by hand."""
    return [Job("hand", partial(_judge_hand, row)) for row in thinned(lines("requests.jsonl"), keep)]


def percents(*, keep: int | None = None, plugins: tuple[str, ...] = BASICS) -> list[Job]:
    """Return the twenty calculations written by hand, over the tools of some plugins."""
    rows = thinned(lines("percent.jsonl"), keep)
    return [Job("percent", partial(_judge_number, "percent", row, plugins=plugins)) for row in rows]


def sums(*, keep: int | None = None, plugins: tuple[str, ...] = BASICS) -> list[Job]:
    """Return the twenty sums over a file written by hand, over the tools of some plugins."""
    rows = thinned(lines("sum_file.jsonl"), keep)
    return [Job("sum", partial(_judge_number, "sum", row, plugins=plugins)) for row in rows]


def lists(seed: int, *, each: int = 1, keep: int | None = None) -> list[Job]:
    """Return sums over generated files of 2 to 20 numbers, `each` of every variant and length."""
    rows = [list_row(seed, length, variant, n) for length in LENGTHS for variant in VARIANTS for n in range(each)]
    return [Job("lists", partial(_judge_number, "lists", row)) for row in thinned(rows, keep)]


def confusions(judged: Sequence[Judged], top: int = 12) -> list[dict[str, Any]]:
    """Return the most frequent wrong picks of a tool; what was wanted, what came instead, how often."""
    wrong: Counter[tuple[str, str]] = Counter()
    for one in judged:
        if not one.right_tool:
            wrong[(one.wanted[0] or "(no tool)", one.got[0][0] if one.got else f"({one.stop})")] += 1
    return [{"wanted": wanted, "got": got, "times": times} for (wanted, got), times in wrong.most_common(top)]


def kind_of(case: EvalCase) -> str:
    """Return what a case is about: bundled, catalogue, invented, or several steps."""
    if case.kind == "steps":
        return "steps"
    if not case.seen:
        return "invented"
    return "bundled" if case.expect[0]["tool"] in BUNDLED else "catalogue"


def thinned(items: Sequence[Any], keep: int | None) -> Sequence[Any]:
    """Return `keep` of the items, always the same, in their order; all of them by default."""
    if keep is None or keep >= len(items):
        return items
    return [items[index] for index in sorted(Random(0).sample(range(len(items)), keep))]


def lines(name: str) -> list[dict[str, Any]]:
    """Return the rows of a handwritten file."""
    return [json.loads(line) for line in (HANDWRITTEN / name).read_text(encoding="utf-8").splitlines() if line]


def _judge_case(case: EvalCase, bench: Bench, weight: float) -> Judged:
    result = bench.run(case.request, tools_of(case), weight=weight)
    first = result.steps[0] if result.steps else None
    wanted = case.expect[0]
    right_tool = first is not None and first.tool == wanted["tool"]
    right_call = first is not None and right_tool and judging.same(dict(first.arguments), dict(wanted["arguments"]))
    calls = len(result.steps) == len(case.expect) and all(
        step.tool == call["tool"] and judging.same(dict(step.arguments), dict(call["arguments"]))
        for step, call in zip(result.steps, case.expect, strict=True)
    )
    right_task = calls and bool(result.answer) and all(text in result.answer for text in case.answer_has)
    return _judged(
        "set", case.id, kind_of(case), case.request, result, weight, case.tools, seen=case.seen,
        wanted=(wanted["tool"], [dict(call) for call in case.expect], case.answer_has),
        right=(right_tool, right_call, right_task),
    )  # fmt: skip


def _judge_hand(row: dict[str, Any], bench: Bench, weight: float) -> Judged:
    specs = [ToolSpec(name=t["name"], description=t["description"], parameters=t["parameters"],
                      rules=ToolRules(references=("expression",) if t["name"] == "calculator" else ()))
             for t in row["tools"]]  # fmt: skip
    result = bench.run(row["request"], fake_tools(specs, nothing_known, frozenset()), weight=weight)
    first = result.steps[0] if result.steps else None
    wanted = row["expect"]
    if wanted["tool"] is None:
        right_tool = right_call = first is None
    else:
        choices = wanted.get("arguments_any") or [wanted["arguments"]]
        got = (first.tool, first.arguments) if first is not None else ("", {})
        right_tool = got[0] == wanted["tool"]
        right_call = right_tool and any(judging.alike(*got, one) for one in choices)
    return _judged(
        "hand", row["id"], row["kind"], row["request"], result, weight, specs,
        wanted=(wanted["tool"], wanted), right=(right_tool, right_call, right_call),
    )  # fmt: skip


def _judge_number(
    task: str, row: dict[str, Any], bench: Bench, weight: float, *, plugins: tuple[str, ...] = BASICS
) -> Judged:
    """Judge a calculation, over a file where the row has one: the right tools, and the exact number."""
    tools = _bundled_tools(plugins)
    with tempfile.TemporaryDirectory() as folder:
        if "file" in row:
            file = Path(folder, row["file"])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(row["content"], encoding="utf-8")
        result = bench.run(row["request"], tools, weight=weight, workspace=Path(folder))
    needed = ["read_file", "calculator"] if "file" in row else ["calculator"]
    used = [step.tool for step in result.steps if step.ok]
    right_tool = bool(result.steps) and result.steps[0].tool == needed[0]
    right_call = all(tool in used for tool in needed)
    right_task = right_call and judging.shows(result.answer, row["answer"])
    return _judged(
        task, row["id"], row.get("kind", task), row["request"], result, weight, [tool.spec for tool in tools],
        wanted=(needed[0], row["answer"]), right=(right_tool, right_call, right_task),
    )  # fmt: skip


def _bundled_tools(plugins: tuple[str, ...]) -> list[Tool]:
    tools, broken = extensions.load_tools(Settings(extensions=ExtensionSettings(only=plugins)))
    if broken:
        raise RuntimeError(f"agentkit's own tools do not load: {broken}")
    return tools


def list_row(seed: int, length: int, variant: str, n: int) -> dict[str, Any]:
    """Return one generated file of numbers, what is asked about it, and the sum."""
    rng = Random(f"lists/{seed}/{length}/{variant}/{n}")
    file = path(rng, "test", ext=rng.choice(("txt", "csv", "dat")))
    low, high = (-90 if variant == "negatives" else 1), rng.choice((20, 100, 5000))
    numbers = [f"{rng.uniform(low, high):.2f}" if variant == "decimals" else str(rng.randint(low, high))
               for _ in range(length)]  # fmt: skip
    head = [rng.choice(HEADERS)] if variant == "header" else []
    request = dress(pick(rng, data("tasks.toml")["sum"], "test").replace("{path}", file), rng, "test")
    return {
        "id": f"list-{length}-{variant}-{n}", "kind": f"{length:02d}", "request": request, "file": file,
        "content": "\n".join([*head, *numbers]) + "\n", "answer": str(sum(judging.numbers("\n".join(numbers)))),
    }  # fmt: skip


def _judged(
    task: str, id: str, kind: str, request: str, result: RunResult, weight: float, specs: Sequence[ToolSpec], *,
    wanted: Any, right: tuple[bool, bool, bool], seen: bool = True,
) -> Judged:  # fmt: skip
    valid, calls = judging.schema_valid(result, specs)
    return Judged(
        task=task, id=id, kind=kind, request=request, ranked=weight > 0, seen=seen, wanted=wanted, valid=valid,
        calls=calls, stop=result.stop_reason.value, answer=result.answer, right_tool=right[0], right_call=right[1],
        right_task=right[2], got=[(step.tool, dict(step.arguments), step.result[:200]) for step in result.steps],
    )  # fmt: skip


def by_kind(judged: Sequence[Judged]) -> Iterator[tuple[str, list[Judged]]]:
    """Yield the cases of each kind, in order of the kinds' names."""
    for kind in sorted({one.kind for one in judged}):
        yield kind, [one for one in judged if one.kind == kind]
