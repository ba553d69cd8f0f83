"""A short slice of what the endurance benchmark does for longer."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.sessions import Text
from benchmarks import endurance


def test_every_kind_of_request_is_answered_or_stopped(tiny: Path) -> None:
    with LlamaEngine(tiny, context=endurance.CONTEXT, threads=1, live=3, cache_mb=1) as engine:
        kinds = [kind for kind, call in itertools.islice(endurance._endless(engine), 28) if call() is not call]
        assert len(set(kinds)) == 14
        assert engine.session("and it goes on").generate(Text(regex="[ab]{5}")).finish == "stop"


def test_memory_is_flat(tiny: Path) -> None:
    grown, failed = endurance.memory(tiny, 280)
    assert failed.value == 0
    assert grown.n == 280
    assert grown.value < 64  # pools and caches fill first: the benchmark begins after that
    assert endurance.resident() > 1 << 20


def test_threads_get_what_one_gets(tiny: Path) -> None:
    done = endurance.hammer(tiny, 3.0)
    assert (done.errors, done.wrong) == ([], [])
    assert done.calls > 30


def test_a_difference_is_seen() -> None:
    assert endurance.alike([1.0, 2.0], [1.0, 2.009])
    assert not endurance.alike([1.0, 2.0], [1.0, 2.02])
    assert not endurance.alike("a", "b")
    with pytest.raises(ValueError, match="zip"):
        endurance.alike([1.0], [1.0, 2.0])
