"""Programs from an allow-list, one at a time, without a shell."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence

from agentkit.protocols import ToolContext
from agentkit.tools import decode, scrubbed, tool
from agentkit.types import Done, Failed, Outcome
from agentkit_basics.process import Completed, run_program
from agentkit_basics.settings import BasicsSettings

TIMEOUT_S = 60.0


@tool(
    effect="irreversible",
    timeout_s=TIMEOUT_S,
    failure_is_data=True,
    sinks=("command",),
    grounded={"command": "words"},
    keywords=("terminal execute bash",),
)
def run_command(command: str, context: ToolContext) -> Outcome:
    """Run a shell command.

    Args:
        command: a program with its arguments; pipes, redirections and variables are not understood.
    """
    settings = BasicsSettings.of(context.settings)
    words = split(command)
    if isinstance(words, Failed):
        return words
    name, *arguments = words
    if name not in settings.commands:
        near = difflib.get_close_matches(name, settings.commands, 1, 0.6)
        hint = f"did you mean '{near[0]}'?" if near else f"allowed are: {', '.join(settings.commands) or 'none'}"
        return Failed(text=f"the program '{name}' is not allowed; {hint}", kind="denied")
    if (acting := _acting(name, arguments)) and f"{name} {acting}" not in settings.commands:
        return Failed(
            text=f"{name} {acting} starts or changes something, and {name} is allowed to look; name the program that "
            f"does it, or allow '{name} {acting}' in policy.commands",
            kind="denied",
        )
    program = shutil.which(name, path=scrubbed(os.environ)["PATH"])
    if program is None:
        return Failed(text=f"the program '{name}' is not installed here")
    try:
        completed = run_program(
            os.path.abspath(program),  # noqa: PTH100  a link (busybox) must keep its name
            arguments,
            cwd=context.workspace,
            deadline=context.deadline or time.monotonic() + TIMEOUT_S,
            cancel=context.cancel,
            max_bytes=settings.max_command_bytes,
            child=context.child,
            confine=context.confine,
        )
    except (OSError, ValueError) as error:
        return Failed(text=f"'{name}' could not be started: {error}")
    return _outcome(name, completed, settings)


# Programs that look, and the options by which they start others, or write.
_ACTING: Mapping[str, tuple[str, ...]] = {
    "find": ("-exec", "-execdir", "-ok", "-okdir", "-delete", "-fprint", "-fprint0", "-fprintf", "-fls"),
    "sort": ("-o", "--output", "--compress-program"),
    "date": ("-s", "--set"),
    "file": ("-C", "--compile"),
    "hostname": ("-b", "-F", "--boot", "--file"),
}
_ONE_NAME = {"hostname": 0, "uniq": 1}  # program: names that it may be given; one more is what it writes


def _acting(name: str, arguments: Sequence[str]) -> str:
    """Return the option, or the name, by which a program that looks would do something else; empty if there is none."""
    options = _ACTING.get(name, ())
    for word in arguments:
        if word.startswith("--"):
            given = word.partition("=")[0]  # may be shortened
            found = next((one for one in options if len(given) > 3 and one.startswith(given)), "")
        elif name == "find":
            found = word if word in options else ""
        else:  # letters stand together: -uo
            found = next((one for one in options if len(one) == 2 and word[:1] == "-" and one[1] in word[1:]), "")
        if found:
            return found
    names = [word for word in arguments if not word.startswith("-")]
    return names[_ONE_NAME[name]] if name in _ONE_NAME and len(names) > _ONE_NAME[name] else ""


def split(command: str) -> list[str] | Failed:
    """Return the words of `command`, or why it cannot be run without a shell."""
    if "\x00" in command or "\n" in command.strip():
        return Failed(text="a command is one line; run one program at a time", kind="invalid")
    if operator := _shell_operator(command):
        return Failed(text=f"'{operator}' needs a shell, and there is none; run one program at a time", kind="invalid")
    try:
        words = shlex.split(command)
    except ValueError as error:
        return Failed(text=f"the command cannot be read ({str(error).lower()}); close the quotes", kind="invalid")
    return words or Failed(text="the command is empty; name a program", kind="invalid")


def _shell_operator(command: str) -> str:
    """Return the first shell operator that stands outside quotes, or nothing."""
    bare = re.sub(r"\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\"", " ", command)
    found = re.search(r"[();<>|&]+", bare)
    return found[0] if found else ""


def _outcome(name: str, completed: Completed, settings: BasicsSettings) -> Outcome:
    text = decode(completed.output).strip()
    if completed.ended == "timeout":
        return Failed(text=f"'{name}' did not finish in time and was stopped\n{text}".strip(), kind="timeout")
    if completed.ended == "cancelled":
        return Failed(text=f"'{name}' was stopped: cancelled\n{text}".strip())
    if completed.ended == "flood":
        return Failed(
            text=f"'{name}' wrote more than {settings.max_command_bytes:,} bytes and was stopped\n{text}".strip()
        )
    if completed.status < 0:
        return Failed(text=f"'{name}' was ended by signal {-completed.status}\n{text}".strip())
    if completed.status:
        return Failed(text=f"exit status {completed.status}\n{text}".strip())
    return Done(text=text or "(no output)", data={"exit_status": 0})
