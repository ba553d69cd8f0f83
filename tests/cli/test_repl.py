"""The chat in a real terminal (tmux), on scripted models."""

import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from agentkit.store.sql import SqliteStore

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: no terminal to type into")

WIDTH, HEIGHT, PATIENCE_S = 110, 40, 30.0


class Terminal:
    """A terminal with the chat in it."""

    def __init__(self, agentkit, *words: str) -> None:
        self._socket = f"agentkit-{uuid.uuid4().hex[:8]}"
        command = " ".join(map(shlex.quote, agentkit.command(*words)))
        environment = " ".join(f"{k}={shlex.quote(v)}" for k, v in agentkit.environment().items() if k != "TERM")
        line = (
            f"trap : INT; cd {shlex.quote(str(agentkit.work))} && env {environment} {command}; echo STATUS $?; sleep 60"
        )
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT), "sh", "-c", line)

    def type(self, text: str, *, enter: bool = True, prompt: bool = True) -> None:
        """Type at the chat's prompt, or, without `prompt`, at a question."""
        if prompt:
            self.ready()
        self._tmux("send-keys", "-l", text)
        if enter:
            self.press("Enter")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-J", "-S", "-200")

    def wait(self, text: str, *, again: Callable[[str], bool] = lambda _: True) -> str:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            shown = self.screen()
            if text in shown and again(shown):
                return shown
            time.sleep(0.05)
        raise AssertionError(f"{text!r} did not appear on:\n{self.screen()}")

    def ready(self) -> str:
        """Wait for the prompt: only then the status line is there. What is typed before may be lost."""
        return self.wait(" · ctx ")

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], capture_output=True, check=False)

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-L", self._socket, *words], capture_output=True, text=True, check=True)
        return done.stdout


@pytest.fixture
def terminal(agentkit) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(agentkit, *words))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def call(tool: str, **arguments: object) -> dict[str, object]:
    return {"call": {"tool": tool, "arguments": arguments}}


def test_a_call_and_its_answer_are_shown(terminal, script) -> None:
    steps = (call("calculator", expression="15% of 200"), {"final": "It is **30**.\n\nAnything else?", "seconds": 1})
    chat = terminal("chat", "-m", script(*steps))
    chat.type("What is 15% of 200?")
    chat.wait("It is ")  # while it comes
    shown = chat.wait("Anything else?")
    assert '● calculator(expression="15% of 200")' in shown
    assert "→ 30" in shown
    shown = chat.ready()
    assert "It is 30." in shown
    assert shown.count("Anything else?") == 1  # redrawn, never repeated
    chat.ready()
    chat.press("C-d")
    chat.wait("STATUS 0")


def test_slash_commands(terminal, agentkit, script) -> None:
    (agentkit.work / "long.txt").write_text("\n".join(f"line {n}" for n in range(1, 8)))
    model = script(call("read_file", path="long.txt"), {"final": "Seven lines."})
    chat = terminal("chat", "-m", model)
    chat.type("/tools")
    chat.wait("calculator")
    chat.type("/tols")
    chat.wait("did you mean /tools?")
    chat.type("read @long.txt")
    chat.wait("/show 1")
    chat.wait("Seven lines.")
    assert "line 5" not in chat.screen()
    chat.type("/show 1")
    chat.wait("line 5")
    chat.type("/context")
    chat.wait("of 8192 tokens")
    chat.type("/model")
    chat.wait("checked after decoding")
    chat.type("/mode manual")
    chat.wait("· manual ·")
    chat.type("/threads")
    chat.wait("read long.txt")
    chat.type("/help")
    chat.wait("/clear")
    chat.type("/exit")
    chat.wait("STATUS 0")


def test_plan_draws_the_search_of_an_older_conversation(terminal, agentkit, script, plain_tree) -> None:
    choice = {"child": -1, "visits": 0, "quality": 0.0, "priors": 0.5}
    store = SqliteStore(agentkit.home / "agentkit.db")
    store.start_run("8c1e", "older", {"task": "jump"})
    store.save_tree("8c1e", 1, plain_tree([{"actions": {"leap [red]": {**choice, "visits": 3}, "stay": choice}}]))
    store.close()
    chat = terminal("chat", "--thread", "older", "-m", script({"final": "x"}))
    chat.type("/plan")
    shown = chat.wait("spent   8 simulations")
    assert "▶ 3×  p 0.50  untried  leap [red]" in shown
    assert "· 0×  p 0.50  untried  stay" in shown


def test_approval_is_asked(terminal, agentkit, script) -> None:
    write = call("write_file", path="a.txt", content="hello")
    again = call("write_file", path="b.txt", content="hello")
    chat = terminal("chat", "--approval-mode", "manual", "-m", script(write, again, {"final": "Written."}))
    chat.type("write it")
    chat.wait("allow it?")
    assert not (agentkit.work / "a.txt").exists()
    chat.type("a", prompt=False)
    chat.wait("Written.")
    assert (agentkit.work / "a.txt").read_text() == (agentkit.work / "b.txt").read_text() == "hello"
    assert chat.screen().count("allow it?") == 1  # "always" is remembered


def test_ctrl_c_once_stops_the_answer_and_twice_leaves(terminal, script) -> None:
    chat = terminal("chat", "-m", script({"final": "slowly, " * 40, "seconds": 60}, {"final": "I am here."}))
    chat.type("first")
    chat.wait("slowly")
    chat.press("C-c")
    chat.wait("stopped")
    chat.type("second")
    chat.wait("I am here.")
    chat.ready()
    chat.press("C-c")
    chat.wait("Ctrl-C again")
    time.sleep(0.3)
    chat.press("C-c")
    chat.wait("STATUS 130")


def test_a_new_line_by_escape_enter_and_going_on_later(terminal, agentkit, script) -> None:
    chat = terminal("chat", "-m", script({"final": "Two lines."}))
    chat.type("one", enter=False)
    chat.press("Escape", "Enter")
    chat.type("two", prompt=False)
    chat.wait("Two lines.")
    chat.ready()
    chat.press("C-d")
    chat.wait("STATUS 0")
    assert agentkit("threads", "--json").document["data"][0]["task"].split() == ["one", "two"]
    later = terminal("chat", "-c", "-m", script({"final": "Still here."}))
    assert "Two lines." in later.ready()
    later.type("and now?")
    later.wait("Still here.")
    assert agentkit("threads", "--json").document["data"][0]["runs"] == 2


def test_a_broken_model_is_one_line(terminal, agentkit) -> None:
    (agentkit.work / "empty.gguf").write_bytes(b"")
    chat = terminal("chat", "-m", "empty.gguf")
    shown = chat.wait("STATUS 3")
    assert "empty.gguf: the file is empty" in shown
    assert "Traceback" not in shown


def test_an_error_keeps_the_chat(terminal, script) -> None:
    chat = terminal("chat", "-m", script({"fail": "the model fell over"}, {"final": "Up again."}))
    chat.type("one")
    chat.wait("the model fell over")
    chat.type("/model nowhere.gguf")
    chat.wait("nowhere.gguf")
    chat.type("two")
    chat.wait("Up again.")


def test_agentkit_alone_is_the_chat(terminal, agentkit, script) -> None:
    (agentkit.home / "config.toml").write_text(f'[engine]\nmodel = "{script({"final": "Hello."})}"\n')
    chat = terminal()
    chat.type("hi")
    chat.wait("Hello.")


def test_run_asks_in_a_terminal_and_ctrl_c_breaks_the_question_off(terminal, agentkit, script) -> None:
    write = call("write_file", path="a.txt", content="hello")
    flags = ("run", "write it", "--approval-mode", "manual", "-m")
    yes = terminal(*flags, script(write, {"final": "Written."}))
    yes.wait("allow it?")
    yes.type("y", prompt=False)
    assert "Written." in yes.wait("STATUS 0")
    assert (agentkit.work / "a.txt").read_text() == "hello"
    no = terminal(*flags, script(call("write_file", path="b.txt", content="")))
    no.wait("allow it?")
    no.press("C-c")
    no.wait("STATUS 130")
    assert not (agentkit.work / "b.txt").exists()
