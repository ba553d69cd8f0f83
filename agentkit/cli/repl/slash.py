"""The slash commands: each a small function of the chat and the words after it."""

from __future__ import annotations

import base64
import difflib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from agentkit.cli.lines import call_text, fold
from agentkit.cli.output import clean
from agentkit.cli.repl.pictures import named
from agentkit.cli.threads import ago
from agentkit.cli.trees import last_plan, no_tree, planned_by, tree_of
from agentkit.errors import UsageError

if TYPE_CHECKING:
    from agentkit.cli.repl.loop import Chat

MODES = ("manual", "auto", "yolo")
ALIASES = {"/?": "/help", "?": "/help", "/quit": "/exit", "/q": "/exit", "/tokens": "/context", "/cp": "/copy"}


@dataclass(frozen=True, slots=True)
class Slash:
    """One command: what it is for, and what it does."""

    usage: str
    what: str
    act: Callable[[Chat, str], None]


def dispatch(chat: Chat, line: str) -> None:
    """Carry out a line that begins with a slash.

    Raises:
        UsageError: there is no such command, or its words do not fit.
        EOFError: it is the one that leaves.
    """
    name, _, rest = line.strip().partition(" ")
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1, 0.4)
        raise UsageError(f"there is no command {name}; " + (f"did you mean {near[0]}?" if near else "see /help"))
    COMMANDS[name].act(chat, rest.strip())


def words(chat: Chat) -> Mapping[str, Callable[[], tuple[str, ...]]]:
    """Return what may follow which command, for completion."""
    return {
        "/mode": lambda: MODES,
        "/tools": lambda: tuple(spec.name for spec in chat.agent.tools.specs),
        "/plan": lambda: tuple(
            str(tree["turn"]) for run in _last_run(chat) for tree in chat.agent.store.trees(run["run_id"])
        ),
        "/show": lambda: tuple(str(n + 1) for n in range(len(chat.screen.results))),
        "/threads": lambda: tuple(str(row["thread_id"]) for row in chat.agent.store.threads(limit=10)),
    }


def _help(chat: Chat, _: str) -> None:
    table = _grid()
    for command in COMMANDS.values():
        table.add_row(Text(command.usage, style="bold"), command.what)
    chat.console.print(table)
    keys = "Enter sends · Esc-Enter new line · Tab completes /commands and @files · Ctrl-C stops, twice leaves · Ctrl-D leaves"
    chat.console.print(Text(keys, style="dim"))


def _tools(chat: Chat, name: str) -> None:
    if name:
        tool = chat.agent.tools.get(name)
        if tool is None:
            raise UsageError(f"there is no tool {name}; /tools lists them")
        rules = tool.spec.rules
        chat.console.print(Text(f"{tool.name}: {tool.spec.description}", style="bold"))
        for argument, schema in tool.spec.parameters.get("properties", {}).items():
            chat.console.print(Text(f"  {argument}: {schema.get('type', 'any')}  {schema.get('description', '')}"))
        chat.console.print(Text(f"  {rules.effect.value}, at most {rules.timeout_s:g} s", style="dim"))
        return
    table = _grid()
    for spec in chat.agent.tools.specs:
        effect = spec.rules.effect.value + (", network" if spec.rules.egress else "")
        table.add_row(Text(spec.name, style="bold"), Text(effect, style="dim"), spec.description)
    chat.console.print(table if chat.agent.tools.specs else Text("no tools"))


def _model(chat: Chat, name: str) -> None:
    if name:
        chat.use_model(name)
        return
    able = chat.agent.engine.capabilities
    facts = {
        "model": able.model,
        "context": f"{able.context} tokens",
        "dialect": able.dialect or "-",
        "constrained": "tool calls cannot be malformed" if able.constrained else "checked after decoding",
        "sha256": able.fingerprint[:16] or "-",
    }
    _facts(chat, facts)


def _context(chat: Chat, _: str) -> None:
    total, tools, said = chat.count()
    size = chat.agent.engine.capabilities.context
    _facts(
        chat,
        {
            "used": f"{total} of {size} tokens ({total / size:.0%})",
            "tools": f"{tools} ({len(chat.agent.tools.specs)} of them)",
            "conversation": f"{total - tools} in {said} messages",
            "free": str(max(0, size - total)),
            "last reused": f"{chat.screen.reused} of {chat.screen.tokens}",
        },
    )


def _threads(chat: Chat, which: str) -> None:
    rows = chat.agent.store.threads(limit=10)
    if which:
        number = int(which) if which.isdigit() and len(which) < 3 else None
        if number is not None and 1 <= number <= len(rows):
            chat.use_thread(str(rows[number - 1]["thread_id"]))
        else:
            from agentkit.cli.threads import whole_id

            chat.use_thread(whole_id(chat.agent.store, which))
        return
    table = _grid()
    for n, row in enumerate(rows, 1):
        mark = "*" if row["thread_id"] == chat.thread_id else str(n)
        table.add_row(mark, str(row["thread_id"])[:8], ago(row["last_at"]), fold(str(row.get("task") or "")))
    chat.console.print(table if rows else Text("no conversations yet"))


def _mode(chat: Chat, mode: str) -> None:
    if not mode:
        _facts(chat, {"mode": chat.settings.policy.mode})
    elif mode not in MODES:
        raise UsageError(f"there is no mode {mode}; one of {', '.join(MODES)}")
    else:
        chat.use_mode(mode)


def _show(chat: Chat, number: str) -> None:
    results = chat.screen.results
    if not results:
        raise UsageError("no tool has been called yet")
    which = int(number) if number.isdigit() else len(results) if not number else 0
    if not 1 <= which <= len(results):
        raise UsageError(f"there is no result {number}; 1 to {len(results)}")
    step = results[which - 1]
    chat.console.print(Text(call_text(step.tool, step.arguments, limit=10_000), style="bold"))
    chat.console.print(Text(clean(step.result)))


def _plan(chat: Chat, turn: str) -> None:
    from agentkit.cli.treeview.reading import read
    from agentkit.cli.treeview.terminal import drawn

    store, runs = chat.agent.store, _last_run(chat)
    if not runs:
        raise UsageError("nothing has been planned in this conversation yet")
    if turn and not turn.isdecimal():
        raise UsageError(f"/plan takes the number of a turn, not {turn}")
    if not store.trees(runs[0]["run_id"]):
        chat.console.print(Text(f"no search: {no_tree(store, runs[0])}", style="dim"))
        return
    tree = tree_of(store, runs[0], int(turn) if turn else None)
    chat.console.print(drawn(read(tree)))
    plan = last_plan(store, str(runs[0]["run_id"]))
    if not turn and plan and plan.get("why") != tree.get("why"):
        chat.console.print(Text(f"the last step was not searched: {planned_by(plan)}", style="dim"))


def _last_run(chat: Chat) -> list[Mapping[str, Any]]:
    """Return the conversation's last run, if there is one."""
    return list(chat.agent.store.runs(limit=1, thread_id=chat.thread_id))


def _last(chat: Chat, _: str) -> None:
    chat.console.print(Markdown(chat.screen.answer) if chat.screen.answer else Text("no answer yet", style="dim"))


def _copy(chat: Chat, _: str) -> None:
    if not chat.screen.answer:
        raise UsageError("there is no answer to copy yet")
    encoded = base64.b64encode(chat.screen.answer.encode()).decode()
    sys.stdout.write(f"\x1b]52;c;{encoded}\x07")  # the terminal's own clipboard, also over ssh
    sys.stdout.flush()
    chat.console.print(Text("sent to the terminal's clipboard", style="dim"))


def _image(chat: Chat, which: str) -> None:
    if which == "-":
        chat.images.clear()
    elif which:
        chat.add_images(named(which, chat.agent.workspace))
        return
    shown = [str(image.url or image.path) for image in chat.images]
    chat.console.print(Text("\n".join(map(clean, shown)) or "no pictures go with the next message", style="dim"))


def _resume(chat: Chat, run: str) -> None:
    if not run:
        raise UsageError("say which run, as in /resume 8c1e; `agentkit runs list` shows them")
    chat.resume(run)


def _clear(chat: Chat, _: str) -> None:
    chat.console.clear()
    chat.new_thread()


def _exit(chat: Chat, _: str) -> None:
    raise EOFError


def _grid() -> Table:
    return Table.grid(padding=(0, 2, 0, 0))


def _facts(chat: Chat, facts: Mapping[str, Any]) -> None:
    table = _grid()
    for name, value in facts.items():
        table.add_row(Text(name, style="dim"), Text(str(value)))
    chat.console.print(table)


COMMANDS: dict[str, Slash] = {
    "/help": Slash("/help", "this list", _help),
    "/tools": Slash("/tools [NAME]", "the tools, or one of them", _tools),
    "/model": Slash("/model [NAME]", "the model, or change it", _model),
    "/mode": Slash("/mode [manual|auto|yolo]", "when calls are asked about", _mode),
    "/context": Slash("/context", "what fills the model's context", _context),
    "/threads": Slash("/threads [N]", "the last conversations, or go on with one", _threads),
    "/image": Slash("/image [FILE|-]", "a picture for the next message, which ones there are, or none", _image),
    "/resume": Slash("/resume RUN", "finish a run that was stopped", _resume),
    "/show": Slash("/show [N]", "the whole result of a call", _show),
    "/plan": Slash("/plan [TURN]", "how the last step was chosen: what was searched, and why the winner won", _plan),
    "/last": Slash("/last", "the last answer again", _last),
    "/copy": Slash("/copy", "the last answer to the clipboard", _copy),
    "/clear": Slash("/clear", "a new conversation", _clear),
    "/exit": Slash("/exit", "leave", _exit),
}
