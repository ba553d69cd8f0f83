"""What is told from a header, against what llama.cpp allocates: each shape, with and without flash attention."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import memory, memory_shapes, random_llama
from benchmarks.memory import CLOSE, NEAR


def assert_close(one: memory.Compared) -> None:
    weights, cache, buffers, *copied = memory.errors([one])
    assert weights.value <= CLOSE, memory.describe(one)
    assert cache.value <= CLOSE, memory.describe(one)
    assert buffers.value <= NEAR, memory.describe(one)
    assert all(row.value <= CLOSE for row in copied), memory.describe(one)
    assert one.taken.kv > 0
    assert one.taken.buffers > 1 << 20


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", memory_shapes.SHAPES)
def test_every_shape_takes_what_was_told(name: str, exact: bool, tmp_path: Path) -> None:
    assert_close(memory.compare(memory_shapes.write(tmp_path / f"{name}.gguf", name), 3000, exact=exact))


def test_a_model_whose_weights_are_copied(tmp_path: Path) -> None:
    shape = random_llama.Shape(layers=2, width=256, hidden=512, heads=4, kv_heads=2, vocab=600, context=4096)
    assert_close(memory.compare(random_llama.write(tmp_path / "copied.gguf", shape), 1024))


def test_the_shipped_model(sprout: Path) -> None:
    assert_close(memory.compare(sprout, 4096))


def test_an_error_is_the_largest_one() -> None:
    told = memory.MemoryEstimate(weights=110, kv=200, buffers=50)
    taken = memory.MemoryEstimate(weights=100, kv=100, buffers=100)
    one = memory.Compared(name="x", told=told, taken=taken, grown=0)
    same = memory.Compared(name="y", told=taken, taken=taken, grown=0)
    assert [row.value for row in memory.errors([same, one])] == [0.1, 1.0, 2.0]
    assert [row.holds for row in memory.errors([one])] == [True, False, False]
