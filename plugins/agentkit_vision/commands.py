"""`agentkit see`: what can be asked of this package on the command line.

Everything but click is imported when a command runs, so that its help is quick and needs no extra.
"""

from __future__ import annotations

import click

from agentkit_vision.ask_command import ask, caption
from agentkit_vision.compare_command import compare
from agentkit_vision.find_command import find
from agentkit_vision.index_command import index
from agentkit_vision.info_command import info
from agentkit_vision.train_command import train

__all__ = ["see"]


@click.group()
def see() -> None:
    """Look at pictures: describe them, answer questions, find those that fit.

    \b
    agentkit see caption photo.png
    agentkit see ask photo.png "what colour is the shoe?"
    agentkit see find "blue shoes" --in shop --open
    agentkit see find "but blue" --like photo.png --in shop
    agentkit see ask photo.jpg "what does the sign say?" -m ./SmolVLM-500M.gguf
    """


for command in (caption, ask, find, compare, index, train, info):
    see.add_command(command)
