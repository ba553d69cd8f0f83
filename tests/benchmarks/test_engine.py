"""A short slice of the engine's benchmark: the counts that are exact on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest

from agentkit.models import resolve
from benchmarks import engine, random_llama


@pytest.fixture(scope="module")
def bench() -> Iterator[engine.Bench]:
    opened = engine.Bench(Path(str(resolve("sprout").path)), 1)
    yield opened
    opened.engine.close()
    opened.peer.close()


def test_only_new_tokens_are_read(bench: engine.Bench) -> None:
    (read,) = engine.sessions(bench, 1)
    assert read.value == 1.0


def test_a_tree_reads_far_fewer_tokens_than_the_peer(bench: engine.Bench) -> None:
    _, tokens = engine.tree(bench, 1)
    assert tokens.value < 0.5


def test_choosing_reads_next_to_nothing(bench: engine.Bench) -> None:
    _, choose, gap = engine.rank(bench, 1)
    assert choose.value < 0.5  # it is about a twentieth; this is a busy machine's bound
    assert gap.value < 1.0


def test_a_random_model_has_the_shape(tmp_path: Path) -> None:
    shape = random_llama.Shape(layers=2, width=256, hidden=512, heads=4, kv_heads=2, vocab=512, context=64)
    reader = gguf.GGUFReader(random_llama.write(tmp_path / "r.gguf", shape))
    assert len(reader.tensors) == 2 + 2 * 9
    assert reader.fields["llama.block_count"].contents() == 2
