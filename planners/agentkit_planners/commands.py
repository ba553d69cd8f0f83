"""`agentkit trees export` and `calibrate`: what searches have found, as data to train on and as constants to search with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from agentkit import Agent
from agentkit.errors import UsageError
from agentkit_planners.export import Limits
from agentkit_planners.posterior import fit
from agentkit_planners.rows import KINDS, Kind, rows_of
from agentkit_planners.tree import Tree

__all__ = ["calibrate", "export"]

_ALL = 1_000_000  # runs


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--kind", type=click.Choice(KINDS), default="pairs", show_default=True, help="What is written.")
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Default: stdout.")
@click.option(
    "--split", type=click.Choice(["train", "test"]), help="Only tasks of this split; one in ten is for testing."
)
@click.option(
    "--visits", type=click.IntRange(min=1), default=Limits().visits, show_default=True, help="Least, of both."
)
@click.option("--theta", type=float, default=Limits().theta, show_default=True, help="Least difference of worth.")
def export(runs: tuple[str, ...], kind: Kind, out: Path | None, split: str | None, visits: int, theta: float) -> None:
    """Write what search trees teach, as JSON Lines that TRL reads.

    \b
    agentkit trees export -o pairs.jsonl                 preference pairs of all runs
    agentkit trees export 8c1e --kind policies           of one run, to stdout
    agentkit trees export --split train -o train.jsonl
    """
    limits = Limits(visits=visits, theta=theta)
    rows = [row for row in rows_of(list(_trees(runs)), kind, limits=limits) if split in (None, row["split"])]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if out is None:
        sys.stdout.write(lines)
    else:
        try:
            out.write_text(lines, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{out}: cannot be written ({error.strerror}); name another file") from error
    click.echo(f"{len(rows)} rows ({kind})", err=True)


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--visits", type=click.IntRange(min=2), default=16, show_default=True, help="Least, of an action.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def calibrate(runs: tuple[str, ...], visits: int, as_json: bool) -> None:
    """Fit the constants of the final choice to search trees: what a prior is worth beside visits.

    \b
    agentkit trees calibrate
    agentkit trees calibrate 8c1e --visits 8 --json
    """
    nodes = [node for tree in _trees(runs) for node in Tree.from_plain(tree).nodes]
    try:
        found = asdict(fit(nodes, least_visits=visits))
    except ValueError as error:
        raise UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps({**found, "nodes": len(nodes)}))
    else:
        click.echo("Calibration(" + ", ".join(f"{name}={value:.4g}" for name, value in found.items()) + ")")
        click.echo(f"of {len(nodes)} states; PuctPlanner(calibration=...) takes it", err=True)


def _trees(runs: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """Yield the saved trees of these runs, or of all."""
    with Agent() as agent:
        store = agent.store
        known = [str(row["run_id"]) for row in store.runs(limit=_ALL)]
        for run in runs or known:
            found = [name for name in known if name.startswith(run)]
            if len(found) != 1:
                which = "there is no run" if not found else "several runs begin with"
                raise UsageError(f"{which} '{run}'; `agentkit trees list` shows those that have trees")
            yield from store.trees(found[0])
