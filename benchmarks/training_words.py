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
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentkit import jobs
from benchmarks import figures, sprout_tasks
from benchmarks.asking import Asked, ask, everyday, shares, show

COMMAND = "python -m benchmarks.training_words --write"
DATA, STEPS = "prefs.jsonl", 50
TOOLS = ("fine_tune", "dpo")  # either is right: the file has pairs
TARGET = 0.8
PLUGINS = ("basics", "training")


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
        show(one)
    print(f"{sum(one.right for one in asked)} of {len(asked)}")
    if wanted.errors:
        figures.write_whole(wanted.errors, "\n".join(json.dumps(asdict(one)) for one in asked) + "\n")
    if wanted.write and not wanted.only:
        what = f"{len(asked)} ways to ask for {STEPS} steps of fine-tuning on {DATA}"
        told = shares(asked, id="training", what=what, ran="the training ran", target=TARGET)
        measured = [*told, *everyday("training", PLUGINS)]
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


def _ask(row: dict[str, Any], home: Path, work: Path) -> Asked:
    def judge(data: Mapping[str, Any]) -> tuple[bool, bool, bool]:
        right = {"data": DATA, "steps": STEPS}
        called = any(step["tool"] in TOOLS and step["ok"] and step["arguments"] == right for step in data["steps"])
        result = next((state.result for state in jobs.list_jobs(home / "jobs") if _is_it(state, work)), None)
        told = result is not None and all(
            f"{result.metrics[name]:.4g}" in data["answer"] for name in ("eval_loss_before", "eval_loss")
        )
        return called, result is not None, told

    return ask(row, home, work, tools=TOOLS, plugins=PLUGINS, judge=judge)


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
