"""`agentkit synth traces|preview|row`: explanation traces, and looking at rows of any kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agentkit.cli.job_command import JobCommand
from agentkit.cli.output import clean, document, json_option, say

__all__ = ["preview", "row", "traces"]

SHOWN = ("family", "kind", "difficulty", "split", "answer", "teacher")  # of a row, beside what is said in it

traces = JobCommand(
    "traces",
    job="agentkit_synthesis.traces.jobs:TRACES",
    params="agentkit_synthesis.traces.params:TracesParams",
    options={"families": "--family"},
    help="""Make explanation traces: problems with solutions step by step, every step executed.

    OUT becomes a folder with train.jsonl and test.jsonl (ready for `agentkit train sft`), a manifest and a card. Ctrl-C ends it
    after a checkpoint; the same command goes on from there, to the same bytes.

    \b
    agentkit synth preview traces
    agentkit synth traces explained --count 10000
    agentkit synth traces explained --count 10000 --pairs --parquet
    agentkit synth traces dates --family dates --family tables --difficulty 3 --count 500
    agentkit synth traces taught --teacher ./llama-3.2-3b.gguf --samples 8 --count 200
    """,
)


@click.command()
@click.argument("kind")
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, metavar="N", help="Rows.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of the data set.")
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the data set, for instance difficulty=[3].",
)
@json_option
def preview(kind: str, count: int, seed: int, given: tuple[str, ...], as_json: bool) -> None:
    """Print the first rows that a data set of KIND would have: traces, or tools.

    Nothing is written. The rows are those that the data set of this seed begins with.

    \b
    agentkit synth preview traces
    agentkit synth preview traces --set 'families=["dates"]' --set difficulty=[3] --count 3
    agentkit synth preview tools --seed 7 --json
    """
    from agentkit_synthesis.dataset.kinds import KINDS, options_of
    from agentkit_synthesis.dataset.looking import preview as rows_of

    options = options_of(kind, dict(_parsed(one) for one in given))
    rows = rows_of(KINDS[kind].source, options, seed, count)
    if as_json:
        document("synth preview", rows)
        return
    for number, one in enumerate(rows):
        if number:
            click.echo()
        _show(one)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("id")
@json_option
def row(folder: Path, id: str, as_json: bool) -> None:
    """Make the row ID of the data set in FOLDER again, and print it.

    A row needs nothing but its id and the folder's manifest; the files with the rows may be gone.

    \b
    agentkit synth row explained traces-0-17
    agentkit synth row explained traces-0-17 --json
    """
    from agentkit_synthesis.dataset.looking import row as made_again

    found = made_again(folder, id)
    if as_json:
        document("synth row", found)
    else:
        _show(found)


def _parsed(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _show(found: Mapping[str, Any]) -> None:
    """Print a row: what it is on stderr, what is said in it on stdout."""
    say(f"{found['id']}  " + "  ".join(f"{name} {found[name]}" for name in SHOWN if name in found))
    if found.get("tools"):
        click.echo(f"[tools] {', '.join(tool.get('function', tool)['name'] for tool in found['tools'])}")
    for message in found["messages"]:
        click.echo(f"[{message['role']}] {clean(_said(message))}")


def _said(message: Mapping[str, Any]) -> str:
    calls = [call.get("function", call) for call in message.get("tool_calls") or ()]
    told = [f"{call.get('name')}({_text(call.get('arguments', {}))})" for call in calls]
    return "\n".join([*filter(None, [message.get("content") or ""]), *told])


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
