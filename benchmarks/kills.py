"""Killed at the worst moments and at random ones: is every effect applied at most once, and nothing lost?

python -m benchmarks.kills [--random 500] [--only sqlite|postgres] [--points NAME...] [--kinds NAME...] [--write]

Each case is a run in a process of its own, killed with SIGKILL at a fail point (or after a random time), then gone on
with in another process, then once more, which must change nothing. Effects go to a third process that writes them down.
Judged: how often each effect was applied, what the ledger says of it, the run's end and its results against a run that
was not killed, the database's integrity, processes left over, budgets. The classes: `read`; `keyed` (the tool hands on
an idempotency key); `reconcilable` (the tool can find out); `file` (write_file); `program` (a child process); `plain`,
which can do none of that and whose effect is reported as unknown where nobody can know. Where it was stopped, the
command goes on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import platformdirs
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import databases, figures, render
from benchmarks.figures import Measured
from benchmarks.kill_sink import Sink
from benchmarks.kill_victim import KINDS, Case, content, drive

# Fail points, and at which times that they are reached. Checkpoints are written about twelve times in a run.
POINTS: dict[str, tuple[int, ...]] = {
    "before_first_checkpoint": (1,),
    "before_intent": (1, 2),
    "after_intent": (1, 2),
    "mid_effect": (1, 2),
    "after_effect": (1, 2),
    "before_done": (1, 2),
    "after_done": (1, 2),
    "in_put_writes": (1, 2, 4, 6),
    "in_put": (1, 2, 3, 5, 7),
    "in_finish": (1,),
}
IN_DOUBT = frozenset({"after_intent", "mid_effect", "after_effect", "before_done", "random"})
FANS = (1, 3)
LIMIT_S = 60.0
UNSAID = 255  # of two threads that ask for a child's status one gets it, and the other is told this
MOST_KILLS = 3  # of one run, at random times


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is done to which run."""

    point: str  # with `:N`, or "random:SEED"
    kind: str
    fan: int
    store: str

    @property
    def key(self) -> str:
        """Names it in the list of what has been done."""
        return f"{self.store}/{self.kind}/{self.fan}/{self.point}"

    @property
    def name(self) -> str:
        """The fail point without its number."""
        return self.point.partition(":")[0]


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What came of it."""

    key: str
    kills: int = 0
    unknown: int = 0
    wrong: list[str] = field(default_factory=list)


def trials(stores: Iterable[str], points: Iterable[str], kinds: Iterable[str], random: int) -> list[Trial]:
    """Return the whole matrix, then so many random ones."""
    fixed = [
        Trial(point=f"{point}:{count}", kind=kind, fan=fan, store=store)
        for store in stores
        for point in points
        for count in POINTS[point]
        for kind in kinds
        for fan in FANS
    ]
    rng, stores, kinds = Random(0), list(stores), list(kinds)
    drawn = [
        Trial(point=f"random:{n}", kind=kinds[n % len(kinds)], fan=rng.choice(FANS), store=stores[n % len(stores)])
        for n in range(random)
    ]
    return fixed + drawn


class Bench:
    """The sink, the databases and the folder of a measurement."""

    def __init__(self, folder: Path, stores: Iterable[str]) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self.sink = Sink(folder / "effects.jsonl")
        self._stack.callback(self.sink.close)
        self._postgres = self._stack.enter_context(databases.postgres()) if "postgres" in stores else ""
        self._count = 0
        self._spawn = multiprocessing.get_context("forkserver")
        self._spawn.set_forkserver_preload(["benchmarks.kill_victim"])
        self._references: dict[tuple[str, int, str], dict[str, Any]] = {}

    def close(self) -> None:
        """Stop and drop everything."""
        self._stack.close()

    def case(self, trial: Trial) -> Case:
        """Return a new run for a trial."""
        self._count += 1
        folder = self.folder / f"case-{os.getpid()}-{self._count}-{trial.store}"
        folder.mkdir()
        url = str(folder / "runs.db") if trial.store == "sqlite" else self._postgres
        return Case(id=folder.name, kind=trial.kind, fan=trial.fan, url=url, port=self.sink.port, folder=str(folder))

    def go(self, case: Case, run_id: str | None, failpoint: str = "", kill_after: float | None = None) -> Any:
        """Run it in a process; return its report, or None when it was killed."""
        report = Path(case.folder, f"report-{time.monotonic_ns()}.json")
        process = self._spawn.Process(target=drive, args=(case, run_id, failpoint, str(report)))
        process.start()
        process.join(LIMIT_S if kill_after is None else kill_after)
        if process.exitcode is None:
            process.kill()
            process.join()
            if kill_after is None:
                raise TimeoutError(f"{case.id}: it hung for {LIMIT_S:g} s")
        status, fault = process.exitcode, Path(f"{report}.fault")
        if status not in (0, -9, UNSAID) or fault.exists():
            raise RuntimeError(f"{case.id}: ended with status {status}: {fault.read_text() if fault.exists() else ''}")
        if status == 0 or (status == UNSAID and report.exists()):
            return json.loads(report.read_text())
        return None  # killed: whatever ends by itself leaves a report or a fault

    def reference(self, trial: Trial) -> dict[str, Any]:
        """Return what the same run comes to when nobody kills it, and how long it takes."""
        key = (trial.kind, trial.fan, trial.store)
        if key not in self._references:
            self.go(self.case(trial), None)  # tables are made, files are read
            began = time.monotonic()
            told = self.go(self.case(trial), None)
            self._references[key] = {**told, "seconds": time.monotonic() - began}
        return self._references[key]


def attempt(bench: Bench, trial: Trial) -> Verdict:
    """Do one trial, and judge it."""
    verdict = Verdict(key=trial.key)
    try:
        expected = bench.reference(trial)
        case = bench.case(trial)
        run_id = _killed(bench, trial, case, expected["seconds"], verdict)
        last = bench.go(case, run_id)
        before = bench.sink.applied(case.id)
        again = bench.go(case, run_id)
        verdict.wrong += judge(bench, trial, case, expected, last)
        if run_id is not None and (again != last or bench.sink.applied(case.id) != before):
            verdict.wrong.append(f"the second resume was no no-op: {_difference(last, again)}")
        verdict.unknown = sum(state == "unknown" for state in last["effects"].values())
    except Exception as error:  # noqa: BLE001  counted, and said
        verdict.wrong.append(f"{type(error).__name__}: {error}")
    return verdict


def _killed(bench: Bench, trial: Trial, case: Case, seconds: float, verdict: Verdict) -> str:
    """Begin the run and have it killed, once at a fail point or a few times at random ones; return its id."""
    if trial.name != "random":
        if bench.go(case, None, trial.point) is None:
            verdict.kills += 1
        elif not _may_miss(trial):
            verdict.wrong.append("the fail point was not reached")
        return str(_run_id(case))
    rng = Random(trial.point)
    for _ in range(rng.randint(1, MOST_KILLS)):
        if bench.go(case, _run_id(case), kill_after=rng.uniform(0.0, 1.1 * seconds)) is None:
            verdict.kills += 1
    run_id = _run_id(case)
    return run_id if run_id is not None else str(bench.go(case, None)["run_id"])  # killed before it was accepted


def _may_miss(trial: Trial) -> bool:
    """Whether there may be no such place: a tool of that class has none, or a run has fewer checkpoints."""
    return trial.name in {"in_put", "in_put_writes"}


def _run_id(case: Case) -> str | None:
    """Return the id of the case's run, where it has been accepted."""
    if "://" not in case.url and not Path(case.url).exists():
        return None
    from agentkit.store import open_store  # noqa: PLC0415

    with closing(open_store(url=case.url)) as store:
        rows = store.runs(thread_id=case.id, limit=1)
    return str(rows[0]["run_id"]) if rows else None


def judge(bench: Bench, trial: Trial, case: Case, expected: dict[str, Any], last: dict[str, Any]) -> list[str]:
    """Return what is not as it must be."""
    wrong = []
    applied, states = bench.sink.applied(case.id), last["effects"]
    unknown = [key for key, state in states.items() if state == "unknown"]
    if len(states) != case.calls or any(state == "intent" for state in states.values()):
        wrong.append(f"the ledger has {sorted(states.values())}")
    if any(count > 1 for count in applied.values()):
        wrong.append(f"applied more than once: {sorted(applied.values())}")
    if trial.kind in {"keyed", "reconcilable", "plain"}:
        lost = [key for key, state in states.items() if state == "done" and applied[key] != 1]
        wrong += [f"{len(lost)} are done in the ledger and were not applied"] if lost else []
        wrong += ["something was applied that is not in the ledger"] if set(applied) - set(states) else []
    if unknown and (trial.kind != "plain" or trial.name not in IN_DOUBT):
        wrong.append(f"{len(unknown)} unknown, where it can be known")
    if unknown and (last["stop_reason"] != "unverified" or "nobody knows" not in last["detail"]):
        wrong.append(f"unknown effects, and the run says {last['stop_reason']}: {last['detail']}")
    if not unknown:
        wrong += _compared(expected, last)
    for name in ("model_calls", "tool_calls"):
        if (last[name] or 0) < expected[name]:
            wrong.append(f"{name}: {last[name]} counted, {expected[name]} were spent")
    return wrong + _files(trial, case) + _left_over(case) + _damage(case)


def _compared(expected: dict[str, Any], last: dict[str, Any]) -> list[str]:
    """Compare the end of the run with the end of one that nobody killed."""
    found = "worked, as was found out afterwards"
    steps = [one if said == found else said for said, one in zip(last["steps"], expected["steps"], strict=False)]
    one = (last["stop_reason"], last["answer"], len(last["steps"]), steps)
    other = (expected["stop_reason"], expected["answer"], len(expected["steps"]), expected["steps"])
    return [] if one == other else [f"it ended as {one}, and as {other} when nobody kills it"]


def _files(trial: Trial, case: Case) -> list[str]:
    if trial.kind != "file":
        return []
    folder = Path(case.folder)
    wrong = [f"out-{n}.txt is wrong" for n in range(case.calls) if _read(folder / f"out-{n}.txt") != content(n)]
    return wrong + [f"{path.name} was left" for path in folder.glob(".*.tmp")]


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _left_over(case: Case) -> list[str]:
    pids = Path(case.folder, "pids")
    alive = [pid for pid in pids.read_text().split() if _alive(pid)] if pids.exists() else []
    return [f"processes left over: {alive}"] if alive else []


def _alive(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _damage(case: Case) -> list[str]:
    if "://" in case.url:
        return []
    with closing(sqlite3.connect(case.url)) as connection:
        said = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return [] if said == "ok" else [f"integrity_check: {said}"]


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {one[key]} then {other[key]}" for key in one if one[key] != other.get(key))


def measured(verdicts: dict[str, Verdict], todo: Sequence[Trial]) -> list[Measured]:
    """Return the figures: trials with anything wrong, of the matrix and of the random ones."""
    rows = []
    for store in dict.fromkeys(trial.store for trial in todo):
        for name, about in (("matrix", "killed at a fail point"), ("random", "killed at random times")):
            mine = [t for t in todo if t.store == store and (t.name == "random") == (name == "random")]
            bad = sum(bool(verdicts[trial.key].wrong) for trial in mine)
            if mine:
                rows.append(
                    Measured(id=f"kills-{name}-{store}", value=bad, unit="runs", n=len(mine), target=0.0,
                             what=f"runs {about} and gone on with ({store}): anything done twice, lost or left over")
                )  # fmt: skip
    plain = [trial for trial in todo if trial.kind == "plain" and trial.name in IN_DOUBT]
    if plain:
        rows.append(
            Measured(id="kills-unknown", value=sum(verdicts[t.key].unknown for t in plain), unit="effects", n=len(plain),
                     what="effects of a tool with neither key nor reconcile that were reported as unknown")
        )  # fmt: skip
    return rows


def table(verdicts: dict[str, Verdict], todo: Sequence[Trial]) -> Table:
    """Return fail points by classes: trials, and how many were wrong."""
    grid = Table(title="runs killed, by fail point and class of tool: right of all (unknown)")
    grid.add_column("point")
    kinds = list(dict.fromkeys(trial.kind for trial in todo))
    for kind in kinds:
        grid.add_column(kind, justify="right")
    for name in dict.fromkeys(trial.name for trial in todo):
        cells = []
        for kind in kinds:
            mine = [verdicts[t.key] for t in todo if t.kind == kind and t.name == name]
            unknown = sum(verdict.unknown for verdict in mine)
            cells.append(f"{sum(not v.wrong for v in mine)}/{len(mine)}" + (f" ({unknown})" if unknown else ""))
        grid.add_row(name, *cells)
    return grid


def run(todo: Sequence[Trial], folder: Path, *, jobs: int, done: dict[str, Verdict], log: Path | None) -> None:
    """Do all trials that are not done yet, each written down as it ends."""
    left = [trial for trial in todo if trial.key not in done]
    Random(1).shuffle(left)  # so that what has been done when it is stopped is a sample of all
    if not left:
        return
    bench = Bench(folder, {trial.store for trial in left})
    with closing(bench), ThreadPoolExecutor(jobs) as pool:
        for first in {(t.kind, t.fan, t.store): t for t in left}.values():
            bench.reference(first)
        results: Iterator[Verdict] = pool.map(lambda trial: attempt(bench, trial), left)
        for verdict in track(results, "runs killed", len(left), console=Console(stderr=True)):
            done[verdict.key] = verdict
            if log is not None:
                with log.open("a") as file:
                    file.write(json.dumps(asdict(verdict)) + "\n")


@lru_cache(maxsize=1)
def _stores() -> tuple[str, ...]:
    return ("sqlite", "postgres") if databases.server() else ("sqlite",)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description="Runs that are killed.")
    parser.add_argument("--random", type=int, default=500, help="kills at random times (default: %(default)s)")
    parser.add_argument(
        "--only", choices=("sqlite", "postgres"), help="this database; default: both, where there is one"
    )
    parser.add_argument("--points", nargs="*", choices=list(POINTS), default=list(POINTS), help="these fail points")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS), help="these classes of tools")
    parser.add_argument("--jobs", type=int, default=2, help="at once (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="do not go on where the last one was stopped")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/reliability.json")
    wanted = parser.parse_args(argv)
    stores = (wanted.only,) if wanted.only else _stores()
    if "postgres" not in stores:
        print(databases.MISSING if not databases.server() else "SQLite only", file=sys.stderr)
    todo = trials(stores, wanted.points, wanted.kinds, wanted.random)
    began = time.monotonic()
    log = Path(platformdirs.user_cache_dir("agentkit")) / "benchmarks" / "kills.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    if wanted.fresh:
        log.unlink(missing_ok=True)
    done = {found["key"]: Verdict(**found) for found in _lines(log)}
    with tempfile.TemporaryDirectory(prefix="agentkit-kills-") as folder:
        run(todo, Path(folder), jobs=wanted.jobs, done=done, log=log)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table(done, todo))
    for line, count in Counter(f"{t.key}: {why}" for t in todo for why in done[t.key].wrong).items():
        print(f"{line}{f' ({count} times)' if count > 1 else ''}", file=sys.stderr)
    command = f"python -m benchmarks.kills --random {wanted.random} --fresh --write"
    rows = figures.rows(measured(done, todo), command=command, seconds=time.monotonic() - began)
    console.print(render.table([("reliability", rows)]))
    if wanted.write:
        figures.write("reliability", rows)
    log.unlink(missing_ok=True)  # done: the next one begins anew
    return 0


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


if __name__ == "__main__":
    raise SystemExit(main())
