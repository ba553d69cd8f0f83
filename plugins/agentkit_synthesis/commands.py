"""`agentkit synth`: what can be asked of this package on the command line.

Everything but click is imported when a command runs, so that its help is quick and needs no extra.
"""

from __future__ import annotations

import click

from agentkit_synthesis.images_command import image, images, train_images
from agentkit_synthesis.measure_command import measure
from agentkit_synthesis.report_command import report
from agentkit_synthesis.tools_command import tools
from agentkit_synthesis.traces_command import preview, row, traces

__all__ = ["synth"]


@click.group()
def synth() -> None:
    """Make data to order, with labels that are right, and measure whether it helps.

    \b
    agentkit synth preview traces
    agentkit synth traces explained --count 10000
    agentkit synth tools mine --from my_module --count 500
    agentkit synth images circles --source products --where colour=red --where shape=circle
    agentkit synth report circles
    agentkit synth measure digits-made --against digits -o measured
    """


for command in (preview, traces, tools, images, train_images, report, measure, row, image):
    synth.add_command(command)
