"""`agentkit graph`: the state machine as it is compiled, as Mermaid text or an SVG, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from agentkit.cli.group import HELP_NAMES
from agentkit.cli.output import document, json_option, say
from agentkit.errors import UsageError


@click.command(context_settings=HELP_NAMES)
@click.option("--svg", metavar="FILE", help="Write an SVG there instead; - is stdout.")
@json_option
def command(svg: str | None, as_json: bool) -> None:
    """Draw the state machine.

    The drawing is made from the compiled graph, so it cannot differ from what runs.

    \b
    agentkit graph                      Mermaid text
    agentkit graph --svg machine.svg
    """
    from agentkit.graph import build

    drawn = build().get_graph()
    if as_json:
        document("graph", {"nodes": list(drawn.nodes), "edges": [_edge(edge) for edge in drawn.edges]})
    elif svg is None:
        click.echo(drawn.draw_mermaid(), nl=False)
    else:
        _write(svg, _svg(drawn))


def _svg(drawn: Any) -> str:
    from agentkit.cli.svg import Edge, draw

    edges = [Edge(**_edge(edge)) for edge in drawn.edges]
    return draw(list(drawn.nodes), edges, title="agentkit's state machine")


def _edge(edge: Any) -> dict[str, Any]:
    return {"source": edge.source, "target": edge.target, "conditional": bool(edge.conditional)}


def _write(name: str, text: str) -> None:
    if name == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{name}: cannot be written ({error.strerror}); choose another file") from error
    say(f"wrote {name}")
