"""Asking the embedded model for a long job in words, through the real program, and judging what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import figures, sprout_tasks
from benchmarks.answering import Bench

LIMIT_S = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request with what came of it."""

    id: str
    request: str
    called: bool  # a right tool, with the right arguments
    ran: bool  # a job with them is done
    told: bool  # the answer has its figures
    steps: list[Any] = field(default_factory=list)
    answer: str = ""
    stop: str = ""
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Whether all of it is as asked."""
        return self.called and self.ran and self.told


Judge = Callable[[Mapping[str, Any]], tuple[bool, bool, bool]]  # what the program printed -> called, ran, told


def ask(
    row: Mapping[str, Any], home: Path, work: Path, *, tools: Sequence[str], plugins: Sequence[str], judge: Judge
) -> Asked:
    """Run one request as `agentkit run --allow-tool ...` in `work`, and judge it."""
    words = ["run", row["request"], "--json", "--timeout", str(LIMIT_S)]
    allowed = [word for tool in tools for word in ("--allow-tool", tool)]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "agentkit", *words, *allowed],
        capture_output=True, text=True, cwd=work, check=False, timeout=LIMIT_S + 60,
        env={**os.environ, "AGENTKIT_HOME": str(home), "AGENTKIT_EXTENSIONS__ONLY": ",".join(plugins)},
    )  # fmt: skip
    seconds = round(time.monotonic() - began, 1)
    if not done.stdout.strip():
        return Asked(id=row["id"], request=row["request"], called=False, ran=False, told=False, answer=done.stderr)
    data = json.loads(done.stdout)["data"]
    called, ran, told = judge(data)
    return Asked(
        id=row["id"], request=row["request"], called=called, ran=ran, told=told,
        steps=[(step["tool"], step["arguments"], step["ok"]) for step in data["steps"]],
        answer=data["answer"], stop=data["stop_reason"], seconds=seconds,
    )  # fmt: skip


def shares(asked: Sequence[Asked], *, id: str, what: str, ran: str, target: float) -> Iterator[figures.Measured]:
    """Yield how many made the right call, how many jobs ran, and how many answers had their figures."""
    called, done = sum(one.called for one in asked), sum(one.called and one.ran for one in asked)
    yield figures.share(f"{id}-called", f"{what}: the right call", called, len(asked))
    yield figures.share(f"{id}-ran", f"{what}: {ran}", done, len(asked))
    right = sum(one.right for one in asked)
    yield figures.share(f"{id}-right", f"{what}: it ran, and the answer has its figures", right, len(asked), target)


def everyday(area: str, plugins: Sequence[str]) -> list[figures.Measured]:
    """Return how many of the everyday calculations are right with those plugins installed, and with the basics alone."""
    bench = Bench.open("sprout")
    weight = bench.engine.capabilities.tool_prior_weight
    found = []
    for name, chosen in (("with", tuple(plugins)), ("without", ("basics",))):
        asked = [*sprout_tasks.percents(plugins=chosen), *sprout_tasks.sums(plugins=chosen)]
        right = sum(job.do(bench, weight).right_task for job in asked)
        what = f"percentages and sums over a file, written by hand, {name} the {area} tools installed"
        found.append(figures.share(f"{area}-everyday-{name}", what, right, len(asked)))
    bench.close()
    return found


def show(asked: Asked) -> None:
    """Print one request with what came of it."""
    print(
        f"{'right' if asked.right else 'WRONG'} {asked.id} {asked.request}\n      {asked.steps} {asked.answer}",
        flush=True,
    )
