from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import startup


def test_a_command_is_timed_with_its_memory_and_output(tmp_path: Path) -> None:
    ran = startup.run([sys.executable, "-c", "x = bytearray(60 << 20); print('out')"], tmp_path)
    assert ran.output == "out\n"
    assert ran.peak_mb > 60
    assert ran.seconds > 0


def test_a_command_that_fails_is_not_a_figure(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="exit status 3"):
        startup.run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)


def test_help_is_measured(tmp_path: Path) -> None:
    ran = startup.run([str(Path(sys.executable).parent / "agentkit"), "--help"], tmp_path)
    assert "Usage" in ran.output
