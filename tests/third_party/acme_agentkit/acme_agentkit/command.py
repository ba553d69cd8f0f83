"""A stranger's command."""

from __future__ import annotations

import click


@click.command()
@click.option("--loud", is_flag=True, help="In capitals.")
def acme(loud: bool) -> None:
    """Say what acme says."""
    click.echo("MEEP MEEP" if loud else "meep meep")
