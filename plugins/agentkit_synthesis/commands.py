"""`agentkit synth`: what can be asked of this package on the command line.

Everything but click is imported when a command runs, so that its help is quick and needs no extra.
"""

from __future__ import annotations

import click

__all__ = ["synth"]


@click.group()
def synth() -> None:
    """Make data to order, with labels that are right, and measure whether it helps."""
