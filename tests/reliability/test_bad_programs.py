"""Programs that write too much, or what is no text: counted, capped and cleaned while it is read."""

from __future__ import annotations

import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from agentkit.tools import decode, was_cut
from agentkit_basics.process import Completed, run_program

MOST = 600_000_000


def ran(code: str, folder: Path, *, most: int = MOST, seconds: float = 30.0) -> Completed:
    return run_program(
        sys.executable,
        ["-c", code],
        cwd=folder,
        deadline=time.monotonic() + seconds,
        cancel=threading.Event(),
        max_bytes=most,
    )


def test_yes_is_stopped_at_its_limit(tmp_path: Path) -> None:
    tracemalloc.start()
    done = ran("while True: print('y' * 999)", tmp_path, most=20_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.ended == "flood"
    assert len(done.output) < 500_000
    assert peak < 20_000_000, "it is capped while it is read, not after"


def test_dev_zero_is_stopped_and_described(tmp_path: Path) -> None:
    done = ran("import os\nwhile True: os.write(1, bytes(1 << 16))", tmp_path, most=20_000_000)
    assert done.ended == "flood"
    assert decode(done.output).startswith("[binary data: ")


def test_one_line_of_500_mb_is_kept_by_its_ends(tmp_path: Path) -> None:
    code = "import os\nfor _ in range(500): os.write(1, b'x' * 1_000_000)\nos.write(1, b'end')"
    done = ran(code, tmp_path)
    assert (done.ended, done.status) == ("exit", 0)
    text = decode(done.output)
    assert was_cut(text)
    assert "500,000,003 bytes in all" in text
    assert text.endswith("xend")


def test_a_million_lines_are_kept_by_their_ends(tmp_path: Path) -> None:
    text = decode(ran("print('\\n'.join(map(str, range(1_000_000))))", tmp_path).output)
    assert text.startswith("0\n1\n")
    assert text.endswith("999999\n")
    assert was_cut(text)


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 200_000 - 1])
def test_utf_8_split_at_a_chunks_border_is_whole_again(tmp_path: Path, size: int) -> None:
    code = f"import os, time\ndata = b'a' * {size} + 'grün 🌱'.encode()\n"
    code += "while data: os.write(1, data[:4097]); data = data[4097:]"
    text = decode(ran(code, tmp_path).output)
    assert text == "a" * size + "grün 🌱"


def test_utf_8_cut_by_the_cap_is_marked_and_nothing_else_is_lost(tmp_path: Path) -> None:
    text = decode(ran("print('ü' * 400_001)", tmp_path).output)
    text.encode("utf-8")
    assert text.count("\ufffd") <= 4
    assert was_cut(text)
