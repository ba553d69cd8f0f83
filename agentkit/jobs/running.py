"""Starting, following, cancelling and resuming jobs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

if sys.platform != "win32":
    import resource

from agentkit.errors import BudgetExceeded, Cancelled, InvalidParams, JobError
from agentkit.jobs import folder
from agentkit.jobs.context import JobContext
from agentkit.jobs.values import Budget, Job, JobResult, JobState, Resume, Status

_SHOWN_VERSIONS = ("agentkit-local", "torch", "numpy", "tokenizers", "gguf", "transformers", "trl", "diffusers")


@dataclass(frozen=True, slots=True)
class JobHandle:
    """A job that was started in a process of its own, or had been done before."""

    run_dir: Path
    process: subprocess.Popen[bytes] | None = None

    def state(self) -> JobState:
        """Return how far it is."""
        return read(self.run_dir)

    def cancel(self) -> bool:
        """Ask it to stop at the next step; return whether it was running."""
        return cancel(self.run_dir)

    def wait(self, timeout_s: float | None = None) -> JobResult:
        """Return its result, once it is there.

        Raises:
            JobError: the process ended without one, or the time is up.
        """
        until = float("inf") if timeout_s is None else time.monotonic() + timeout_s
        while folder.is_running(self.run_dir):
            if time.monotonic() >= until:
                raise JobError(f"{self.run_dir}: still running after {timeout_s:g} s; wait longer, or cancel it")
            time.sleep(0.02)
        if self.process is not None:
            self.process.wait()  # it has let go of the folder: it is at its end
        result = read(self.run_dir).result
        if result is None:
            status = self.process.returncode if self.process is not None else "?"
            raise JobError(
                f"{self.run_dir}: the process ended with status {status} and no result; "
                f"see {folder.LOG} there, then start it again to resume"
            )
        return result


def start(
    job: Job, params: Mapping[str, Any], *, run_dir: Path, resume: Resume = "if_possible", budget: Budget | None = None
) -> JobHandle:
    """Plan a job and start it in a process of its own, which outlives this one.

    Args:
        job: what to do; its `home` must be set.
        params: what to do it with; JSON values. `seed` is read from it.
        run_dir: its folder; made if absent.
        resume: for a folder that holds a run. `if_possible` goes on where the configuration is the same (a
            finished one is not run again), and else sets the old files aside; `always` refuses another
            configuration, naming the differences; `never` refuses the folder.
        budget: how much this start may use.

    Raises:
        InvalidParams: the params are off, or `resume="always"` meets another configuration.
        JobError: the folder is in use, or there is not enough disk.
    """
    if not job.home:
        raise JobError(f"job '{job.name}' has no home to be imported from; set Job.home, or use run()")
    with folder.locked(run_dir) as lock:
        if not _prepare(job, params, run_dir, resume, budget or Budget()):
            return JobHandle(run_dir)
        with (run_dir / folder.LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "agentkit.jobs", str(run_dir)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=() if sys.platform == "win32" else (lock,),  # it holds the folder from its first moment
            )
    return JobHandle(run_dir, process)


def run(
    job: Job,
    params: Mapping[str, Any],
    *,
    run_dir: Path,
    resume: Resume = "if_possible",
    budget: Budget | None = None,
    cancelled: threading.Event | None = None,
) -> JobResult:
    """Plan a job and run it here; like `start` otherwise. Set `cancelled` to stop it."""
    with folder.locked(run_dir):
        if _prepare(job, params, run_dir, resume, budget or Budget()):
            return execute(run_dir, job, cancelled or threading.Event())
    return JobHandle(run_dir).wait()


def resume(run_dir: Path, *, budget: Budget | None = None) -> JobHandle:
    """Go on with a job from its folder alone, in a process of its own.

    Args:
        run_dir: where it was started.
        budget: how much this start may use; none by default, also where the one before had one.

    Raises:
        JobError: there is no job in the folder, it is running, or it was not started from a place it can be imported from.
        InvalidParams: it would not do the same any more: its plan is another one now.
    """
    config = _config(run_dir)
    if not config["home"]:
        raise JobError(f"{run_dir}: '{config['job']}' was run by a program of its own; run that again to go on")
    return start(_at_home(config["home"]), config["params"], run_dir=run_dir, resume="always", budget=budget)


def read(run_dir: Path) -> JobState:
    """Return what the folder says about its job.

    Raises:
        JobError: no job was ever started in it.
    """
    config = _config(run_dir)
    running = folder.is_running(run_dir)
    found = folder.read_json(run_dir / folder.RESULT)
    result = JobResult.from_json(found) if found is not None else None
    events, _ = folder.read_lines(run_dir / folder.EVENTS)
    last: Mapping[str, Any] = next((event for event in reversed(events) if event["type"] == "step"), {})
    return JobState(
        run_dir=run_dir,
        job=config["job"],
        status=result.status if result is not None else "running" if running else "interrupted",
        started_at=config["started_at"],
        step=last.get("step", 0),
        total=last.get("total"),
        eta_s=last.get("eta_s"),
        metrics=last.get("metrics", {}),
        result=result,
        params=config["params"],
        plan=config["plan"],
    )


def list_jobs(root: Path) -> list[JobState]:
    """Return the jobs in the folders directly under `root`, newest first."""
    found = [read(config.parent) for config in root.glob(f"*/{folder.CONFIG}")]
    return sorted(found, key=lambda state: state.started_at, reverse=True)


def cancel(run_dir: Path) -> bool:
    """Ask the job to write a checkpoint and stop at its next step; return whether one was running."""
    if not folder.is_running(run_dir):
        return False
    (run_dir / folder.CANCEL).touch()
    return True


def follow(run_dir: Path, *, poll_s: float = 0.2) -> Iterator[dict[str, Any]]:
    """Yield the job's events, those that are there and those that come, until it has ended."""
    offset, going = 0, True
    while going:
        going = folder.is_running(run_dir)  # looked at before reading: no event is missed
        events, offset = folder.read_lines(run_dir / folder.EVENTS, offset=offset)
        yield from events
        if going:
            time.sleep(poll_s)


def execute(run_dir: Path, job: Job | None, cancelled: threading.Event) -> JobResult:
    """Run the job that the folder's config names; its failure is a result, not an exception.

    The caller, or whoever started its process, holds the folder.
    """
    config = folder.read_json(run_dir / folder.CONFIG) or {}
    context = JobContext(
        run_dir,
        run_id=config["run_id"],
        seed=config["seed"],
        resumed=config["resumed"],
        budget=Budget(**config["budget"]),
        cancelled=cancelled,
    )
    context.event("started", {"job": config["job"], "resumed": context.resumed, "config_hash": config["config_hash"]})
    status, metrics, error = _attempt(job, config, context)
    result = JobResult(
        status=status,
        metrics=metrics,
        artifacts=folder.artifacts(run_dir, context.kinds),
        config_hash=config["config_hash"],
        seed=context.seed,
        versions=_versions(),
        wall_s=round(context.wall_s, 3),
        memory_bytes=_most_memory(),
        warnings=tuple(context.warnings),
        error=error,
    )
    folder.write_json(run_dir / folder.RESULT, result.to_json())
    context.event("ended", {"status": status, "metrics": metrics, "message": error})
    return result


def _attempt(job: Job | None, config: Mapping[str, Any], context: JobContext) -> tuple[Status, dict[str, Any], str]:
    try:
        job = job or _at_home(config["home"])
        metrics = folder.plain(job.run(config["params"], context) or {})
        return cast("Status", context.ended()), metrics, ""
    except (Cancelled, KeyboardInterrupt):
        return "cancelled", {}, ""
    except BudgetExceeded as error:
        return "budget_exhausted", {}, str(error)
    except Exception as error:  # noqa: BLE001  whatever a job raises is its result
        traceback.print_exc()  # in a process of its own, that is the log
        return "failed", {}, f"{type(error).__name__}: {error}"


def _prepare(job: Job, params: Mapping[str, Any], run_dir: Path, resume: Resume, budget: Budget) -> bool:
    """Plan, and write the folder's config; return whether there is anything left to run."""
    params = folder.plain(params)
    plan = job.plan(params)
    seed = _seed(params)
    config = folder.plain(plan.config)
    digest = folder.config_hash(job.name, config, seed)
    old = folder.read_json(run_dir / folder.CONFIG)
    resumed = old is not None and _resumes(old, digest, {"seed": seed, **config}, run_dir, resume)
    if old is None and resume == "always":
        raise JobError(f"{run_dir}: there is nothing to resume; start it with resume='if_possible'")
    if resumed and _is_done(run_dir):
        return False
    free = shutil.disk_usage(run_dir).free
    if plan.disk_bytes > free:
        raise JobError(f"{run_dir}: {job.name} needs {plan.disk_bytes:,} bytes of disk and {free:,} are free")
    for name in (folder.RESULT, folder.CANCEL):
        (run_dir / name).unlink(missing_ok=True)
    row = {
        "job": job.name,
        "home": job.home,
        "run_id": old["run_id"] if resumed and old else uuid.uuid4().hex[:16],
        "params": params,
        "config": config,
        "config_hash": digest,
        "seed": seed,
        "budget": asdict(budget),
        "plan": {key: value for key, value in asdict(plan).items() if key != "config"},
        "resumed": resumed,
        "started_at": time.time(),
    }
    folder.write_json(run_dir / folder.CONFIG, row)
    return True


def _is_done(run_dir: Path) -> bool:
    """Whether the folder's job is done, and all that it made is still there."""
    result = folder.read_json(run_dir / folder.RESULT)
    if result is None or result["status"] != "ok":
        return False
    return all((run_dir / artifact["path"]).exists() for artifact in result["artifacts"])


def _resumes(old: Mapping[str, Any], digest: str, config: Mapping[str, Any], run_dir: Path, resume: Resume) -> bool:
    """Return whether to go on with what the folder holds; sets it aside if not."""
    if resume == "never":
        raise JobError(f"{run_dir}: holds a run of '{old['job']}' already; choose another folder, or allow resuming")
    if old["config_hash"] == digest:
        return True
    if resume == "always":
        changed = folder.differences({"seed": old["seed"], **old["config"]}, config) or [f"job: {old['job']}"]
        raise InvalidParams(f"{run_dir}: cannot resume, the configuration differs: {'; '.join(changed)}")
    folder.set_aside(run_dir)
    return False


def _config(run_dir: Path) -> dict[str, Any]:
    config = folder.read_json(run_dir / folder.CONFIG)
    if config is None:
        raise JobError(f"{run_dir}: no job was started in this folder; give the run folder itself")
    return config


def _seed(params: Mapping[str, Any]) -> int:
    seed = params.get("seed", 0)
    if type(seed) is not int:
        raise InvalidParams(f"/seed: {seed!r} is not a whole number")
    return seed


def _at_home(home: str) -> Job:
    module, _, name = home.partition(":")
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as error:
        raise JobError(f"{home} cannot be imported ({error}); install what it belongs to") from error
    if not isinstance(found, Job):
        raise JobError(f"{home} is no agentkit.jobs.Job; mend the job's home")
    return found


def _most_memory() -> int:
    """Return the largest resident set of this process so far, in bytes."""
    if sys.platform == "win32":
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _SHOWN_VERSIONS:
        if name == "agentkit-local" or name in sys.modules:
            with suppress(PackageNotFoundError):
                found[name] = version(name)
    return {**found, "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cpus"}
