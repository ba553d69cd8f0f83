"""`agentkit run`: one task, its answer on stdout, its end in the exit status."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentkit.cli.group import HELP_NAMES, terminals
from agentkit.cli.options import AgentFlags, agent_options, image_part
from agentkit.errors import Cancelled, UsageError
from agentkit.types import TextPart

if TYPE_CHECKING:
    from agentkit.agent import Agent
    from agentkit.cli.interrupts import Interrupts
    from agentkit.types import Part, RunResult, Task


@click.command(context_settings=HELP_NAMES)
@click.argument("task", required=False)
@click.option("-f", "--file", "file", metavar="FILE", help="Read the task from a file; - is standard input.")
@click.option(
    "--output-format",
    "form",
    type=click.Choice(["text", "json", "stream-json"]),
    default="text",
    show_default=True,
    help="The answer alone, one JSON document, or one JSON line an event.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --output-format json.")
@click.option(
    "--check",
    metavar="COMMAND",
    help="A shell command that reads the answer and must exit 0 for the task to count as done.",
)
@click.option("--image", "images", metavar="FILE", multiple=True, help="A picture of the task, or its URL; repeatable.")
@click.option("--schema", metavar="FILE", help="A JSON Schema; the answer is data of that shape.")
@agent_options
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def command(
    task: str | None,
    file: str | None,
    form: str,
    as_json: bool,
    check: str | None,
    images: tuple[str, ...],
    schema: str | None,
    quiet: bool,
    flags: AgentFlags,
) -> int:
    """Do one task and print the answer.

    TASK is what to do; - reads it from standard input. The answer is all that goes to stdout. The exit
    status says how it ended: 0 done, 1 not achieved, 2 wrong usage, 3 settings or model, 4 the model
    failed, 5 not allowed, 6 a loop, 7 too long for the model, 8 needs a person, 124 out of budget, 130 cancelled.

    \b
    agentkit run "What is 15% of 200?"
    agentkit run "add up the numbers in numbers.txt" --json
    agentkit run "what colour is the shoe?" --image shoe.jpg
    git diff | agentkit run -f - --max-turns 5 --timeout 60
    agentkit run "make the tests pass" --check "pytest -q" --allow-tool write_file
    """
    form = "json" if as_json else form
    words = None if flags.resume else read_task(task, file)
    if flags.resume and (task or file or images):
        raise click.UsageError("--resume finishes the task that the run was given; leave the new one out")
    interactive = terminals(sys.stdin, sys.stderr) and flags.on_approval is None and form == "text"
    parts: tuple[Part, ...] = () if words is None else (TextPart(text=words), *map(image_part, images))
    return _run(flags, parts, check, schema, form, quiet=quiet, interactive=interactive)


def read_task(task: str | None, file: str | None) -> str:
    """Return the task's text from the argument, a file or standard input; never waits for a terminal."""
    if task is not None and file is not None and task != "-":
        raise click.UsageError("a task and -f were both given; use one")
    source = file if file is not None else task
    if source is None:
        raise click.UsageError("there is no task; say it in quotes, or use -f FILE, or - for standard input")
    text = source
    if source == "-":
        text = _from_stdin()
    elif file is not None:
        text = _from_file(Path(file))
    if not text.strip():
        raise click.UsageError("the task is empty; say what to do")
    return text.strip()


def _from_stdin() -> str:
    if sys.stdin is None or sys.stdin.closed:
        raise click.UsageError("standard input is closed; say the task in quotes, or use -f FILE")
    if sys.stdin.isatty():
        raise click.UsageError("- reads the task from a pipe, and there is none; say the task in quotes")
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"standard input cannot be read as UTF-8 text ({error}); convert it first") from error


def _from_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text; convert it first") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the path given to -f") from error


def _read_schema(name: str) -> dict[str, Any]:
    try:
        schema = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{name}: cannot be read ({error.strerror}); check the path given to --schema") from error
    except ValueError as error:
        raise UsageError(f"{name}: not JSON ({error}); mend the schema") from error
    if not isinstance(schema, dict):
        raise UsageError(f"{name}: a JSON Schema is an object, and this is a {type(schema).__name__}; mend the schema")
    return schema


def _run(
    flags: AgentFlags,
    parts: tuple[Part, ...],
    check: str | None,
    schema: str | None,
    form: str,
    *,
    quiet: bool,
    interactive: bool,
) -> int:
    from agentkit.cli.interrupts import Interrupts
    from agentkit.cli.output import keep_stdout
    from agentkit.cli.session import Asker, open_agent, settings_for
    from agentkit.cli.watch import listener
    from agentkit.types import Task

    keep_stdout()
    output_schema = _read_schema(schema) if schema else None
    settings = settings_for(flags)
    interrupts = Interrupts(notice="agentkit: stopping; Ctrl-C again to leave at once")
    ask = Asker(lambda: interrupts) if interactive else None
    listens = listener(form, quiet=quiet)
    with open_agent(flags, settings, ask=ask) as agent, interrupts:
        task = Task(parts=parts, check=check, output_schema=output_schema) if parts else None
        try:
            result = _drive(agent, flags, task, listens, interrupts)
        except (Cancelled, KeyboardInterrupt) as error:
            early = Cancelled("cancelled before the run began; nothing was done")
            early.exit_code = interrupts.exit_code
            raise early from error
    cancelled = interrupts.flag.is_set() and result.exit_code == Cancelled.exit_code
    code = interrupts.exit_code if cancelled else result.exit_code
    listens.ended(result, code)
    return code


def _drive(agent: Agent, flags: AgentFlags, task: Task | None, listens: Any, interrupts: Interrupts) -> RunResult:
    from agentkit.cli.session import run_for, thread_for

    if task is None:
        return agent.resume(run_for(flags, agent.store), on_event=listens, cancel=interrupts.flag)
    asked = flags.last_thread or flags.thread is not None
    thread = thread_for(flags, agent.store) if asked else None
    return agent.run(task, thread_id=thread, on_event=listens, cancel=interrupts.flag)
