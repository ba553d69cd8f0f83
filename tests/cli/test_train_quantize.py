"""`agentkit train quantize` on the shipped model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf")

from agentkit_training.quantize import QUANTS
from agentkit_training.quantize_command import KINDS


def test_the_kinds_on_the_command_line_are_those_there_are() -> None:
    assert set(KINDS) == set(QUANTS)


def test_a_smaller_sprout(agentkit: Any, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("add up the numbers in sales.txt and write the sum to total.txt, then read it again. " * 40)
    out = tmp_path / "small.gguf"
    ran = agentkit("train", "quantize", "sprout", "--to", "q4_0", "-o", str(out), "--text", str(text))
    assert ran.code == 0, ran.err
    assert "nats a token" in ran.out
    assert out.stat().st_size < 3_500_000
    again = agentkit("train", "quantize", "sprout", "--to", "q4_0", "-o", str(out))
    assert again.code == 2
    assert "exists" in again.one_line()
    found = agentkit("train", "quantize", "sprout", "-o", str(tmp_path / "b.gguf"), "--json")
    data = json.loads(found.out)["data"]
    assert data["status"] == "ok"
    assert 8 < data["bits_per_weight"] < 9
    assert "kl" not in data
    assert {row["name"] for row in agentkit("jobs", "--json").document["data"]} >= {"quantize-small", "quantize-b"}


def test_a_server_has_no_file(agentkit: Any) -> None:
    ran = agentkit("train", "quantize", "http://localhost:1/v1")
    assert ran.code == 2
    assert "name a GGUF file" in ran.one_line()


def test_a_file_that_is_no_model(agentkit: Any, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_text("no")
    ran = agentkit("train", "quantize", str(wrong))
    assert ran.code != 0
    assert "GGUF" in ran.one_line()


def test_ctrl_c_ends_it_after_a_window_and_says_so(agentkit: Any, tmp_path: Path) -> None:
    text, out = tmp_path / "text.txt", tmp_path / "small.gguf"
    text.write_text("add up the numbers in sales.txt and write the sum to total.txt, then read it again. " * 20_000)
    command = [sys.executable, "-m", "agentkit", "train", "quantize", "sprout", "-o", str(out), "--text", str(text)]
    environment = {**os.environ, "AGENTKIT_HOME": str(tmp_path)}
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in a shell's background ignores Ctrl-C
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heeding
    )
    events = tmp_path / "jobs" / "quantize-small" / "events.jsonl"
    end = time.monotonic() + 60
    while '"step"' not in (events.read_text() if events.exists() else "") and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "the same command goes on" in said
    assert not out.exists()
