"""Model files that are damaged or make no sense, through the engine and in a process of their own: an abort is a failure."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

U32, F32, STRING = 4, 6, 8
HUGE = 2**64 - 1
Edit = Callable[[bytearray], None]


def after(data: bytearray, name: str) -> int:
    """Return where a key's type, or a tensor's number of dimensions, stands."""
    told = struct.pack("<Q", len(name)) + name.encode()
    return data.index(told) + len(told)


def put(layout: str, value: float, at: int) -> Edit:
    return lambda data: struct.pack_into(layout, data, at, value)


def value(key: str, layout: str, new: float, *, kind: int | None = None) -> Edit:
    """Give a key of the same width another value, and another type if asked."""

    def edit(data: bytearray) -> None:
        at = after(data, key)
        struct.pack_into("<I", data, at, struct.unpack_from("<I", data, at)[0] if kind is None else kind)
        struct.pack_into(layout, data, at + 4, new)

    return edit


def renamed(old: str, new: str) -> Edit:
    """Put another text of the same length in the place of the first."""
    assert len(old.encode()) == len(new.encode()), (old, new)

    def edit(data: bytearray) -> None:
        told = struct.pack("<Q", len(old)) + old.encode()
        at = data.index(told) + 8
        data[at : at + len(old)] = new.encode()

    return edit


def tensor(name: str, layout: str, new: int, skip: int) -> Edit:
    """Change what stands `skip` bytes after a tensor's name: dimensions 0, shape 4, and for two of them type 20, place 24."""
    return lambda data: struct.pack_into(layout, data, after(data, name) + skip, new)


def where(data: bytearray, token: bytes) -> tuple[int, int]:
    """Return where the text of a token stands."""
    at = data.index(struct.pack("<Q", len(token)) + token, after(data, "tokenizer.ggml.tokens")) + 8
    return at, at + len(token)


def cut(end: int) -> Edit:
    def edit(data: bytearray) -> None:
        del data[end:]

    return edit


def both(*edits: Edit) -> Edit:
    def edit(data: bytearray) -> None:
        for one in edits:
            one(data)

    return edit


EMBEDDING, QUERY, NORM = "token_embd.weight", "blk.0.attn_q.weight", "output_norm.weight"
LAST = "blk.1.ffn_down.weight"
FILE_TYPE, ALIGNMENT = "general.file_type", "general.alignment"
DAMAGED: dict[str, Edit] = {
    "empty": cut(0),
    "only the magic": cut(4),
    "cut in the header": cut(20),
    "cut in the keys": cut(300),
    "cut in the tensors": cut(6000),
    "cut in the data": cut(-100),
    "other magic": put("<B", 0x58, 3),
    "version 0": put("<I", 0, 4),
    "version 1": put("<I", 1, 4),
    "version of the future": put("<I", 4, 4),
    "other byte order": put(">I", 3, 4),
    "-1 tensors": put("<Q", HUGE, 8),
    "a tensor too many": lambda data: struct.pack_into("<Q", data, 8, struct.unpack_from("<Q", data, 8)[0] + 1),
    "a tensor too few": lambda data: struct.pack_into("<Q", data, 8, struct.unpack_from("<Q", data, 8)[0] - 1),
    "no tensors": put("<Q", 0, 8),
    "-1 keys": put("<Q", HUGE, 16),
    "a key too many": lambda data: struct.pack_into("<Q", data, 16, struct.unpack_from("<Q", data, 16)[0] + 1),
    "a key too few": lambda data: struct.pack_into("<Q", data, 16, struct.unpack_from("<Q", data, 16)[0] - 1),
    "key of a huge size": put("<Q", 2**63, 24),
    "key without a name": put("<Q", 0, 24),
    "unknown type of value": value("llama.block_count", "<I", 2, kind=99),
    "key twice": renamed("tokenizer.ggml.eos_token_id", "tokenizer.ggml.bos_token_id"),
    "alignment 13": both(value(FILE_TYPE, "<I", 13), renamed(FILE_TYPE, ALIGNMENT)),
    "alignment 0": renamed(FILE_TYPE, ALIGNMENT),
    "alignment of another type": both(value(FILE_TYPE, "<f", 32.0, kind=F32), renamed(FILE_TYPE, ALIGNMENT)),
    "alignment that does not fit": both(value(FILE_TYPE, "<I", 1024), renamed(FILE_TYPE, ALIGNMENT)),
    "array of a huge length": lambda data: struct.pack_into(
        "<Q", data, after(data, "tokenizer.ggml.tokens") + 8, 2**61
    ),
    "array of arrays": lambda data: struct.pack_into("<I", data, after(data, "tokenizer.ggml.tokens") + 4, 9),
    "tensor's name too long": lambda data: struct.pack_into("<Q", data, after(data, QUERY) - 8 - len(QUERY), 70),
    "five dimensions": tensor(QUERY, "<I", 5, 0),
    "many dimensions": tensor(QUERY, "<I", 2**31, 0),
    "no values": tensor(QUERY, "<Q", 0, 4),
    "negative shape": tensor(QUERY, "<Q", HUGE, 4),
    "more values than can be counted": both(tensor(QUERY, "<Q", 2**40, 4), tensor(QUERY, "<Q", 2**40, 12)),
    "more bytes than can be counted": both(tensor(QUERY, "<Q", 2**61, 4), tensor(QUERY, "<Q", 1, 12)),
    "unknown type of tensor": tensor(QUERY, "<I", 99, 20),
    "removed type of tensor": tensor(QUERY, "<I", 4, 20),
    "wrong place": tensor(QUERY, "<Q", 7, 24),
    "place beyond the end": tensor(LAST, "<Q", 2**62, 24),
    "tensor twice": renamed("blk.1.attn_q.weight", QUERY),
    "tensor missing": renamed(QUERY, "blk.0.attn_x.weight"),
    "layer missing": renamed("blk.1.attn_q.weight", "blk.7.attn_q.weight"),
    "other shape": both(tensor(QUERY, "<Q", 32, 4), tensor(QUERY, "<Q", 128, 12)),
    "norm of another shape": tensor(NORM, "<Q", 32, 4),
}
SENSELESS: dict[str, Edit] = {
    "other architecture": renamed("llama", "qwen2"),
    "unknown architecture": renamed("llama", "lhama"),
    "no layers": value("llama.block_count", "<I", 0),
    "too many layers": value("llama.block_count", "<I", 3),
    "millions of layers": value("llama.block_count", "<I", 2**31),
    "no heads": value("llama.attention.head_count", "<I", 0),
    "odd heads": value("llama.attention.head_count", "<I", 3),
    "huge heads": value("llama.attention.head_count", "<I", 2**32 - 1),
    "no width": value("llama.embedding_length", "<I", 0),
    "odd width": value("llama.embedding_length", "<I", 65),
    "huge width": value("llama.embedding_length", "<I", 2**32 - 1),
    "no context": value("llama.context_length", "<I", 0),
    "context of one": value("llama.context_length", "<I", 1),
    "huge context": value("llama.context_length", "<I", 2**32 - 1),
    "no feed": value("llama.feed_forward_length", "<I", 0),
    "odd feed": value("llama.feed_forward_length", "<I", 1),
    "no rotation": value("llama.rope.dimension_count", "<I", 0),
    "odd rotation": value("llama.rope.dimension_count", "<I", 13),
    "huge rotation": value("llama.rope.dimension_count", "<I", 4096),
    "rotation of base 0": value("llama.rope.freq_base", "<f", 0.0),
    "rotation of base NaN": value("llama.rope.freq_base", "<f", float("nan")),
    "norm of NaN": value("llama.attention.layer_norm_rms_epsilon", "<f", float("nan")),
    "norm below 0": value("llama.attention.layer_norm_rms_epsilon", "<f", -1e30),
    "count of another type": value("llama.block_count", "<f", 2.0, kind=F32),
    "begins with a token that is none": value("tokenizer.ggml.bos_token_id", "<I", 2**31),
    "ends with a token that is none": value("tokenizer.ggml.eos_token_id", "<I", 10**6),
    "a control token in other letters": renamed("<user>", "<user]"),
    "a token twice": lambda data: data.__setitem__(slice(*where(data, b"b")), b"a"),
    "merges of nothing": renamed("h e", "h_e"),
    "merges of what is no token": renamed("l l", "\x01 \x02"),
    "other tokenizer": renamed("gpt2", "bert"),
    "unknown tokenizer": renamed("gpt2", "gpt9"),
    "unknown rule for words": renamed("gpt-2", "gpt-x"),
    "a size of vocabulary that is not so": value("llama.vocab_size", "<I", 7),
    "weights of NaN": lambda data: data.__setitem__(slice(-4096, None), b"\xff" * 4096),
}

OPENING = """
import json, sys
from agentkit.engine.llama import LlamaEngine
from agentkit.errors import AgentkitError, ModelError
from agentkit.messages import user_message
from agentkit.protocols import Request
from agentkit.types import Task

for path in sys.argv[1:]:
    said = {"path": path}
    print(json.dumps(said), flush=True)  # the last one that is named without an end is where it went down
    try:
        with LlamaEngine(path, context=256, threads=1) as engine:
            said["end"] = "opened"
            list(engine.stream(Request(messages=[user_message(Task.of("hello"))], max_tokens=4)))
            engine.embed(["x"])
            said["end"] = "answered"
    except ModelError as error:
        said["end"] = "refused"
        said["words"] = str(error)
    except AgentkitError as error:
        said["end"] = type(error).__name__
    except Exception as error:
        said["end"] = f"!! {type(error).__name__}: {error}"
    print(json.dumps(said), flush=True)
"""


def opened(folder: Path, tiny: Path, edits: dict[str, Edit]) -> dict[str, dict[str, str]]:
    """Open a file of each kind in one process; return what became of each, by kind."""
    names: dict[str, str] = {}
    for number, (kind, edit) in enumerate(edits.items()):
        data = bytearray(tiny.read_bytes())
        edit(data)
        assert data != tiny.read_bytes(), kind
        path = folder / f"{number}.gguf"
        path.write_bytes(data)
        names[str(path)] = kind
    command = [sys.executable, "-W", "ignore", "-c", OPENING, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{names[said[-1]['path']]}: the process ended by {done.returncode}"
    assert done.stderr == ""
    return {names[one["path"]]: one for one in said}


def test_a_damaged_file_is_refused(tiny: Path, tmp_path: Path) -> None:
    found = opened(tmp_path, tiny, DAMAGED)
    assert {kind: one["end"] for kind, one in found.items() if one["end"] != "refused"} == {}
    assert {kind for kind, one in found.items() if "\n" in one["words"] or ".gguf: " not in one["words"]} == set()


def test_a_senseless_file_is_refused_or_harmless(tiny: Path, tmp_path: Path) -> None:
    found = opened(tmp_path, tiny, SENSELESS)
    assert {kind: one["end"] for kind, one in found.items() if one["end"].startswith("!!")} == {}
    assert sum(one["end"] == "refused" for one in found.values()) >= 18


def test_a_model_that_is_well_opens_in_the_same_way(tiny: Path, tmp_path: Path) -> None:
    found = opened(tmp_path, tiny, {"well": lambda data: data.extend(b"\0" * 64)})
    assert found["well"]["end"] == "answered"


@pytest.mark.parametrize("name", [b"m\xf6del.gguf", "模型 🌱.gguf".encode(), b"with\nline.gguf"])
def test_a_file_of_any_name_is_opened(tiny: Path, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(tiny.read_bytes())
    assert opened_at(path) == "answered"


def opened_at(path: Path) -> str:
    command = [sys.executable, "-W", "ignore", "-c", OPENING, os.fsencode(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return str(json.loads(done.stdout.splitlines()[-1])["end"])
