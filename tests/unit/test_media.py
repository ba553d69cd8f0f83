"""Pictures of a task: read once, kept by their hash, found again, and noticed when they are not what they were."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, messages_from_dict, messages_to_dict

from agentkit import config, media
from agentkit.agent import Agent
from agentkit.config import EngineSettings, Settings
from agentkit.engine.llama import LlamaEngine
from agentkit.errors import UnsupportedPart, UsageError
from agentkit.messages import meta, own_words, user_message, words_of
from agentkit.protocols import Capabilities
from agentkit.runs import first_state, row_of
from agentkit.store import open_store
from agentkit.types import AudioPart, ImagePart, Provenance, Task, TextPart, Trust
from tests.unit.engine.conftest import plain, write_model
from tests.unit.engine.eyes import png, write_mmproj

RED, GREEN = png((255, 0, 0)), png((0, 255, 0))


def shown(*parts: ImagePart | AudioPart, words: str = "what is it") -> HumanMessage:
    return first_state(Task(parts=(TextPart(text=words), *parts)), "run", "")["messages"][0]


def test_a_picture_is_kept_outside_the_message_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(RED)
    message = shown(ImagePart(path=path))
    (said, block) = message.content
    assert said == {"type": "text", "text": "what is it"}
    assert block["type"] == "image"
    assert block["mime_type"] == "image/png"
    assert block["extras"] == {"source": f"image:{path}", "trust": "trusted"}
    assert len(str(messages_to_dict([message]))) < 1_500  # not the bytes
    path.write_bytes(GREEN)
    path.unlink()
    (back,) = messages_from_dict(messages_to_dict([message]))
    assert media.bytes_of(back.content[1]) == RED  # as it was when the run began
    assert [oct(one.stat().st_mode)[-3:] for one in (config.data_dir() / "media").iterdir()] == ["600"]


def test_a_copy_that_is_gone_or_changed_is_noticed(tmp_path: Path) -> None:
    block = shown(ImagePart(data=RED)).content[1]
    copy = config.data_dir() / "media" / block["file_id"]
    copy.write_bytes(GREEN)
    with pytest.raises(UnsupportedPart, match="has changed; give it again"):
        media.bytes_of(block)
    copy.unlink()
    with pytest.raises(UnsupportedPart, match="is gone"):
        media.bytes_of(block)


def test_equal_pictures_are_kept_once_and_mended(tmp_path: Path) -> None:
    one, two = (shown(ImagePart(data=RED)).content[1] for _ in range(2))
    assert one["file_id"] == two["file_id"]
    copy = config.data_dir() / "media" / one["file_id"]
    copy.write_bytes(RED[:-1])
    shown(ImagePart(data=RED))
    assert media.bytes_of(one) == RED
    assert list(copy.parent.iterdir()) == [copy]


def test_copies_that_nobody_used_for_long_are_deleted() -> None:
    old, named, used = (shown(ImagePart(data=png((n, n, n)))).content[1] for n in range(3))
    for block in (old, named, used):
        os.utime(config.data_dir() / "media" / block["file_id"], (0, 0))
    media.bytes_of(used)
    assert media.prune(3_600, f"... {named['file_id']} ...") == len(png((0, 0, 0)))
    assert {path.name for path in (config.data_dir() / "media").iterdir()} == {named["file_id"], used["file_id"]}
    assert media.prune(3_600, "") == len(png((1, 1, 1)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"just some words", "not a file of a known form, and not a picture"),
        (b"", "empty"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "a file of type audio/wav, and not a picture"),
        (RED + bytes(media.MAX_BYTES), "larger than 32 MiB"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(data)
    for part in (ImagePart(path=path), ImagePart(data=data)):
        with pytest.raises(UsageError, match=why):
            shown(part)


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.png: cannot be read"):
        shown(ImagePart(path=tmp_path / "none.png"))
    with pytest.raises(UsageError, match="cannot be read"):
        shown(ImagePart(path=tmp_path))
    with pytest.raises(UsageError, match="cannot be read"):
        shown(AudioPart(path=tmp_path / "none.wav"))


def test_whose_words_a_picture_may_hold_is_remembered(tmp_path: Path) -> None:
    stranger = Provenance(source="image:upload.png", trust=Trust.UNTRUSTED)
    message = shown(ImagePart(data=RED, provenance=stranger), words="mine")
    assert (meta(message)["trust"], meta(message)["source"]) == ("untrusted", "image:upload.png")
    assert own_words(message) == ["mine"]
    assert (words_of(message), own_words(shown(ImagePart(data=RED), words="mine"))) == ("mine", ["mine"])


def test_a_message_of_an_unkept_part_holds_its_bytes(tmp_path: Path) -> None:
    message = user_message(Task(parts=(ImagePart(data=RED), TextPart(text="x"))))
    assert [block["type"] for block in message.content] == ["image", "text"]
    assert media.bytes_of(message.content[0]) == RED
    with pytest.raises(UsageError, match="by URL"):
        user_message(Task(parts=(ImagePart(url="https://example.com/x.png"),)))
    with pytest.raises(UsageError, match="of nothing"):
        shown(AudioPart())


def test_a_runs_row_says_the_words_alone() -> None:
    state = first_state(Task(parts=(TextPart(text="what is it"), ImagePart(data=RED))), "run", "")
    row = row_of(state, Capabilities(model="m", context=1), (), "direct", Settings())
    assert row["task"] == "what is it"


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {"/red.png": RED, "/text.png": b"words", "/big.png": RED + bytes(media.MAX_BYTES)}.get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as opened:
        thread = threading.Thread(target=opened.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{opened.server_port}"
        opened.shutdown()


def test_a_picture_by_url_is_fetched_and_is_a_strangers(server: str) -> None:
    task = Task(parts=(TextPart(text="mine"), ImagePart(url=f"{server}/red.png")))
    message = first_state(task, "run", "", allow_hosts=["127.0.0.1"])["messages"][0]
    assert media.bytes_of(message.content[1]) == RED
    assert meta(message)["trust"] == "untrusted"
    assert own_words(message) == ["mine"]


@pytest.mark.parametrize(
    ("path", "hosts", "why"),
    [
        ("/red.png", [], "127.0.0.1"),
        ("/none.png", ["127.0.0.1"], "answered 404"),
        ("/text.png", ["127.0.0.1"], "not a picture"),
        ("/big.png", ["127.0.0.1"], "larger than 32 MiB"),
    ],
)
def test_a_url_that_gives_no_picture(server: str, path: str, hosts: list[str], why: str) -> None:
    task = Task(parts=(ImagePart(url=server + path),))
    with pytest.raises(UsageError, match=why):
        first_state(task, "run", "", allow_hosts=hosts)


FORMS = {
    "image/png": RED,
    "image/gif": b"GIF89a\x07\x00\x05\x00",
    "image/bmp": b"BM" + bytes(16) + struct.pack("<ii", 7, -5),
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc2\x00\x0b\x08" + struct.pack(">HH", 5, 7) + bytes(8),
    "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "image/tiff": b"II*\x00rest",
    "image/avif": b"\x00\x00\x00\x20ftypavif",
    "image/heic": b"\x00\x00\x00\x20ftypheic",
    "audio/wav": b"RIFF\x00\x00\x00\x00WAVEfmt ",
    "audio/mpeg": b"\xff\xfb\x90\x00",
    "audio/flac": b"fLaC....",
    "audio/ogg": b"OggS....",
}


@pytest.mark.parametrize("kind", FORMS)
def test_forms_are_told_by_how_they_begin(kind: str) -> None:
    assert media.mime_type(FORMS[kind]) == kind


def test_sizes_are_read_without_decoding() -> None:
    assert media.pixels(RED) == 40 * 40
    assert [media.pixels(FORMS[f"image/{kind}"]) for kind in ("gif", "bmp", "jpeg", "webp")] == [35, 35, 35, None]


@given(st.binary(max_size=200), st.sampled_from(sorted(FORMS)))
def test_no_bytes_are_too_strange(data: bytes, kind: str) -> None:
    for one in (data, FORMS[kind][:12] + data):
        assert media.pixels(one) is None or media.pixels(one) >= 0  # type: ignore[operator]
        media.mime_type(one)
    block = {"type": "image", "base64": data.decode("latin-1")}
    with contextlib.suppress(UnsupportedPart):
        media.bytes_of(block)


# --- through an agent -------------------------------------------------------------------------------------------------


def test_an_agent_shows_pictures_and_goes_on_with_them(tmp_path: Path) -> None:

    model = write_model(tmp_path / "t.gguf", extra={"agentkit.dialect": plain.NAME, "general.name": "tiny"})
    mmproj = write_mmproj(tmp_path / "mmproj.gguf", width=64)
    path = tmp_path / "photo.png"
    path.write_bytes(RED)
    store = open_store(url=str(tmp_path / "runs.db"))
    engine = LlamaEngine(model, context=2048, threads=1, mmproj=mmproj)
    base = Settings()
    settings = replace(base, engine=EngineSettings(), run=replace(base.run, max_turns=1))
    with Agent(engine, [], settings=settings, store=store, system="", workspace=tmp_path) as agent:
        seen: list[int] = []
        task = Task(parts=(TextPart(text="what is it"), ImagePart(path=path)))
        result = agent.run(task, on_event=lambda event: seen.append(1) if event.type == "usage" else None)
        assert seen
        path.unlink()
        agent.run("and now?", thread_id=result.thread_id)
        state = agent.graph.get_state({"configurable": {"thread_id": result.thread_id}})
        first = next(message for message in state.values["messages"] if isinstance(message, HumanMessage))
        assert media.bytes_of(first.content[1]) == RED
        assert str(store.run(result.run_id)["task"]) == "what is it"
        checkpoint = (tmp_path / "runs.db").read_bytes()
        assert RED not in checkpoint
    engine.close()
    store.close()
