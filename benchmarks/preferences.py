"""From preferences to a better GGUF on this machine: sprout, its own steps checked, DPO, llama.cpp; and what it is worth.

python -m benchmarks.preferences [--pairs 300] [--tasks 300] [--epochs 1] [--write] [--keep FOLDER]

1. sprout does tasks with obstacles; of the steps it offers, the most probable right one and the most probable wrong one are a pair
2. DPO as anybody would run it (`agentkit train dpo`), in a process of its own; beside it SFT on the chosen steps
3. the models are written as GGUF in F16, and quantised
4. the agent does other tasks of the kind with each, taking the model's own steps; who passes a task's check that the other
   does not, wins it; ties count half
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentkit.jobs import Job, JobResult, start
from agentkit_planners.direct import DirectPlanner
from agentkit_training.export.jobs import EXPORT_GGUF
from agentkit_training.finetune.jobs import DPO, SFT
from agentkit_training.gguf_reader import GgufModel
from agentkit_training.quantize import quantize
from benchmarks import render
from benchmarks.figures import Measured, share
from benchmarks.planning.agent_tasks import AgentTask, agent_task
from benchmarks.preference_tasks import Doing

COMMAND = "python -m benchmarks.preferences --write"
LEARNT, TESTED = 100, 0  # seeds of the tasks that pairs come from, and of those that are tested on
WIN, SECONDS, MEMORY = 0.60, 600.0, 4_000.0
LOG_PROBS, TOP_1 = 1e-2, 0.995
QUANTS = ("q8_0", "q4_0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a model made of the test tasks."""

    passed: tuple[bool, ...]
    words: tuple[int, ...]  # of each answer
    tokens: tuple[int, ...]  # that it wrote for a task
    submitted: int  # times that the irreversible tool ran


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """By how much two programs differ on one model, in nats, and how often the most probable token is the same."""

    mean: float
    most: float
    top_1: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of the whole."""

    pairs: int
    trained: JobResult
    answers: Mapping[str, Answered]
    apart: Apart
    seconds: float


def measure(folder: Path, pairs: int, count: int, epochs: float, bar: Progress) -> Found:
    """Do all of it in `folder`."""
    began = time.monotonic()
    base = _exported("sprout", folder / "base-f16.gguf")
    rows = _preferences(base, pairs, bar)
    (folder / "prefs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dpo = _job(
        DPO, {"data": str(folder / "prefs.jsonl"), "out": str(folder / "dpo"), "epochs": epochs}, folder / "job-dpo"
    )
    models = {"base": base, "dpo": _exported(str(folder / "dpo"), folder / "dpo-f16.gguf")}
    test = [agent_task(TESTED, number) for number in range(count)]
    answers = {name: _answered(path, test, bar, name) for name, path in models.items()}
    seconds = time.monotonic() - began  # what was promised; the rest is for comparison
    chosen = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
    (folder / "chosen.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
    _job(SFT, {"data": str(folder / "chosen.jsonl"), "out": str(folder / "sft"), "epochs": epochs}, folder / "job-sft")
    models = {"sft": _exported(str(folder / "sft"), folder / "sft-f16.gguf")}
    models |= {kind: quantize(folder / "dpo-f16.gguf", folder / f"dpo-{kind}.gguf", kind=kind) for kind in QUANTS}
    answers |= {name: _answered(path, test, bar, name) for name, path in models.items()}
    apart = _apart(folder / "dpo", folder / "dpo-f16.gguf", rows)
    return Found(pairs=len(rows), trained=dpo, answers=answers, apart=apart, seconds=seconds)


def _preferences(model: Path, pairs: int, bar: Progress) -> list[dict[str, str]]:
    doing = Doing(model)
    rows = list(bar.track(doing.preferences(LEARNT, pairs), total=pairs, description="pairs"))
    doing.close()
    return rows


def _answered(model: Path, test: Sequence[AgentTask], bar: Progress, name: str) -> Answered:
    doing, submitted = Doing(model), list[str]()
    results = [doing.do(task, DirectPlanner(), submitted) for task in bar.track(test, description=f"tasks: {name}")]
    doing.close()
    return Answered(
        passed=tuple(result.ok for result in results),
        words=tuple(len(result.answer.split()) for result in results),
        tokens=tuple(result.usage.decoded for result in results),
        submitted=len(submitted),
    )


def _job(job: Job, params: Mapping[str, Any], folder: Path) -> JobResult:
    done = start(job, params, run_dir=folder).wait()
    if done.status != "ok":
        raise SystemExit(f"{job.name} {done.status}: {done.error}")
    return done


def _exported(model: str, out: Path) -> Path:
    _job(EXPORT_GGUF, {"model": model, "out": str(out), "type": "f16"}, out.with_suffix(".job"))
    return out


def _apart(folder: Path, gguf: Path, rows: Sequence[Mapping[str, str]], tokens: int = 8_000) -> Apart:
    """Compare llama.cpp with transformers on what was trained on: the log-probability of each token that stands there."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found, same = list[float](), 0
    with GgufModel(gguf, window=1_024, threads=1) as other:
        for row in rows:
            if len(found) >= tokens:
                break
            ids = tokenizer(row["prompt"] + row["chosen"]).input_ids
            with torch.no_grad():
                ours = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1).numpy()
            logits = other.logits(ids).astype(np.float64)
            theirs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            place, token = np.arange(len(ids) - 1), np.asarray(ids[1:])
            found += np.abs(ours - theirs)[place, token].tolist()
            same += int((ours.argmax(1) == theirs.argmax(1))[:-1].sum())
    return Apart(mean=float(np.mean(found)), most=float(np.max(found)), top_1=same / len(found), tokens=len(found))


def wins(new: Answered, old: Answered) -> tuple[float, tuple[float, float], int]:
    """Return the share of tasks won, ties half, with its 95 % interval from 2,000 resamplings of the tasks, and the ties."""
    points = 0.5 + (np.asarray(new.passed, float) - np.asarray(old.passed, float)) / 2
    drawn = np.random.default_rng(0).choice(points, size=(2_000, len(points))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(points.mean()), (round(float(low), 4), round(float(high), 4)), int((points == 0.5).sum())


def measured(found: Found) -> list[Measured]:
    """Return the rows."""
    base, count = found.answers["base"], len(found.answers["base"].passed)
    figures, rows = found.trained.metrics, list[Measured]()
    for name in ("dpo", "sft", *QUANTS):
        value, interval, ties = wins(found.answers[name], base)
        what = {"dpo": "after DPO, F16", "sft": "after SFT on the chosen steps, F16"}.get(name, f"after DPO, {name}")
        rows.append(Measured(id=f"preferences-win-{name}", what=f"tasks won against sprout {what}, ties half ({ties} of {count} are)", value=round(value, 4), unit="share", n=count, interval=interval, target=WIN if name == "dpo" else None))  # fmt: skip
        if name == "dpo":
            rows.append(Measured(id="preferences-win-low", what="the lower end of that interval", value=interval[0], unit="share", n=count, target=0.5))  # fmt: skip
    for name, one in found.answers.items():
        rows += [
            share(f"preferences-done-{name}", f"tasks with obstacles done by the model's own steps: {name}", sum(one.passed), count),
            Measured(id=f"preferences-words-{name}", what=f"words of an answer: {name}", value=round(float(np.mean(one.words)), 2), unit="words", n=count),
            Measured(id=f"preferences-tokens-{name}", what=f"tokens written for a task: {name}", value=round(float(np.mean(one.tokens)), 1), unit="tokens", n=count),
        ]  # fmt: skip
    rows += [
        Measured(id="preferences-agree", what="difference of the log-probabilities of tokens, F16 in llama.cpp and transformers, mean", value=round(found.apart.mean, 5), unit="nats", n=found.apart.tokens, target=LOG_PROBS),
        Measured(id="preferences-agree-most", what="the largest such difference", value=round(found.apart.most, 5), unit="nats", n=found.apart.tokens, target=LOG_PROBS),
        Measured(id="preferences-top-1", what="tokens after which both have the same most probable one", value=round(found.apart.top_1, 5), unit="share", n=found.apart.tokens, target=TOP_1),
        Measured(id="preferences-irreversible", what="irreversible calls that ran, with any model", value=sum(one.submitted for one in found.answers.values()), unit="calls", n=count * len(found.answers), target=0),
        Measured(id="preferences-seconds", what=f"{found.pairs} pairs, DPO, GGUF, {2 * count} tasks", value=round(found.seconds, 1), unit="s", n=1, target=SECONDS),
        Measured(id="preferences-memory", what="most memory of the training process", value=round(found.trained.memory_bytes / 1e6), unit="MB", n=1, target=MEMORY),
        Measured(id="preferences-kl", what="KL to the reference on held-out pairs, a token", value=round(figures["eval_kl"], 4), unit="nats", n=figures["rows_held_out"]),
        share("preferences-accuracy", "held-out pairs of which the chosen step is preferred", round(figures["eval_accuracy"] * figures["rows_held_out"]), figures["rows_held_out"]),
    ]  # fmt: skip
    return rows


def table(rows: Sequence[Measured]) -> Table:
    """Return the rows as people read them."""
    shown = Table("figure", "value", "95 %", "target", "n")
    for row in rows:
        interval = "" if row.interval is None else f"{row.interval[0]:g} to {row.interval[1]:g}"
        target = "" if row.target is None else f"{row.target:g} {'held' if row.holds else 'MISSED'}"
        shown.add_row(row.what, f"{row.value:g} {row.unit}", interval, target, str(row.n))
    return shown


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.preferences", description="From preferences to a better GGUF."
    )
    parser.add_argument("--pairs", type=int, default=300, help="(default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=300, help="that are tested on (default: %(default)s)")
    parser.add_argument("--epochs", type=float, default=1.0, help="of DPO (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="a folder for the models, the pairs and the runs")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/training.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with tempfile.TemporaryDirectory() as scratch, Progress(*columns, console=Console(stderr=True)) as bar:
        folder = wanted.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows = measured(measure(folder, wanted.pairs, wanted.tasks, wanted.epochs, bar))
    Console(width=None if sys.stdout.isatty() else 150).print(table(rows))
    render.publish("training", rows, command=COMMAND, began=began, write=wanted.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
