"""`agentkit see compare`: what two pictures have in common."""

from __future__ import annotations

import click

from agentkit.cli.output import document, json_option, pairs
from agentkit_vision.typed import typed_picture

__all__ = ["compare"]


@click.command()
@click.argument("one")
@click.argument("other")
@click.option("-m", "--model", default="auto", show_default=True, metavar="NAME", help="embedded, or a folder or an id of an encoder of the Hub.")  # fmt: skip
@json_option
def compare(one: str, other: str, model: str, as_json: bool) -> None:
    """Say how similar two images are, and which attributes they share.

    Attributes are those that the model tells apart; for a model of everything there are none.

    \b
    agentkit see compare photo.png shop/0012.png
    agentkit see compare a.jpg b.jpg -m google/siglip2-base-patch16-224 --json
    """
    from agentkit_vision.comparing import compare as compared
    from agentkit_vision.opening import open_encoder

    pictures = typed_picture(one), typed_picture(other)
    found = compared(*pictures, open_encoder(model))
    if as_json:
        document("see compare", found.to_json())
        return
    told = {"similarity": found.similarity, **({"files": "equal, byte for byte"} if found.is_same_file else {})}
    told |= {name: f"both {value}" for name, value in found.same.items()}
    pairs(told | {name: f"{a} / {b}" for name, (a, b) in found.different.items()})
