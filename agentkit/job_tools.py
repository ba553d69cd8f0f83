"""Jobs as tools: what a call asks for, what it would cost, and the job that it starts, joins or goes on with.

Guarantees: paths are inside the workspace, and nothing is fetched from a network. Calls that ask for the same, of the same
files, are one job: a second one joins it while it runs, goes on where it stopped, and is answered with its result once it is
done. Nothing heavy is imported before a call is planned.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.errors import AgentkitError, Cancelled, InvalidParams
from agentkit.protocols import Tool, ToolContext
from agentkit.tools import tool
from agentkit.types import Done, Failed, Grounding, Outcome, Pending

if TYPE_CHECKING:
    from agentkit.jobs import Job, JobPlan, JobState

__all__ = ["Texts", "Wanted", "job_tool", "shown", "within"]

PLANNING_S = 300.0  # a plan reads the data, imports torch and tries a step
Texts = Callable[
    ["JobState", "str | None"], tuple[str, str]
]  # a done job and where its work lies -> what a person reads, and in brief
POLL_S = (1.0, 30.0)  # between looks at a job, at least and at most
FAILED = "it failed"  # what a model that quotes by reference reads of a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One job that a call asks for.

    Attributes:
        home: `module:JOB`.
        params: the job's, but for `out`.
        about: file or folder that it is named by.
        out: what is to be written, as it was named; None takes `default_out`.
        default_out: a name in the workspace, or nothing where nothing is written.
    """

    home: str
    params: Mapping[str, Any]
    about: Path
    out: Path | None = None
    default_out: str = ""
    reads: tuple[Path, ...] = field(default=())  # whose contents the result depends on

    def job(self) -> Job:
        """Return the job itself; imports its module."""
        module, _, name = self.home.partition(":")
        found: Job = getattr(import_module(module), name)
        return found

    @property
    def digest(self) -> str:
        """A hash that equal calls on equal files share."""
        told = [self.home, dict(self.params), str(self.out), [_stamp(path) for path in self.reads]]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def folder(self) -> Path:
        """The run folder, where `agentkit jobs` finds it."""
        from agentkit import config  # noqa: PLC0415  so that a test's own home is seen

        name = f"{self.home.partition(':')[2].lower()}-{self.about.stem}-{self.digest[:8]}"
        return config.data_dir() / "jobs" / name

    def whole(self, workspace: Path) -> dict[str, Any]:
        """Return the job's parameters with the place for what it makes: a default name that is taken gets the digest."""
        if self.out is None and not self.default_out:
            return dict(self.params)
        out = self.out or within(self.default_out, workspace)
        if self.out is None and out.exists():
            out = out.with_name(f"{out.stem}-{self.digest[:8]}{out.suffix}")
        return {**self.params, "out": str(out)}


def job_tool(
    texts: Texts, *, keywords: str = "", writes: bool = True, **grounded: Grounding
) -> Callable[[Callable[..., Wanted]], Tool]:
    """Make a tool of a function that says which job a call wants.

    Args:
        texts: what a job that is done came to, in words.
        keywords: what people say for it, for the ranker.
        writes: whether it makes something at `out`, which the function then takes.
        grounded: argument -> where it may be from.
    """

    def declare(function: Callable[..., Wanted]) -> Tool:
        @wraps(function)
        def run(context: ToolContext, **arguments: Any) -> Outcome:
            if context.waiting is not None:
                return awaited(context.waiting, context, texts)
            return answered(lambda: performed(function(context=context, **arguments), context, texts))

        @wraps(function)
        def predict(context: ToolContext, **arguments: Any) -> Outcome:
            return answered(lambda: foreseen(function(context=context, **arguments), context, texts))

        return tool(
            effect="write" if writes else "read",
            egress=False,
            idempotent=True,
            cost=True,
            polls=True,
            predict=predict,
            timeout_s=PLANNING_S,
            trust="trusted",
            sinks=("out",) if writes else (),
            grounded=grounded,
            keywords=(keywords,) if keywords else (),
        )(run)

    return declare


def foreseen(wanted: Wanted, context: ToolContext, texts: Texts) -> Outcome:
    """Return what a call would do and cost, or why it cannot be done; changes nothing.

    Raises:
        AgentkitError: the job's own, where it cannot be planned.
    """
    known = _known(wanted)
    if known is not None and _stands(known):
        return Done(text=f"was done before; nothing is run: {_result(known, context.workspace, texts).text}")
    if known is not None and known.status == "running":
        return Done(text=f"is running already, and is waited for: {_progress(known)}")
    params = wanted.whole(context.workspace) if known is None else known.params
    again = "" if known is None or known.status == "ok" else f"; goes on after step {known.step}"
    return Done(text=_plan(asdict(wanted.job().plan(params)), params, context.workspace) + again)


def performed(wanted: Wanted, context: ToolContext, texts: Texts) -> Outcome:
    """Start a job, join it, or say what it came to; `Pending` while it runs.

    Raises:
        AgentkitError: it cannot be planned or started.
        Cancelled: the run was, before the job began.
    """
    from agentkit import jobs  # noqa: PLC0415  with the tools' first call

    known = _known(wanted)
    if known is not None and (known.status == "running" or _stands(known)):
        return _now(known, context.workspace, texts)
    job = wanted.job()
    params = dict(known.params) if known is not None else wanted.whole(context.workspace)
    plan = job.plan(params)
    if context.cancel.is_set():
        raise Cancelled(f"cancelled before {job.name} began; nothing was done")
    handle = jobs.start(replace(job, plan=_same(plan)), params, run_dir=wanted.folder)
    if handle.process is not None:  # somebody takes note of its end, however long after this call
        threading.Thread(target=handle.process.wait, name=f"agentkit-{wanted.folder.name}", daemon=True).start()
    told = {"job": wanted.folder.name, "state": "started"}
    context.emit("job", {**told, "plan": _plan(asdict(plan), params, context.workspace)})
    if context.cancel.is_set():
        handle.cancel()
    return _now(handle.state(), context.workspace, texts)


def awaited(pending: Pending, context: ToolContext, texts: Texts) -> Outcome:
    """Return what has become of the job that a call began to wait for; one that was stopped is not started again."""
    from agentkit import jobs  # noqa: PLC0415  with the tools' first call

    return _now(jobs.read(Path(pending.handle)), context.workspace, texts)


def answered(work: Callable[[], Outcome]) -> Outcome:
    """Return what `work` gives; an error is its text."""
    try:
        return work()
    except Cancelled:
        raise
    except AgentkitError as error:
        return Failed(text=" ".join(str(error).split()), brief=FAILED)


def within(name: str, workspace: Path, *, itself: bool = False) -> Path:
    """Return the real path of a file or folder in the workspace.

    Args:
        name: relative to the workspace, or absolute.
        workspace: the folder.
        itself: whether it may be the workspace itself.

    Raises:
        InvalidParams: it is outside, or no name at all.
    """
    root = workspace.resolve()
    try:
        path = (root / Path(name.strip()).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidParams(f"'{name}' cannot be followed ({error}); name a file in the workspace") from error
    if not name.strip() or (path == root and not itself) or not path.is_relative_to(root):
        raise InvalidParams(f"'{name}' is outside the workspace {root}; only files in it can be used")
    return path


def _known(wanted: Wanted) -> JobState | None:
    from agentkit import jobs  # noqa: PLC0415

    return jobs.read(wanted.folder) if (wanted.folder / "config.json").exists() else None


def _stands(state: JobState) -> bool:
    """Whether a job is done, and what it made is still there."""
    out = state.params.get("out")
    return state.status == "ok" and (out is None or Path(out).exists())


def _same(plan: JobPlan) -> Any:
    return lambda params: plan


def _now(state: JobState, workspace: Path, texts: Texts) -> Outcome:
    """Return a job's state as an outcome."""
    if state.status == "ok":
        return _result(state, workspace, texts)
    if state.status == "running":
        least, most = POLL_S
        wait = min(most, max(least, (state.eta_s or 0.0) / 10))
        costs = _plan(state.plan, state.params, workspace)
        text = f"{_progress(state)}; job {state.run_dir.name}: {costs}. `agentkit jobs watch {state.run_dir.name}` follows it"
        return Pending(kind="job", handle=str(state.run_dir), text=text, retry_after_s=wait, brief="it still runs")
    if state.status == "failed" and state.result is not None:
        return Failed(text=f"{state.job} failed: {state.result.error}", data={"job": str(state.run_dir)}, brief=FAILED)
    how = {"interrupted": "was ended from outside", "budget_exhausted": "has used up its budget"}.get(state.status)
    return Failed(
        text=f"{state.job} {how or 'was cancelled'} at step {state.step}; the same call goes on from its last checkpoint",
        data={"job": str(state.run_dir)},
        brief=FAILED,
    )


def _result(state: JobState, workspace: Path, texts: Texts) -> Outcome:
    out = state.params.get("out")
    assert state.result is not None
    data = {"job": str(state.run_dir), "out": out, **state.result.metrics}
    text, brief = texts(state, None if out is None else shown(Path(out), workspace))
    return Done(
        text=text,
        brief=brief,
        data=data,
        artifacts=() if out is None else (str(out),),
    )


def _progress(state: JobState) -> str:
    from agentkit.jobs.texts import duration  # noqa: PLC0415

    left = "" if state.eta_s is None else f", {duration(state.eta_s)} left"
    return f"step {state.step}{f' of {state.total}' if state.total else ''}{left}"


def _plan(plan: Mapping[str, Any], params: Mapping[str, Any], workspace: Path) -> str:
    from agentkit.jobs.texts import plan_text  # noqa: PLC0415

    parts = [str(plan["why"]), plan_text(plan), f"on {plan['backend']}" if plan["backend"] else ""]
    if params.get("out"):
        parts.append(f"writes {shown(Path(params['out']), workspace)}")
    return "; ".join(filter(None, parts))


def shown(path: Path, workspace: Path) -> str:
    """Return a path as it is written from the workspace."""
    root = workspace.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _stamp(path: Path) -> Any:
    """Return what changes with a file's content, or with a folder's files."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
