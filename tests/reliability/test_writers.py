"""Eight processes that write at once: none is refused, nothing is lost, nothing is damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from agentkit.store import open_store
from benchmarks import databases

PROCESSES, RUNS = 8, 12
SCRIPT = """
import sys
from agentkit.protocols import EffectRow
from agentkit.store import open_store
url, me, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = open_store(url=url)
new = 0
for n in range(runs):
    run = f"{me}-{n}"
    with store.lease(f"thread {run}", run) as epoch:
        store.start_run(run, f"thread {run}", {"task": "x" * 40_000})
        row = EffectRow(effect_id=f"shared {n}", run_id=run, tool="t", args_digest="", state="intent", attempt=1)
        new += store.intend(row) is row
        store.append_event(run, 1, {"type": "x"})
        store.end_run(run, {"stop_reason": "done"})
store.close()
print(new)
"""


def test_eight_processes_write_at_once(kind: str, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with databases.fresh(kind, tmp_path) as url:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", SCRIPT, url, str(n), str(RUNS)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
            )
            for n in range(PROCESSES)
        ]  # fmt: skip
        said = [process.communicate(timeout=100) for process in processes]
        assert [error for _, error in said] == [""] * PROCESSES
        assert sum(int(out) for out, _ in said) == RUNS  # each shared effect was new to one process only
        with closing(open_store(url=url)) as store:
            runs = store.runs(limit=1_000)
            assert {run["run_id"] for run in runs} == {f"{p}-{n}" for p in range(PROCESSES) for n in range(RUNS)}
            assert {(run["state"], len(run["task"])) for run in runs} == {("ended", 40_000)}
            if kind == "sqlite":
                assert store._db.row("PRAGMA integrity_check") == {"integrity_check": "ok"}
