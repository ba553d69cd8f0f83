"""`agentkit train evaluate`: what a model makes of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agentkit.cli.output import document, json_option, pairs, say
from agentkit.cli.progress import run_job

__all__ = ["evaluate"]


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--reference", metavar="NAME", help="Model to compare with, for margins and KL; often the one trained from."
)
@click.option("--beta", type=float, metavar="X", default=0.1, show_default=True, help="Of the implicit reward.")
@click.option("--max-length", type=click.IntRange(min=8), metavar="N", help="Tokens a row may have.")
@click.option("--skip-bad-rows", is_flag=True, help="Leave out rows that cannot be used, instead of refusing the file.")
@json_option
def evaluate(
    model: str,
    data: Path,
    reference: str | None,
    beta: float,
    max_length: int | None,
    skip_bad_rows: bool,
    as_json: bool,
) -> None:
    """Measure MODEL on the rows in DATA: perplexity, and of pairs how often the chosen answer is preferred.

    MODEL is sprout, a folder (an adapter's too), or a Hugging Face id. With a reference there are margins and the divergence
    from it besides. It is a job: Ctrl-C ends it after a row, and the same command goes on.

    \b
    agentkit train evaluate tuned held-out.jsonl --reference sprout
    agentkit train evaluate sprout held-out.jsonl --json
    """
    from agentkit import config
    from agentkit_training.finetune.evaluating import EVALUATE

    told: dict[str, Any] = {
        "model": _place(model),
        "data": str(data.absolute()),
        "beta": beta,
        "skip_bad_rows": skip_bad_rows,
    }
    told |= {
        name: value
        for name, value in (("reference", reference and _place(reference)), ("max_length", max_length))
        if value
    }
    mark = hashlib.sha256(repr(sorted(told.items())).encode()).hexdigest()[:8]
    folder = config.data_dir() / "jobs" / f"evaluate-{Path(model).name}-{mark}"
    done = run_job(EVALUATE, told, folder)
    if as_json:
        document("train evaluate", {"status": done.status, "warnings": done.warnings, **done.metrics})
    else:
        pairs(_shown(done.metrics))
        for text in done.warnings:
            say(f"! {text}")
    click.get_current_context().exit(done.exit_code)


def _place(name: str) -> str:
    path = Path(name).expanduser()
    return str(path.absolute()) if path.is_dir() else name


def _shown(figures: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "rows": figures["rows"],
        "perplexity": f"{figures['perplexity']:.4g} over {figures['tokens']:,} tokens",
    }
    if "accuracy" in figures:
        low, high = figures["accuracy_interval"]
        shown["preferred"] = f"{figures['accuracy']:.1%} ({low:.1%} to {high:.1%})"
        shown["margin"] = f"{figures['margin']:.4g} ± {figures['margin_stderr']:.2g}"
    if "kl" in figures:
        shown["KL"] = f"{figures['kl']:.4g} nats a token"
    return shown
