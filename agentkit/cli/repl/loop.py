"""The chat's loop: read a line, do it, show it.

Ctrl-C stops what runs and keeps the chat; a second one, with nothing typed in between, leaves with 130.
Ctrl-D leaves with 0. An error is one line, and the chat goes on; what was done is in the store.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.styles import Style
from rich.console import Console
from rich.text import Text

from agentkit import config
from agentkit.cli.interrupts import INTERRUPTED, TERMINATED, Interrupts
from agentkit.cli.lines import fold
from agentkit.cli.options import AgentFlags
from agentkit.cli.output import clean
from agentkit.cli.repl import slash
from agentkit.cli.repl.complete import Words, without_marks
from agentkit.cli.repl.pictures import dropped
from agentkit.cli.repl.screen import Screen
from agentkit.cli.session import Asker, open_agent, run_for, settings_for, thread_for
from agentkit.errors import AgentkitError
from agentkit.protocols import Request
from agentkit.runs import refuse_unsupported
from agentkit.types import ImagePart, RunResult, Task, TextPart

SHOWN_BEFORE = 3  # exchanges of an older conversation that are shown when it goes on
_STYLE = Style.from_dict({"bottom-toolbar": "noreverse fg:ansibrightblack", "prompt": "bold"})


class Chat:
    """One chat: the agent, the conversation it is in, and what is on the screen."""

    def __init__(self, flags: AgentFlags, console: Console) -> None:
        self.flags, self.console = flags, console
        self.screen = Screen(console)
        self.settings = settings_for(flags)
        self._interrupts: Interrupts | None = None
        self._ask = Asker(lambda: self._interrupts, before=self.screen.pause)
        self.agent = open_agent(flags, self.settings, ask=self._ask)
        self.thread_id = _new_id()
        self.images: list[ImagePart] = []  # that go with the next message

    # ── what slash commands change ──

    def use_model(self, name: str) -> None:
        """Go on with another model; the old one stays if the new one does not load."""
        flags = replace(self.flags, model=name)
        self._replace(flags, settings_for(flags), keep_engine=False)
        self.console.print(Text(f"now {self.agent.engine.capabilities.model}", style="dim"))

    def use_mode(self, mode: str) -> None:
        """Change when a person is asked about calls."""
        flags = replace(self.flags, approval_mode=mode)
        self._replace(flags, settings_for(flags), keep_engine=True)
        self.console.print(Text(f"mode {mode}", style="dim"))

    def use_thread(self, thread_id: str) -> None:
        """Go on with another conversation and show its end."""
        self.thread_id = thread_id
        self.screen.tokens = 0
        for run in reversed(self.agent.store.runs(limit=SHOWN_BEFORE, thread_id=thread_id)):
            self.console.print(Text(f"> {fold(str(run.get('task', '')), limit=400)}", style="dim"))
            self.console.print(Text(clean(str(run.get("answer") or "(unfinished)")), style="dim"))

    def add_images(self, images: Sequence[ImagePart]) -> None:
        """Have pictures go with the next message.

        Raises:
            UnsupportedPart: the model cannot see.
        """
        refuse_unsupported(Task(parts=(*images,)), self.agent.engine.capabilities)
        self.images += images
        for image in images:
            name = image.path.name if image.path is not None else str(image.url)
            self.console.print(Text(f"{clean(name)} goes with the next message", style="dim"))

    def new_thread(self) -> None:
        """Start a new conversation."""
        self.thread_id = _new_id()
        self.screen.tokens = 0

    def count(self) -> tuple[int, int, int]:
        """Return the tokens of the next prompt, those of its tools, and how many messages it has."""
        state = self.agent.graph.get_state({"configurable": {"thread_id": self.thread_id}})
        messages = state.values.get("messages", [])
        engine, specs = self.agent.engine, self.agent.tools.specs
        total = engine.count(Request(messages=messages, tools=specs))
        return total, total - engine.count(Request(messages=messages)), len(messages)

    # ── doing ──

    def say(self, text: str) -> None:
        """Give the agent a task in this conversation."""
        words = TextPart(text=without_marks(text, self.agent.workspace))
        task, self.images = Task(parts=(words, *self.images)), []
        self._turn(lambda stop: self.agent.run(task, thread_id=self.thread_id, on_event=self.screen, cancel=stop.flag))

    def resume(self, run: str) -> None:
        """Finish an unfinished run, and stay in its conversation."""
        whole = run_for(replace(self.flags, resume=run), self.agent.store)
        result = self._turn(lambda stop: self.agent.resume(whole, on_event=self.screen, cancel=stop.flag))
        self.thread_id = result.thread_id

    def status(self) -> FormattedText:
        """Return the line under the prompt: model, mode, context, thread."""
        able = self.agent.engine.capabilities
        used = f"ctx {self.screen.tokens or '-'}/{able.context}"
        parts = (able.model, self.settings.policy.mode, used, f"thread {self.thread_id[:8]}", "/help")
        return FormattedText([("class:bottom-toolbar", " · ".join(parts))])

    def close(self) -> None:
        """Free the model and the database."""
        self.agent.close()

    def _turn(self, work: Callable[[Interrupts], RunResult]) -> RunResult:
        with Interrupts() as self._interrupts:
            stop = self._interrupts
            try:
                with self.screen.turn():
                    result = work(stop)
            finally:
                self._interrupts = None
        self.screen.ended(result)
        self.console.print()
        if stop.terminated:
            raise SystemExit(stop.exit_code)
        if stop.flag.is_set():
            raise KeyboardInterrupt
        return result

    def _replace(self, flags: AgentFlags, settings: config.Settings, *, keep_engine: bool) -> None:
        agent = open_agent(flags, settings, ask=self._ask, engine=self.agent.engine if keep_engine else None)
        agent.engine  # noqa: B018  loads it now: if that fails, nothing has changed
        if not keep_engine:
            self.agent.engine.close()
        self.agent.store.close()
        self.agent, self.flags, self.settings = agent, flags, settings


def chat(flags: AgentFlags) -> int:
    """Talk until the person leaves; return the exit status."""
    console = Console(
        file=sys.stdout, highlight=False
    )  # the terminal itself, whatever stands in for it while a tool runs
    signal.signal(signal.SIGTERM, _terminated)
    talk = Chat(flags, console)
    try:
        _begin(talk)
        return _loop(talk)
    finally:
        talk.close()


def _begin(talk: Chat) -> None:
    """Load the model and find the conversation, so that whatever is wrong is said before the first prompt."""
    moving = talk.console.is_terminal and not talk.console.is_dumb_terminal
    if moving:
        with talk.console.status(f"loading {talk.settings.engine.model}"):
            able = talk.agent.engine.capabilities
    else:
        able = talk.agent.engine.capabilities
    tools = len(talk.agent.tools.specs)
    talk.console.print(Text(f"agentkit · {able.model} · {tools} tools · /help", style="bold"))
    if able.model == "sprout":
        talk.console.print(Text(_limits(), style="dim"))
    if talk.flags.resume:
        talk.resume(talk.flags.resume)
        return
    thread = thread_for(talk.flags, talk.agent.store)
    if thread is not None:
        talk.use_thread(thread)


def _limits() -> str:
    """Return one honest line about the embedded model, and the way to a bigger one."""
    from agentkit.models.names import SUGGESTED

    return (
        "sprout is tiny: it picks tools and reports what they give, and cannot talk about the world. "
        f"For that: agentkit models pull {next(iter(SUGGESTED))}"
    )


def _loop(talk: Chat) -> int:
    session = _session(talk)
    interrupted = False
    while True:
        try:
            line = session.prompt([("class:prompt", "> ")]).strip()
            interrupted = interrupted and not line
            images, rest = dropped(line)
            if images and (not rest or talk.agent.engine.capabilities.images):
                talk.add_images(images)
                line = rest
            if not images and (line.startswith("/") or line == "?"):
                slash.dispatch(talk, line)
            elif line:
                talk.say(line)
        except AgentkitError as error:
            talk.console.print(Text(" ".join(clean(str(error)).split()), style="red"))
        except KeyboardInterrupt:
            if interrupted:
                return INTERRUPTED
            interrupted = True
            talk.console.print(Text("Ctrl-C again to leave", style="dim"))
        except EOFError:
            return 0


def _session(talk: Chat) -> PromptSession[str]:
    commands = {name: command.what for name, command in slash.COMMANDS.items()}
    return PromptSession(
        history=_history(),
        completer=Words(commands, slash.words(talk), talk.agent.workspace),
        complete_while_typing=False,
        key_bindings=_keys(),
        multiline=True,
        prompt_continuation=lambda width, *_: "." * (width - 1) + " ",
        bottom_toolbar=talk.status,
        style=_STYLE,
        enable_open_in_editor=True,
    )


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _history() -> History:
    """Return the history file, readable by its owner only; one in memory where it cannot be written."""
    path = Path(config.data_dir()) / "chat_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND, 0o600))
    except OSError as error:
        sys.stderr.write(f"agentkit: {path}: cannot be written ({error.strerror}); this chat's history is not kept\n")
        return InMemoryHistory()
    return FileHistory(str(path))


def _terminated(number: int, frame: FrameType | None) -> None:
    """Leave by way of everybody's `finally`, so that the terminal is as it was."""
    raise SystemExit(TERMINATED)


def _new_id() -> str:
    return uuid.uuid4().hex[:16]
