"""Whether the embedded model fine-tunes when it is asked to: twenty ways to say it, through the real program.

python -m benchmarks.training_words [--write] [--only ID] [--fresh] [--errors FILE]

Each request of tests/data/handwritten/training.jsonl is an `agentkit run --allow-tool fine_tune` of its own, in a folder with
pairs in prefs.jsonl and other files. It counts where a real training of 50 steps on that very file ran and the answer has
its figures. Equal calls are one job, as the tools promise, so that what all ask for is trained once; `--fresh` trains for each.
Beside it: the everyday calculations, with the training tools installed and without.

The tools' words were chosen on training_development.jsonl, and never on the twenty.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agentkit import jobs
from benchmarks import figures, sprout_tasks
from benchmarks.answering import Bench

COMMAND = "python -m benchmarks.training_words --write"
DATA, STEPS = "prefs.jsonl", 50
TOOLS = ("fine_tune", "dpo")  # either is right: the file has pairs
TARGET = 0.8
WITH, WITHOUT = ("basics", "training"), ("basics",)
LIMIT_S = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request with what came of it."""

    id: str
    request: str
    called: bool  # a right tool, with the file and the steps
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


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_words", description="Training in words.")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/training_words.json")
    parser.add_argument("--only", action="append", metavar="ID", help="only this request; can be repeated")
    parser.add_argument("--fresh", action="store_true", help="train for each request anew")
    parser.add_argument("--errors", type=Path, metavar="FILE", help="write all that was asked here, as JSON Lines")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    asked = []
    for one in ask_all(wanted.only, fresh=wanted.fresh):
        asked.append(one)
        print(f"{'right' if one.right else 'WRONG'} {one.id} {one.request}\n      {one.steps} {one.answer}", flush=True)
    print(f"{sum(one.right for one in asked)} of {len(asked)}")
    if wanted.errors:
        figures.write_whole(wanted.errors, "\n".join(json.dumps(asdict(one)) for one in asked) + "\n")
    if wanted.write and not wanted.only:
        measured = [*_asked(asked), *everyday()]
        figures.write("training_words", figures.rows(measured, command=COMMAND, seconds=time.monotonic() - began))
        for row in measured:
            print(row.id, row.value, row.n)
    return 0


def ask_all(only: Sequence[str] | None = None, *, fresh: bool = False) -> Iterator[Asked]:
    """Ask all of it, one after the other, in one workspace that is as before each time but for what was trained."""
    with tempfile.TemporaryDirectory() as place:
        home, work = Path(place, "home"), Path(place, "work")
        home.mkdir()
        for row in sprout_tasks.lines("training.jsonl"):
            if only and row["id"] not in only:
                continue
            _furnish(work)
            if fresh:
                shutil.rmtree(home / "jobs", ignore_errors=True)
                for made in work.glob("prefs-*"):
                    shutil.rmtree(made)
            yield _ask(row, home, work)


def everyday() -> list[figures.Measured]:
    """Return how many of the everyday calculations are right with the training tools installed, and without."""
    bench = Bench.open("sprout")
    weight = bench.engine.capabilities.tool_prior_weight
    found = []
    for name, plugins in (("with", WITH), ("without", WITHOUT)):
        asked = [*sprout_tasks.percents(plugins=plugins), *sprout_tasks.sums(plugins=plugins)]
        right = sum(job.do(bench, weight).right_task for job in asked)
        what = f"percentages and sums over a file, written by hand, {name} the training tools installed"
        found.append(figures.share(f"training-everyday-{name}", what, right, len(asked)))
    bench.close()
    return found


def _asked(asked: Sequence[Asked]) -> Iterator[figures.Measured]:
    what = f"{len(asked)} ways to ask for {STEPS} steps of fine-tuning on {DATA}"
    called, ran = sum(one.called for one in asked), sum(one.called and one.ran for one in asked)
    yield figures.share("training-called", f"{what}: the right call", called, len(asked))
    yield figures.share("training-ran", f"{what}: the training ran", ran, len(asked))
    right = sum(one.right for one in asked)
    yield figures.share("training-right", f"{what}: it ran, and the answer has its figures", right, len(asked), TARGET)


def _ask(row: dict[str, Any], home: Path, work: Path) -> Asked:
    words = ["run", row["request"], "--json", "--timeout", str(LIMIT_S)]
    allowed = [word for tool in TOOLS for word in ("--allow-tool", tool)]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "agentkit", *words, *allowed],
        capture_output=True, text=True, cwd=work, check=False, timeout=LIMIT_S + 60,
        env={**os.environ, "AGENTKIT_HOME": str(home), "AGENTKIT_EXTENSIONS__ONLY": ",".join(WITH)},
    )  # fmt: skip
    seconds = time.monotonic() - began
    if not done.stdout.strip():
        return Asked(id=row["id"], request=row["request"], called=False, ran=False, told=False, answer=done.stderr)
    data = json.loads(done.stdout)["data"]
    right = {"data": DATA, "steps": STEPS}
    called = any(step["tool"] in TOOLS and step["ok"] and step["arguments"] == right for step in data["steps"])
    result = next((state.result for state in jobs.list_jobs(home / "jobs") if _is_it(state, work)), None)
    told = result is not None and all(
        f"{result.metrics[name]:.4g}" in data["answer"] for name in ("eval_loss_before", "eval_loss")
    )
    return Asked(
        id=row["id"], request=row["request"], called=called, ran=result is not None, told=told,
        steps=[(step["tool"], step["arguments"], step["ok"]) for step in data["steps"]],
        answer=data["answer"], stop=data["stop_reason"], seconds=round(seconds, 1),
    )  # fmt: skip


def _is_it(state: jobs.JobState, work: Path) -> bool:
    """Whether a job is the one that is asked for, and done."""
    wanted = {"data": str((work / DATA).resolve()), "steps": STEPS}
    return state.status == "ok" and all(state.params.get(name) == value for name, value in wanted.items())


def _furnish(work: Path) -> None:
    """Put the files there as they were at first: the model may have written over them."""
    work.mkdir(exist_ok=True)
    pairs = [
        {"prompt": f"what is {a} plus {b}", "chosen": f"{a} plus {b} is {a + b}", "rejected": f"{a + b} no {a}"}
        for a in range(2, 10)
        for b in range(3, 9)
    ]
    (work / DATA).write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs), encoding="utf-8")
    (work / "notes.txt").write_text("The pairs are from the first round.\n", encoding="utf-8")
    (work / "numbers.txt").write_text("3\n4\n5\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
