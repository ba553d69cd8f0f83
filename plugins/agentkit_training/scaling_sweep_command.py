"""`agentkit train scaling sweep` and `double`: small models trained here, a law fitted to them, and the law checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.output import document, json_option, pairs, say, table
from agentkit.cli.progress import run_job
from agentkit.jobs.texts import plan_text

if TYPE_CHECKING:
    from agentkit.jobs import Job, JobResult

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
        click.option("--plan", "planned", is_flag=True, help="Say what it would train and cost, and do nothing."),
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
    agentkit train scaling sweep --plan
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
    """Say what a job would cost; run it where that is not all, and print what it came to."""

    command, plan = f"train scaling {name}", asdict(job.plan(params))
    if chosen["planned"]:
        if chosen["as_json"]:
            document(f"{command} --plan", plan)
        else:
            pairs(
                {
                    "models": len(plan["config"]["cells"]),
                    "backend": plan["backend"],
                    "why": plan["why"],
                    "costs": plan_text(plan),
                }
            )
        return
    say(f"{len(plan['config']['cells'])} models, {plan_text(plan)}; in {folder}")
    done = run_job(job, params, folder)
    if chosen["as_json"]:
        document(command, {"folder": str(folder), "status": done.status, "warnings": done.warnings, **done.metrics})
    elif done.status == "ok":
        show(done, folder)
        for artifact in done.artifacts:
            say(f"wrote {folder / artifact.path}")
    if done.status != "ok":
        say(f"{done.status}: the same command goes on from here")
    click.get_current_context().exit(done.exit_code)


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
