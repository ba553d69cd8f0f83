"""`agentkit jobs`: long actions (training, synthesis), to look at, watch, stop and go on with.

A job is its run folder; those of this user stand under `jobs` in the data folder, and any other may be
given by its path.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.group import ListGroup
from agentkit.cli.output import document, json_option, pairs, say, table
from agentkit.cli.progress import follow_job
from agentkit.errors import UsageError
from agentkit.jobs.texts import duration

if TYPE_CHECKING:
    from agentkit.jobs import JobState


@click.group(cls=ListGroup)
def command() -> None:
    """Show, watch, cancel and resume long actions.

    JOB is the start of a name in the list, or the path of a run folder.

    \b
    agentkit jobs
    agentkit jobs watch sprout
    agentkit jobs cancel sprout           it writes a checkpoint
    agentkit jobs resume sprout --watch   and goes on from there
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List jobs, newest first."""
    from agentkit.cli.threads import ago
    from agentkit.jobs import list_jobs

    states = list_jobs(_root())
    if as_json:
        document("jobs list", [as_data(state) for state in states])
        return
    rows = [
        {
            "name": state.run_dir.name,
            "job": state.job,
            "status": state.status,
            "started": ago(state.started_at),
            "progress": progress(state),
        }
        for state in states
    ]
    table(rows, ("name", "job", "status", "started", "progress"), empty="no jobs yet")


@command.command("show")
@click.argument("job")
@json_option
def show(job: str, as_json: bool) -> None:
    """Show how far a job is, or what it came to."""
    _show("jobs show", _folder(job), as_json=as_json)


@command.command("watch")
@click.argument("job")
@json_option
def watch(job: str, as_json: bool) -> None:
    """Stay with a job until it has ended; Ctrl-C leaves it running."""
    folder = _folder(job)
    follow_job(folder)
    _show("jobs watch", folder, as_json=as_json)


@command.command("resume")
@click.argument("job")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="How long it may go on this time.")
@click.option("--steps", type=click.IntRange(min=1), help="How many steps it may take this time.")
@click.option("--watch", "watched", is_flag=True, help="Stay until it has ended; Ctrl-C leaves it running.")
@json_option
def resume(job: str, seconds: float | None, steps: int | None, watched: bool, as_json: bool) -> None:
    """Go on with a job that was cancelled, interrupted, or used up its budget, from its last checkpoint."""
    from agentkit import jobs

    folder = _folder(job)
    if jobs.read(folder).status == "ok":
        raise UsageError(f"job '{folder.name}' is done; `agentkit jobs show {folder.name}` has what it came to")
    jobs.resume(folder, budget=jobs.Budget(seconds=seconds, steps=steps))
    if watched:
        follow_job(folder)
    elif not as_json:
        say(f"{folder.name} goes on; `agentkit jobs watch {folder.name}` shows how far it is")
        return
    _show("jobs resume", folder, as_json=as_json)


def _show(name: str, folder: Path, *, as_json: bool) -> None:
    from agentkit import jobs

    state = jobs.read(folder)
    if as_json:
        document(name, as_data(state))
        return
    known = {"job": state.job, "folder": str(folder), "status": state.status, "progress": progress(state)}
    result = state.result
    figures = dict(result.metrics if result is not None else state.metrics)
    pairs({**known, **figures})
    if result is not None:
        for text in (*result.warnings, *filter(None, [result.error])):
            click.echo(f"! {text}")
        for artifact in result.artifacts:
            click.echo(f"  {artifact.kind}: {artifact.path} ({artifact.bytes} bytes)")


@command.command("cancel")
@click.argument("job")
@json_option
def cancel(job: str, as_json: bool) -> None:
    """Ask a job to write a checkpoint and stop."""
    from agentkit import jobs

    folder = _folder(job)
    state = jobs.read(folder)
    if not jobs.cancel(folder):
        raise UsageError(f"job '{folder.name}' is not running, it is {state.status}; nothing to cancel")
    if as_json:
        document("jobs cancel", {"folder": str(folder), "asked": True})
        return
    say(f"asked {folder.name} to stop at its next step; `agentkit jobs resume {folder.name}` goes on")


def progress(state: JobState) -> str:
    """Return how far a job is, as one reads it."""
    if state.total is None:
        return f"step {state.step}" if state.step else "-"
    share = f"{state.step}/{state.total} ({state.step / state.total:.0%})" if state.total else f"{state.step}"
    if state.status == "running" and state.eta_s is not None:
        share += f", {duration(state.eta_s)} left"
    return share


def as_data(state: JobState) -> dict[str, Any]:
    """Return a job's state as plain data."""
    return {
        "name": state.run_dir.name,
        "folder": str(state.run_dir),
        "job": state.job,
        "status": state.status,
        "started_at": state.started_at,
        "step": state.step,
        "total": state.total,
        "eta_s": state.eta_s,
        "metrics": dict(state.metrics),
        "resumable": state.resumable,
        "result": state.result.to_json() if state.result is not None else None,
    }


def _root() -> Path:
    from agentkit import config

    return config.data_dir() / "jobs"


def _folder(job: str) -> Path:
    from agentkit.cli.session import pick
    from agentkit.jobs import list_jobs

    path = Path(job).expanduser()
    if path.is_dir():
        return path
    return _root() / pick((state.run_dir.name for state in list_jobs(_root())), job, "job", "agentkit jobs list")
