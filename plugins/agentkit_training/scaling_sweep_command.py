"""`agentkit train scaling sweep` and `double`: small models trained here, a law fitted to them, and the law checked."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.output import colourful, document, json_option, pairs, say, table

if TYPE_CHECKING:
    from agentkit.jobs import Job, JobPlan, JobResult

__all__ = ["double", "sweep"]

SWEEP_FOLDER, DOUBLE_FOLDER = "scaling-sweep", "scaling-double"
FIT = Path("artifacts") / "fit.json"
DEFAULT_WORKERS = 2

_file = click.Path(dir_okay=False, path_type=Path)


class Counts(click.ParamType[list[float]]):
    """Numbers with commas between, each as in 70B."""

    name = "numbers"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        """Return the numbers."""
        from agentkit_training.commands import Count

        return [Count().convert(part, param, ctx) for part in str(value).split(",")]


def shared(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that both commands have."""
    options = (
        click.option("--text", type=_file, metavar="FILE", help="What is read. Default: the docstrings of Python's library."),
        click.option("--workers", type=click.IntRange(1, 64), default=DEFAULT_WORKERS, show_default=True, metavar="N", help="Processes, of one thread each; the results do not depend on them."),
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="What each cell's own seed is made from."),
        click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="The job's folder. Default: one among agentkit's jobs."),
        click.option("--dry-run", is_flag=True, help="Only say what it would train and cost."),
        json_option,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--budgets", type=Counts(), metavar="C,...", help="Training FLOPs. Default: 1e11,3e11,1e12.")
@click.option("--sizes", type=Counts(), metavar="N,...", help="Parameters, the same for each budget. Default: five about the best of each.")  # fmt: skip
@shared
def sweep(budgets: list[float] | None, sizes: list[float] | None, out: Path | None, **chosen: Any) -> None:
    """Train small Llamas over budgets and sizes, and fit the law they follow.

    Fifteen models of bytes, 10 K to 400 K parameters, in a few minutes on two cores. Each is trained by the same rules, down to the
    end of its own budget, and measured on text it has not seen. FLOPs are counted, with the head and attention. Written
    are runs.csv, fit.json, isoflop.png and fit.png.

    It is a job: Ctrl-C writes checkpoints, and the same command goes on; a finished model is never trained again, also when
    budgets or sizes are added.

    \b
    agentkit train scaling sweep
    agentkit train scaling sweep --dry-run
    agentkit train scaling sweep --text book.txt --budgets 1e11,3e11,1e12,3e12 --sizes 20K,50K,120K,300K --out book
    agentkit train scaling predict 200K 2M --law book/artifacts/fit.json
    """
    params = {"budgets": budgets, "sizes": sizes, **_params(chosen)}
    job = _job("sweeping", "SWEEP")
    _do("sweep", job, params, _folder(out, SWEEP_FOLDER), chosen, _show_sweep)


@click.command()
@click.option("--law", type=_file, metavar="FILE", help="A fit to check. Default: the one of the last `sweep`.")
@click.option("--tokens", type=Counts(), metavar="D", help="Read by each model. Default: 1M.")
@click.option("--smallest", type=Counts(), metavar="N", help="Parameters that are doubled. Default: 12.5K.")
@click.option("--doublings", type=click.IntRange(1, 12), metavar="N", help="How often. Default: 5.")
@shared
def double(
    law: Path | None,
    tokens: list[float] | None,
    smallest: list[float] | None,
    doublings: int | None,
    out: Path | None,
    **chosen: Any,
) -> None:
    """Double parameters at the same tokens, and compare with what a law predicts.

    In L = E + A/N^alpha + B/D^beta doubling N only multiplies A/N^alpha by 2^-alpha; E and B/D^beta stay. The models are trained as
    `sweep` trains them and are none that the law was fitted to. Written are runs.csv, doubling.json and doubling.png.

    \b
    agentkit train scaling double
    agentkit train scaling double --law fit.json --tokens 500K --smallest 20K --doublings 4
    """  # fmt: skip
    from agentkit.errors import UsageError

    fitted = law or _folder(None, SWEEP_FOLDER) / FIT
    if law is None and not fitted.exists():
        raise UsageError(
            "there is no law to check yet; run `agentkit train scaling sweep` first, or name one with --law"
        )
    given = {"tokens": _one("--tokens", tokens), "smallest": _one("--smallest", smallest), "doublings": doublings}
    params = {
        "law": str(fitted.absolute()),
        **_params(chosen),
        **{name: value for name, value in given.items() if value},
    }
    job = _job("doubling", "DOUBLE")
    _do("double", job, params, _folder(out, DOUBLE_FOLDER), chosen, _show_double)


def _one(option: str, given: list[float] | None) -> float | None:
    if given is not None and len(given) != 1:
        raise click.BadParameter("one number is wanted", param_hint=option)
    return given[0] if given else None


def _params(chosen: Mapping[str, Any]) -> dict[str, Any]:
    text: Path | None = chosen["text"]
    return {
        "text": None if text is None else str(text.absolute()),
        "workers": chosen["workers"],
        "seed": chosen["seed"],
    }


def _folder(out: Path | None, name: str) -> Path:
    from agentkit import config

    return out or config.data_dir() / "jobs" / name


def _job(module: str, name: str) -> Job:
    """Return a job; torch is imported with it.

    Raises:
        MissingDependency: torch is not installed.
    """
    from importlib import import_module

    from agentkit.errors import MissingDependency

    for library in ("torch", "tokenizers"):
        if find_spec(library) is None:
            raise MissingDependency(f"training needs {library}: pip install 'agentkit-local[train]'")
    job: Job = getattr(import_module(f"agentkit_training.scaling.sweep.{module}"), name)
    return job


def _do(
    name: str, job: Job, params: Mapping[str, Any], folder: Path, chosen: Mapping[str, Any], show: Callable[..., None]
) -> None:
    """Run a job where it is not only to be planned, and print what it came to."""
    from agentkit import jobs
    from agentkit.errors import JobError

    command, plan = f"train scaling {name}", job.plan(params)
    if chosen["dry_run"]:
        _show_plan(command, plan, chosen["as_json"])
        return
    say(f"{_sum(plan)}; in {folder}")
    stop = threading.Event()
    with _stopping(stop), _Watch(folder) as watch:
        done = jobs.run(job, params, run_dir=folder, cancelled=stop)
    if not watch.started:
        say("trained before; this is what it came to")
    if done.status == "failed":
        raise JobError(f"{done.error}; `agentkit jobs show {folder}` has more")
    if chosen["as_json"]:
        document(command, {"folder": str(folder), "status": done.status, "warnings": done.warnings, **done.metrics})
    elif done.status == "ok":
        show(done, folder)
        for artifact in done.artifacts:
            say(f"wrote {folder / artifact.path}")
    if done.status != "ok":
        say(f"{done.status}: the same command goes on from here")
    click.get_current_context().exit(done.exit_code)


def _sum(plan: JobPlan) -> str:
    cells, flops = plan.config["cells"], plan.config["flops"]
    return f"{len(cells)} models, {flops:.2g} FLOPs, about {plan.seconds / 60:.1f} min, {plan.memory_bytes / 1e9:.1f} GB of memory"


def _show_plan(command: str, plan: JobPlan, as_json: bool) -> None:
    if as_json:
        document(command, plan)
        return
    pairs(
        {
            "models": len(plan.config["cells"]),
            "training FLOPs": f"{plan.config['flops']:.3g}",
            "time": f"about {plan.seconds / 60:.1f} min on this machine, from a probe",
            "memory": f"{plan.memory_bytes / 1e6:.0f} MB",
            "disk": f"{plan.disk_bytes / 1e6:.0f} MB",
            "backend": f"{plan.backend}: {plan.why}",
        }
    )


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set `stop`."""
    import signal

    def ask(number: int, frame: object) -> None:
        stop.set()
        say("stopping after this step; the same command goes on from there")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Watch:
    """Shows on stderr what a job in this process does: a bar on a terminal, a line for each model elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.began, self.events = folder, time.time(), folder / "events.jsonl"
        self.before, self.over, self.started = self._mark(), threading.Event(), False
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Watch:
        self.thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self.over.set()
        self.thread.join()

    def _mark(self) -> tuple[int, int] | None:
        found = self.events.stat() if self.events.exists() else None
        return None if found is None else (found.st_mtime_ns, found.st_size)

    def _watch(self) -> None:
        """Wait until the job has begun, which also means that it holds its folder, and draw it."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        from agentkit import jobs

        while self._mark() in (self.before, None):
            if self.over.wait(0.05):
                return
        self.started = True
        fields = [TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[figures]}")]
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), *fields)
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not colourful(sys.stderr), transient=True) as bar:
            shown, first = bar.add_task("training", total=None, rate="", figures=""), None
            for event in jobs.follow(self.folder):
                if event["t"] < self.began:
                    continue
                if event["type"] == "cell":
                    console.print(_model(event), highlight=False, soft_wrap=True)
                elif event["type"] == "step":
                    first = first or event
                    bar.update(
                        shown,
                        completed=event["step"],
                        total=event["total"],
                        rate=_rate(first, event),
                        figures=_models(event),
                    )


def _model(event: Mapping[str, Any]) -> str:
    return f"N = {event['params']:,} on D = {event['tokens']:,} tokens: loss {event['loss']:.4f}"


def _rate(first: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """Return how fast it goes; a step of the job is 1e9 FLOPs."""
    seconds = event["t"] - first["t"]
    return f"{(event['step'] - first['step']) / seconds:.3g} GFLOP/s" if seconds > 0 else ""


def _models(event: Mapping[str, Any]) -> str:
    done = event["metrics"].get("cells")
    return "" if done is None else f"{done} models"


def _show_sweep(done: JobResult, folder: Path) -> None:
    from agentkit_training.scaling import load_fit
    from agentkit_training.scaling.report import show_fit

    rows = [
        {
            "FLOPs": f"{row['flops']:.3g}",
            "params": f"{row['params']:,}",
            "tokens": f"{row['tokens']:,}",
            "epochs": f"{row['tokens'] / row['unique_tokens']:.2g}",
            "steps": f"{row['steps']:,}",
            "loss": f"{row['loss']:.4f}",
            "perplexity": f"{math.exp(row['loss']):.3f}",
        }
        for row in done.metrics["runs"]
    ]
    table(rows, list(rows[0]), empty="")
    fitted = load_fit(folder / FIT) if "constants" in done.metrics else None
    if fitted is not None:
        click.echo()
        show_fit(fitted, False)
    for warning in done.warnings:
        if fitted is None or warning not in fitted.warnings:
            say(f"warning: {warning}")


def _show_double(done: JobResult, folder: Path) -> None:
    found = done.metrics
    rows = [
        {
            "params": f"{row['params']:,}",
            "loss": f"{row['loss']:.4f}",
            "predicted": f"{row['predicted']:.4f}",
            "perplexity": f"{row['perplexity']:.3f}",
            "above_the_floor": f"{row['term']:.4f}",
            "predicted_A/N^alpha": f"{row['predicted_term']:.4f}",
            "factor": _factor(row["factor"]),
            "predicted_factor": _factor(row["predicted_factor"]),
        }
        for row in found["rows"]
    ]
    table(rows, list(rows[0]), empty="")
    pairs(
        {
            "floor E + B/D^beta": f"{found['floor']:.4f}, of which E {found['irreducible']:.4f}",
            "a doubling multiplies": f"what is above it by {_factor(found['factor'])}; predicted {found['predicted_factor']:.3f}",
            "error of the prediction": f"{found['mean_error']:+.2%} in the mean, {found['largest_error']:.2%} at worst",
        }
    )
    for warning in done.warnings:
        say(f"warning: {warning}")


def _factor(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
