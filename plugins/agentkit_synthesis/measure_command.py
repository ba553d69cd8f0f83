"""`agentkit synth measure`: what a synthetic data set is worth to a student."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.job_command import JobCommand
from agentkit.cli.output import say, table

if TYPE_CHECKING:
    from agentkit.jobs import JobResult

__all__ = ["measure"]


class Measuring(JobCommand):
    """Prints tables at the end."""

    def show(self, done: JobResult, params: Mapping[str, Any], folder: Path) -> None:
        """Print the figures, and where they are."""
        if done.status == "ok":
            if done.metrics["kind"] == "images":
                self._images(done.metrics["students"])
            else:
                from agentkit_synthesis.measure.tables import trace_table

                rows = trace_table(done.metrics)
                table(rows, list(rows[0]), empty="")
        self.show_warnings(done)

    def _images(self, students: Mapping[str, Any]) -> None:
        from agentkit_synthesis.measure.tables import image_table, saved_table

        for student, one in students.items():
            for title, rows in (("accuracy on real images held out", image_table(one)), ("labels saved at equal accuracy", saved_table(one))):  # fmt: skip
                say(f"{student}: {title}")
                table(rows, list(rows[0]), empty="")
                click.echo()


measure = Measuring(
    "measure",
    job="agentkit_synthesis.measure.measuring:MEASURE",
    params="agentkit_synthesis.measure.params:MeasureParams",
    argument="data",
    options={"families": "--family", "shares": "--share", "systems": "--system"},
    needs=("torch", "transformers", "sklearn", "scipy", "matplotlib", "PIL"),
    extra="synth",
    help="""Teach students on synthetic data, and test them on real data.

    DATA is a folder of labelled images, measured against real ones (--against): trained on synthetic images alone, on real ones alone,
    on both at 1, 10, 50 and 100 % of the real labels, and on the real ones with plain augmentation; and the real labels that are saved at
    equal accuracy. Or it is a folder of explanation traces: students taught with explanations beside students of answers alone.
    Several seeds each, with 95 % intervals. Written are measure.json, measure.md and measure.png.

    It is a job: Ctrl-C ends it, and the same command goes on; a student that is done is not taught again.

    \b
    agentkit synth measure images --against digits -o worth
    agentkit synth measure images --against my-photos -o worth --plan
    agentkit synth measure traces -o worth --family arithmetic --workers 2
    """,
)
