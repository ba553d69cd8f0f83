"""`agentkit see index`: a folder's pictures, made ready for search; a job that can be stopped and goes on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click

from agentkit.cli.output import document, json_option, pairs, say

__all__ = ["index"]


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Where the collection goes.  [default: .agentkit-images in FOLDER]")  # fmt: skip
@click.option("-m", "--model", default="auto", show_default=True, metavar="NAME", help="embedded, or a folder or an id of an encoder of the Hub.")  # fmt: skip
@click.option("--reindex", is_flag=True, help="Drop the vectors of another model, and embed all images anew.")
@click.option("--plan", "planned", is_flag=True, help="Say what it would do and cost, and do nothing.")
@json_option
def index(folder: Path, out: Path | None, model: str, reindex: bool, planned: bool, as_json: bool) -> None:
    """Index the images in FOLDER, so that finding some is quick.

    What is unchanged since the last time is skipped, what is gone is taken out. Ctrl-C ends it after a batch; the same command
    goes on from there.

    \b
    agentkit see index shop
    agentkit see index shop -m google/siglip2-base-patch16-224 --reindex
    agentkit see index shop --plan
    """
    from agentkit import config
    from agentkit.cli.job_command import show_plan
    from agentkit.cli.progress import run_job
    from agentkit_vision.search.indexing import INDEX

    place = folder.expanduser().resolve()
    params: dict[str, Any] = {"folder": str(place), "encoder": _absolute(model), "reindex": reindex}
    if out is not None:
        params["collection"] = str(out.expanduser().absolute())
    if planned:
        show_plan("see index", INDEX, params, as_json=as_json)
        return
    told = hashlib.sha256(str(sorted(params.items())).encode()).hexdigest()
    done = run_job(INDEX, params, config.data_dir() / "jobs" / f"see-index-{place.name}-{told[:8]}")
    if as_json:
        document("see index", {"status": done.status, "warnings": done.warnings, **done.metrics})
    elif done.status == "ok":
        pairs({name: value for name, value in done.metrics.items() if name != "failures"})
        for text in (*done.metrics.get("failures", ()), *done.warnings):
            say(f"! {text}")
    else:
        say(f"{done.status}: the same command goes on from there")
    click.get_current_context().exit(done.exit_code)


def _absolute(model: str) -> str:
    place = Path(model).expanduser()
    return str(place.absolute()) if place.exists() else model
