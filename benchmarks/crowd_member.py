"""One of many processes on one database: it does its runs, and writes down what came of each."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import sqlite_utils  # noqa: F401  here, so that it is there before the processes are forked off

from agentkit import tool
from agentkit.agent import Agent
from agentkit.config import Settings
from agentkit.graph import build  # noqa: F401  likewise
from agentkit.store import open_store
from agentkit.testing import ScriptedEngine
from agentkit.types import Step, StopReason, ToolCall


@tool(effect="write", egress=False, idempotent=True)
def work(n: int) -> str:
    """Work.

    Args:
        n: which piece of work.
    """
    return f"worked {n}"


def member(url: str, number: int, runs: int, report: str) -> None:
    """Do one process's runs; write a line for each into `report`."""
    base = Settings()
    settings = replace(base, policy=replace(base.policy, mode="yolo"))
    os.environ["AGENTKIT_HOME"] = str(Path(report).parent / f"home-{number}")
    with Path(report).open("w") as file, closing(open_store(url=url)) as store:
        for n in range(runs):
            said = f"process {number}, run {n}"
            calls = [Step(kind="calls", calls=(ToolCall(id="x", tool="work", arguments={"n": n + k}),)) for k in (0, 1)]
            engine = ScriptedEngine([*calls, Step(kind="final", text=said)])
            try:
                result = Agent(engine, [work], settings=settings, store=store, system="").run(said)
                good = (result.answer, result.stop_reason) == (said, StopReason.DONE)
                row = {
                    "run_id": result.run_id,
                    "answer": said,
                    "error": "" if good else f"{result.stop_reason}: {result.detail}",
                }
            except Exception as error:  # noqa: BLE001  counted, and said
                row = {"run_id": "", "answer": said, "error": f"{type(error).__name__}: {error}"}
            file.write(json.dumps(row) + "\n")
            file.flush()
