"""`agentkit train quantize`: a smaller model, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agentkit.cli.output import document, json_option, pairs, table
from agentkit.cli.progress import run_job

__all__ = ["quantize"]

KINDS = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "f16")
_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("model")
@click.option("--to", type=click.Choice(KINDS), default="q8_0", show_default=True, help="Kind of quantisation.")
@click.option("-o", "--out", type=_file, metavar="FILE", help="What is written. Default: here, named by the kind.")
@click.option("--text", type=_file, metavar="FILE", help="Compare both models on this text; without one, sizes only.")
@click.option("--window", type=click.IntRange(16, 4096), default=256, show_default=True, help="Tokens read at once.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="That quantise and read.")
@click.option("--force", is_flag=True, help="Write over a file that exists.")
@json_option
def quantize(
    model: str, to: str, out: Path | None, text: Path | None, window: int, threads: int, force: bool, as_json: bool
) -> None:
    """Quantise MODEL through llama.cpp: a GGUF file, or a name as -m takes it.

    With a text it says what is lost: perplexity before and after, mean KL divergence with its standard error, how often the most
    probable token is the same, and tokens per second. It is a job: Ctrl-C ends it after the window that is being read, and the
    same command goes on from there.

    \b
    agentkit train quantize model-f16.gguf --to q4_k_m --text held-out.txt
    agentkit train quantize model-f16.gguf --to q8_0 -o small.gguf --json
    """
    from agentkit import config
    from agentkit.errors import UsageError
    from agentkit.models import resolve
    from agentkit_training.quantizing import QUANTIZE

    source = resolve(model).path
    if source is None:
        raise UsageError(f"{model}: there is no file of it here; name a GGUF file")
    target = (out or Path(f"{source.stem}-{to}.gguf")).absolute()
    params = {"model": str(source.absolute()), "to": to, "out": str(target), "text": None if text is None else str(text.absolute()), "window": window, "threads": threads, "force": force}  # fmt: skip
    folder = config.data_dir() / "jobs" / f"quantize-{target.stem}"
    done = run_job(QUANTIZE, params, folder)
    if as_json:
        document("train quantize", {"out": str(target), "status": done.status, **done.metrics})
    else:
        if done.metrics:
            _print(done.metrics)
        click.echo(f"wrote {target}" if done.status == "ok" else f"{done.status}: nothing is written yet; the same command goes on", err=True)  # fmt: skip
    click.get_current_context().exit(done.exit_code)


def _print(figures: Mapping[str, Any]) -> None:
    before, after = figures["bytes_before"], figures["bytes"]
    rows = [
        {
            "tensors": kind,
            "count": f"{of['tensors']:.0f}",
            "weights": f"{of['weights']:,.0f}",
            "bits": f"{of['bits']:.2f}",
        }
        for kind, of in figures["by_kind"].items()
    ]
    table(rows, ("tensors", "count", "weights", "bits"), empty="no tensors")
    known = {
        "bits a weight": f"{figures['bits_per_weight_before']:.2f} -> {figures['bits_per_weight']:.2f}",
        "bytes": f"{before:,} -> {after:,} ({after / before:.0%})",
    }
    if "kl" in figures:
        known |= {
            "perplexity": f"{figures['perplexity_before']:.4g} -> {figures['perplexity']:.4g}",
            "KL": f"{figures['kl']:.3g} ± {figures['kl_stderr']:.1g} nats a token, {figures['tokens']:,} tokens",
            "same first token": f"{figures['top_1']:.1%}",
            "tokens a second": f"{figures['tokens_per_s_before']:,.0f} -> {figures['tokens_per_s']:,.0f}",
        }
    pairs(known)
