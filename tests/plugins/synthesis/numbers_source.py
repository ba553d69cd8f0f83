"""Row sources for the tests of making: quick, with some rows rejected and some preference pairs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from random import Random
from typing import Any

from agentkit.jobs import Job, JobContext, JobPlan
from agentkit_synthesis.dataset import Rejected, make_rows, split_of


def make(options: Mapping[str, Any], seed: int, index: int) -> Mapping[str, Any] | Rejected:
    """Return a number's double; one in three is rejected."""
    rng = Random(f"numbers/{seed}/{index}")
    if "seconds" in options:
        time.sleep(options["seconds"])
    if index == options.get("raises_at"):
        raise RuntimeError("no such number")
    if index == options.get("dies_at"):
        os.kill(os.getpid(), signal.SIGKILL)
    number = rng.randint(0, 10 ** options.get("digits", 6))
    if options.get("none") or number % 3 == 0:
        return Rejected("is a multiple of three" if number % 3 == 0 else "is wanted by nobody")
    said = [{"role": "user", "content": f"twice {number} é"}, {"role": "assistant", "content": str(2 * number)}]
    row = {
        "id": f"numbers-{seed}-{index}",
        "family": "odd" if number % 2 else "even",
        "split": split_of(str(number), options.get("test_share", 0.1)),
        "messages": said,
        "number": number,
        "steps": [{"inputs": [number, "2"]}],
    }
    if options.get("pairs"):
        row["pairs"] = [{"prompt": said[:1], "chosen": said[1:], "rejected": [{"role": "assistant", "content": "0"}]}]
    return row


def without_messages(options: Mapping[str, Any], seed: int, index: int) -> Mapping[str, Any]:
    """Return a row that lacks something."""
    return {"id": "x", "family": "x", "split": "train"}


def of_another_split(options: Mapping[str, Any], seed: int, index: int) -> Mapping[str, Any]:
    """Return a row of a split that there is not."""
    return {"id": "x", "family": "x", "split": "dev", "messages": []}


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return the plan."""
    return JobPlan(config={name: value for name, value in params.items() if name != "workers"})


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Make the rows."""
    from pathlib import Path

    given = {"source": "numbers_source:make", "kind": "numbers", "options": {}, "seed": 0, "workers": 1, **params}
    options = given.pop("options")
    source = given.pop("source")
    return make_rows(source, options, out=Path(given.pop("out")), context=context, **given)


JOB = Job(name="numbers", home="numbers_source:JOB", plan=plan, run=run)
