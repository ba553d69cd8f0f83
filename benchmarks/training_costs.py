"""What a plan says a training will cost, and what it costs: seconds and memory of each method, sprout on this machine.

python -m benchmarks.training_costs [--steps 15] [--write]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agentkit import jobs
from agentkit_training.finetune.jobs import DPO, GRPO, REWARD, SFT
from benchmarks import render
from benchmarks.figures import Measured

COMMAND = "python -m benchmarks.training_costs --write"
FACTOR = 2.0
KINDS: dict[str, tuple[jobs.Job, str, dict[str, Any]]] = {
    "sft": (SFT, "chats", {}),
    "dpo": (DPO, "prefs", {}),
    "dpo-lora": (DPO, "prefs", {"lora_rank": 8}),
    "dpo-accumulate": (DPO, "prefs", {"accumulate": 2, "batch": 4}),
    "reward": (REWARD, "prefs", {}),
    "grpo": (GRPO, "prompts", {"reward": "number", "completion_length": 24}),
}


def rows(count: int = 96, words: int = 120) -> dict[str, list[dict[str, Any]]]:
    """Return rows of each sort, their prompts of very different lengths."""
    found: dict[str, list[dict[str, Any]]] = {"prefs": [], "chats": [], "prompts": []}
    for n in range(count):
        asked = [
            {"role": "user", "content": " ".join(["number", str(n)] * (1 + n * words // (2 * count))) + " how many?"}
        ]
        good, bad = ([{"role": "assistant", "content": text}] for text in (f"{n} of them", f"nobody said {n}"))
        found["prefs"].append({"prompt": asked, "chosen": good, "rejected": bad})
        found["chats"].append({"messages": [*asked, *good]})
        found["prompts"].append({"prompt": asked, "answer": n})
    return found


def measure(steps: int) -> Iterator[tuple[str, float, float, float, float]]:
    """Yield each method's name, seconds and bytes planned and used."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, several in rows().items():
            Path(scratch, f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in several))
        for name, (job, data, more) in KINDS.items():
            folder = Path(scratch, f"run-{name}")
            told = {"data": f"{scratch}/{data}.jsonl", "out": f"{scratch}/{name}", "steps": steps, **more}
            plan = job.plan(told)
            began = time.perf_counter()
            done = jobs.start(job, told, run_dir=folder).wait()
            took = time.perf_counter() - began
            if done.status != "ok":
                raise SystemExit(f"{name} {done.status}: {done.error}")
            yield name, plan.seconds, took, plan.memory_bytes, done.memory_bytes


def measured(found: Sequence[tuple[str, float, float, float, float]]) -> list[Measured]:
    """Return the rows: by how much the plan is off, whichever way."""
    made = []
    for name, seconds, took, planned, peak in found:
        for what, said, was, unit in (("seconds", seconds, took, "s"), ("memory", planned / 1e6, peak / 1e6, "MB")):
            made.append(
                Measured(
                    id=f"plan-{what}-{name}",
                    what=f"{what} of {name}: planned {said:,.0f} {unit}, used {was:,.0f} {unit}; off by a factor of",
                    value=round(max(said / was, was / said), 3),
                    unit="ratio",
                    n=1,
                    target=FACTOR,
                )
            )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_costs", description="What plans are worth.")
    parser.add_argument("--steps", type=int, default=15, help="(default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/training.json")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    found = []
    for one in measure(wanted.steps):
        print(
            f"{one[0]}: {one[1]:.1f} s planned, {one[2]:.1f} s; {one[3] / 1e6:,.0f} MB planned, {one[4] / 1e6:,.0f} MB",
            file=sys.stderr,
        )
        found.append(one)
    render.publish("training", measured(found), command=COMMAND, began=began, write=wanted.write)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
