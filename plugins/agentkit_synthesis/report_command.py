"""`agentkit synth report`: what a data set is worth, as a table here and a page to read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agentkit.cli.output import document, json_option, pairs, say
from agentkit.cli.progress import run_job

__all__ = ["report"]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--against", metavar="REAL", help="Real images to compare with: digits, products, or a folder.")
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Where report.json and report.html go.  [default: FOLDER itself]")  # fmt: skip
@click.option("--label", metavar="NAME", help="Attribute of images that is their class.  [default: the first]")
@click.option("--near-rows", type=click.IntRange(min=0), metavar="N", help="Rows looked at for near-duplicates and diversity, at most.  [default: 20000]")  # fmt: skip
@click.option("--near-threshold", type=click.FloatRange(0, 1, min_open=True), metavar="X", help="Jaccard similarity of near-duplicates.  [default: 0.8]")  # fmt: skip
@click.option("--verify-rows", type=click.IntRange(min=0), metavar="N", help="Rows verified anew, at most.  [default: 1000]")  # fmt: skip
@click.option("--trust-verifier", is_flag=True, help="Run a verifier that is not agentkit's own: code that the manifest names.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of which rows are looked at.")
@click.option("--open", "opened", is_flag=True, help="Show the page in a browser.")
@click.option("--plan", "planned", is_flag=True, help="Say what it would read and cost, and do nothing.")
@json_option
def report(folder: Path, opened: bool, planned: bool, as_json: bool, **options: Any) -> None:
    """Say what a data set is worth: duplicates, leaks, diversity, balance, verified share.

    FOLDER is what `agentkit synth` made, a .jsonl file in one of TRL's formats, or a folder of labelled images. Written are
    report.json and report.html, which shows rows or images and needs nothing besides itself.

    \b
    agentkit synth report traces
    agentkit synth report images --against digits --open
    agentkit synth report chats.jsonl -o report --json
    """
    from agentkit import config
    from agentkit.cli.job_command import show_plan
    from agentkit_synthesis.quality.reporting import REPORT

    params = _params(folder, options)
    if planned:
        show_plan("synth report", REPORT, params, as_json=as_json)
        return
    where = config.data_dir() / "jobs" / f"report-{folder.absolute().name}"
    done = run_job(REPORT, params, where)
    page = done.metrics.get("report")
    if as_json:
        document("synth report", {"status": done.status, "warnings": done.warnings, **done.metrics})
    elif done.status == "ok":
        pairs({name: _shown(name, value) for name, value in done.metrics.items() if name != "report"})
        for warning in done.warnings:
            say(f"! {warning}")
        say(f"wrote {page}")
    else:
        say(f"{done.status}: the same command makes it anew")
    if opened and page:
        click.launch(str(page))
    click.get_current_context().exit(done.exit_code)


def _params(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job's parameters, with paths that mean the same from everywhere."""
    params = {name: value for name, value in options.items() if value not in (None, False)}
    against = params.get("against")
    if against is not None and Path(against).expanduser().exists():
        params["against"] = str(Path(against).expanduser().absolute())
    if "out" in params:
        params["out"] = str(params["out"].expanduser().absolute())
    return {**params, "data": str(folder.expanduser().absolute())}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, dict) and "too_few" in value:
        return f"too few ({value['too_few']} of {value['wanted']})"
    whole = ("effective_images", "self_similarity", "rows")
    is_share = isinstance(value, float) and not name.startswith(whole) and not name.startswith("distinct")
    return f"{100 * value:.2f} %" if is_share else f"{value:.4g}" if isinstance(value, float) else value
