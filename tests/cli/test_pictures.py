"""Pictures on the command line and in the chat: given by name, dropped as a path, and refused where nobody sees."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.cli.repl.pictures import dropped, named
from agentkit.errors import UsageError
from tests.cli.test_repl import Terminal
from tests.unit.engine.conftest import plain, write_model
from tests.unit.engine.eyes import png, write_mmproj

RED = png((255, 0, 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pictures")
    for name in ("red.png", "my red shoe.PNG", "it's.jpg", "ünï.png"):
        (made / name).write_bytes(RED)
    (made / "words.txt").write_text("words", encoding="utf-8")
    (made / "words.png").write_text("words", encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that sees."""
    made = tmp_path_factory.mktemp("model")
    write_mmproj(made / "mmproj.gguf", width=64)
    return write_model(made / "tiny.gguf", extra={"agentkit.dialect": plain.NAME, "general.name": "tiny"})


@pytest.mark.parametrize("name", ["red.png", "my red shoe.PNG", "it's.jpg", "ünï.png"])
@pytest.mark.parametrize(
    "write",
    [
        lambda path: shlex.quote(str(path)),
        lambda path: str(path).replace(" ", "\\ ").replace("'", "\\'"),
        lambda path: f'"{path}"',
        lambda path: path.as_uri().replace("'", "%27"),
    ],
    ids=["quoted", "escaped", "double", "uri"],
)
def test_a_dropped_path_is_a_picture(folder: Path, name: str, write: Callable[[Path], str]) -> None:
    line = write(folder / name)
    for text, rest in ((line, ""), (f"{line} ", ""), (f"{line} what's this?", "what's this?")):
        images, left = dropped(text)
        assert ([image.path for image in images], left) == ([folder / name], rest)
    images, left = dropped(f"{line} {line} compare")
    assert ([image.path for image in images], left) == ([folder / name] * 2, "compare")


def test_what_is_no_dropped_picture_is_left_alone(folder: Path) -> None:
    for line in (
        "red.png", "what is red.png?", f"look at {folder / 'red.png'}", str(folder / "words.txt"), str(folder / "none.png"),
        "/help", "/image x", "it's", "", "~nobody-at-all/x.png", str(folder), "a\x00b", "/" + "x" * 5_000 + ".png", "# red",
    ):  # fmt: skip
        assert dropped(line) == ([], line.strip())


@given(st.text(max_size=60))
def test_no_line_is_too_strange(line: str) -> None:
    assert dropped(line) == ([], line.strip())


def test_pictures_are_named(folder: Path) -> None:
    for text in (
        "red.png",
        "my red shoe.PNG",
        "my\\ red\\ shoe.PNG",
        "'my red shoe.PNG'",
        str(folder / "my red shoe.PNG"),
    ):
        (image,) = named(text, folder)
        assert image.path is not None
        assert image.path.read_bytes() == RED
    (image,) = named("https://example.com/x.png", folder)
    assert image.url == "https://example.com/x.png"
    assert len(named(f"{folder / 'red.png'} {shlex.quote(str(folder / 'my red shoe.PNG'))}", folder)) == 2
    for text, why in (("none.png", "cannot be read"), ("words.png", "not a picture"), (".", "cannot be read")):
        with pytest.raises(UsageError, match=why):
            named(text, folder)


def test_run_shows_a_picture(agentkit, model: Path, folder: Path) -> None:
    words = ("run", "what is it", "-m", str(model), "--image", str(folder / "red.png"), "--max-turns", "1", "--json")
    ran = agentkit(*words, "--no-plugins", env={"AGENTKIT_CTX": "1024", "AGENTKIT_ENGINE__TRIAL": "false"})
    usage = ran.document["data"]["usage"]
    alone = agentkit(
        "run",
        "what is it",
        "-m",
        str(model),
        "--max-turns",
        "1",
        "--json",
        "--no-plugins",
        env={"AGENTKIT_ENGINE__TRIAL": "false"},
    )
    assert (
        usage["prompt"] - alone.document["data"]["usage"]["prompt"] == 16 + 2
    )  # the rows, and what stands around them
    assert len(list((agentkit.home / "media").iterdir())) == 1


@pytest.mark.parametrize(
    ("image", "why"), [("none.png", "cannot be read"), ("words.png", "not a picture"), ("words.txt", "not a picture")]
)
def test_run_refuses_what_is_no_picture(agentkit, script, folder: Path, image: str, why: str) -> None:
    ran = agentkit("run", "x", "-m", script({"final": "x"}), "--image", str(folder / image))
    assert ran.code == 2
    assert why in ran.one_line()


def test_run_refuses_pictures_for_a_model_that_cannot_see(agentkit, script, folder: Path) -> None:
    ran = agentkit("run", "x", "-m", script({"final": "x"}), "--image", str(folder / "red.png"))
    assert ran.code == 4
    assert "cannot see images" in ran.one_line()
    ran = agentkit("run", "--resume", "abc", "--image", str(folder / "red.png"))
    assert ran.code == 2


@pytest.fixture
def terminal(agentkit) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(agentkit, *words))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: no terminal to type into")
def test_pictures_in_the_chat(terminal, agentkit, model: Path, folder: Path) -> None:
    (agentkit.work / "red.png").write_bytes(RED)
    chat = terminal("chat", "-m", str(model), "--no-plugins", "--max-turns", "1", "--max-tokens", "200")
    chat.type("/image red.png")
    chat.wait("red.png goes with the next message")
    chat.type(shlex.quote(str(folder / "my red shoe.PNG")))
    chat.wait("my red shoe.PNG goes with the next message")
    chat.type("/image -")
    chat.wait("no pictures go with")
    chat.type("/image none.png")
    chat.wait("none.png: cannot be read")
    chat.type(f"{folder / 'red.png'} what is it")
    chat.wait("ctx", again=lambda shown: len(list((agentkit.home / "media").glob("*"))) == 1)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed: no terminal to type into")
def test_pictures_in_a_chat_with_a_model_that_cannot_see(terminal, script, folder: Path) -> None:
    chat = terminal("chat", "-m", script({"final": "That is a path."}))
    chat.type(str(folder / "red.png"))
    chat.wait("cannot see images")
    chat.type(f"{folder / 'red.png'} is what?")
    chat.wait("That is a path.")
