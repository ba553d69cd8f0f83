"""The command line: `main`, and nothing that takes time to import.

Whatever happens, a script sees one line on stderr and the right exit status, never a traceback: errors of
agentkit carry their own status, a wrong command line is 2, Ctrl-C is 130, a closed pipe is 141, and
anything unforeseen is 70. With a JSON output format the failure is a JSON document on stdout as well.
`AGENTKIT_LOG_LEVEL=debug` shows the traceback.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from agentkit.errors import AgentkitError

USAGE, INTERNAL, INTERRUPTED, PIPE_CLOSED = 2, 70, 130, 141


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit with its status."""
    words = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    _start_logging()
    try:
        code = _run(words)
    except BrokenPipeError:
        code = PIPE_CLOSED
    sys.exit(_flushed(code))


def _flushed(code: int) -> int:
    """Write what is left of stdout; return the status, which changes if that fails."""
    try:
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        code = PIPE_CLOSED
    except OSError as error:
        if not code:  # else it has been said
            sys.stderr.write(f"agentkit: standard output cannot be written: {error.strerror}; make room\n")
            code = INTERNAL
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the interpreter's own flush is quiet
    return code


def _run(words: list[str]) -> int:
    """Run the command; turn whatever it raises into a status."""
    from agentkit.cli.group import PipeClosed, cli

    try:
        code = cli.main(args=list(words), prog_name="agentkit", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except PipeClosed as error:
        raise BrokenPipeError from error
    except AgentkitError as error:
        return _failed(words, str(error), type(error).__name__, error.exit_code, error)
    except click.UsageError as error:
        return _failed(words, _usage_text(error), "UsageError", USAGE, error)
    except click.ClickException as error:
        return _failed(words, error.format_message(), "UsageError", USAGE, error)
    except (KeyboardInterrupt, click.Abort) as error:
        return _failed(words, "interrupted", "Cancelled", INTERRUPTED, error)
    except OSError as error:
        text = f"{error.filename or 'output'}: {error.strerror or error}; check the disk and the permissions"
        return _failed(words, text, "OSError", INTERNAL, error)
    except Exception as error:  # noqa: BLE001  the last door before a traceback
        text = f"{type(error).__name__}: {error}; run with AGENTKIT_LOG_LEVEL=debug for the traceback"
        return _failed(words, text, "InternalError", INTERNAL, error)


def _failed(words: list[str], text: str, kind: str, code: int, error: BaseException) -> int:
    line = " ".join(text.split())
    if _debugging():
        import traceback

        traceback.print_exception(error)
    sys.stderr.write(f"agentkit: {line}\n")
    form = _json_format(words)
    if form:
        import json

        command = _command(words)
        document = {
            "schema_version": 1,
            "command": command,
            "data": None,
            "error": {"kind": kind, "message": line, "exit_code": code},
        }
        if form == "stream-json":
            document = {"schema_version": 1, "type": "error", **document}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    return code


def _usage_text(error: click.UsageError) -> str:
    text = error.format_message().rstrip(".")
    where = error.ctx.command_path if error.ctx is not None else "agentkit"
    if isinstance(error, click.NoSuchOption):
        from difflib import get_close_matches

        known = sorted(error.possibilities or ())
        near = get_close_matches(error.option_name, known, 1, 0.3) or known[:1]
        text = f"unknown option {error.option_name}"
        if near:
            text += f"; did you mean {near[0]}?"
        elif where == "agentkit":
            text += "; options come after the command, as in: agentkit run -m sprout 'a task'"
    return f"{text} (see: {where} --help)"


def _command(words: list[str]) -> str:
    """Return the command as the JSON of its success would name it: a noun with its verb."""
    from agentkit.cli.group import COMMANDS, NOUNS, nested

    said = [word for word in words[:2] if not word.startswith("-")]
    if not said:
        return "chat"
    if said[0] not in COMMANDS:
        return " ".join(nested(words)) or said[0]
    return " ".join(said) if said[0] in NOUNS and words[0] == said[0] else said[0]


def _json_format(words: list[str]) -> str:
    """Return the JSON format asked for on this command line, if any; it may be one that does not parse."""
    form = ""
    for n, word in enumerate(words):
        if word == "--":
            break
        if word == "--json":
            form = "json"
        elif word == "--output-format":
            form = words[n + 1] if n + 1 < len(words) else form
        elif word.startswith("--output-format="):
            form = word.partition("=")[2]
    return form if form in {"json", "stream-json"} else ""


def _debugging() -> bool:
    return os.environ.get("AGENTKIT_LOG_LEVEL", "").lower() == "debug"


def _start_logging() -> None:
    level = os.environ.get("AGENTKIT_LOG_LEVEL", "").upper()
    if level in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        import logging

        logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")


def _prepare_streams() -> None:
    """Make stdout and stderr take any text, and what the caller closed go nowhere, not into a file of ours."""
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)  # takes the free descriptor; `sys.stdin` still says that it is closed
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  for the life of the process
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  for the life of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
