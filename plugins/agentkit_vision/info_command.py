"""`agentkit see info`: what a model of pictures is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from agentkit.cli.output import document, json_option, pairs

__all__ = ["info"]


@click.command()
@click.argument("model", default="auto")
@json_option
def info(model: str, as_json: bool) -> None:
    """Say what MODEL is: whether it speaks about pictures, searches with them, or both.

    It is opened for that. Without MODEL, the embedded one is told about.

    \b
    agentkit see info
    agentkit see info google/siglip2-base-patch16-224 --json
    """
    from agentkit.errors import AgentkitError, MissingDependency
    from agentkit_vision.opening import open_encoder, open_speaker

    told: dict[str, Any] = {"model": model}
    failures: list[AgentkitError] = []
    kinds: dict[str, Callable[[str], Any]] = {"speaks": open_speaker, "searches": open_encoder}
    for what, opened in kinds.items():
        try:
            found = opened(model)
        except MissingDependency:
            raise
        except AgentkitError as error:
            failures.append(error)
            told[what] = {"can": False, "why": str(error)}
            continue
        told[what] = {"can": True, "name": found.name, "fingerprint": found.fingerprint}
        if what == "searches":
            attributes = {name: list(values) for name, values in found.attributes.items()}
            told[what] |= {"dim": found.dim, "attributes": attributes}
    if len(failures) == len(kinds):
        raise failures[0]
    if as_json:
        document("see info", told)
    else:
        pairs({"model": model, **{f"{what} {name}": value for what in kinds for name, value in told[what].items()}})
