"""A short slice of the engine's benchmark: the counts that are exact on any machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from random import Random

import gguf
import numpy as np
import pytest

from agentkit.models import resolve
from benchmarks import (
    engine,
    engine_adapters,
    engine_branch,
    engine_rank,
    engine_tree,
    engine_turns,
    random_llama,
)
from benchmarks.engine_bench import Bench, difference, interleaved, interval, ratio
from benchmarks.figures import Measured


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    path = resolve("sprout").path
    if path is None or not path.is_file():
        pytest.skip("the shipped model is not built; scripts/build_sprout.py builds it")
    opened = Bench(path, 1, build=tmp_path_factory.mktemp("nothing is built here"))
    yield opened
    opened.close()


def by_id(rows: list[Measured]) -> dict[str, Measured]:
    return {row.id: row for row in rows}


def test_only_new_tokens_are_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_tree, "TURN_TOKENS", 12)
    (read,) = engine_tree.sessions(bench, 1)
    assert read.value == 1.0


def test_a_tree_reads_far_fewer_tokens_than_the_peer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"ROOT_TOKENS": 150, "ACTION": 10, "OBSERVATION": 5, "NODES": 40}.items():
        monkeypatch.setattr(engine_tree, name, value)
    monkeypatch.setattr(bench, "rng", Random(7))
    rows = by_id(engine_tree.tree(bench, 1))
    assert rows["tree-tokens"].value < 0.5
    assert rows["radix-tokens"].value < 0.1
    assert set(rows) == {"tree-time", "tree-tokens", "radix-tokens"}
    assert "llama-server is not built" in capsys.readouterr().err


def test_forgetting_what_was_read_costs(bench: Bench) -> None:
    (row,) = engine_tree.radix(bench, 1)
    assert row.value < 0.8  # it is about a third; this is a busy machine's bound


def test_a_trace_of_turns_reads_each_token_once(bench: Bench) -> None:
    rows = by_id(engine_turns.turns(bench, 1))
    assert rows["turns"].value == 1.0
    assert rows["turns-wait"].value > 0


def test_a_trace_goes_on_where_the_turn_before_ended(bench: Bench) -> None:
    prompts = [bench.loaded.dialect.prompt(request) for request in engine_turns.trace(bench)]
    assert len(prompts) == 10
    for earlier, later in itertools.pairwise(prompts):
        assert later[: len(earlier)] == earlier
        assert len(later) > len(earlier)


def test_best_of_k_has_k_texts_on_all_sides(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_branch, "COUNTS", (1, 3))
    rows = engine_branch.best_of(bench, 1)
    assert [row.id for row in rows] == ["best-of-1", "best-of-3", "batch-3"]
    assert rows[1].value < 1.0  # it is about a tenth


def test_texts_that_are_missing_are_not_passed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_branch, "COUNTS", (2,))
    monkeypatch.setattr(engine_branch, "_ours", lambda bench, prompt, seed: "the same")
    with pytest.raises(AssertionError, match="alone 2: 1 texts are missing"):
        engine_branch.best_of(bench, 1)


def test_choosing_reads_next_to_nothing(bench: Bench) -> None:
    rows = by_id(engine_rank.rank(bench, 1))
    assert rows["rank-choose"].value < 0.5  # it is about a twentieth; this is a busy machine's bound
    assert rows["rank-gap"].value < 1.0


def test_orders_agree(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_rank, "SETS", 4)
    rows = by_id(engine_rank.order(bench, 1))
    assert rows["rank-inversions"].value == 0
    assert rows["rank-inversions"].n > 50
    assert rows["rank-agrees"].n == rows["rank-agrees-names"].n == 4


def test_nothing_of_an_adapter_is_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_adapters, "PROMPTS", 2)
    rows = by_id(engine_adapters.adapters(bench, 1))
    assert rows["adapters-leak"].value <= 0.01
    assert rows["adapters-swap"].n > 10
    assert bench.engine.capabilities.adapters == ()
    assert "use_adapters" not in vars(bench.loaded.context)


def test_an_adapter_that_is_not_changed_would_be_seen(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_adapters, "PROMPTS", 1)
    monkeypatch.setattr(bench.loaded.context, "use_adapters", lambda wanted: None)
    bench.engine.load_adapter(engine_adapters.NAME, engine_adapters.write(tmp_path / "lora.gguf", bench.path))
    (row,) = engine_adapters.leaks(bench)
    bench.engine.unload_adapter(engine_adapters.NAME)
    assert row.value > 0.1


def test_the_command_measures_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_branch, "COUNTS", (1,))
    picture = tmp_path / "drawn.svg"
    assert engine.main(["--repeats", "1", "--only", "best-of-k", "cancel", "--plot", str(picture)]) == 0
    said = capsys.readouterr()
    assert "best-of-1" in said.out
    assert "cancel" in said.out
    assert "100 %" in said.err
    assert picture.read_text(encoding="utf-8").count("<rect") == 1


def test_a_ratio_is_of_medians_and_has_an_interval() -> None:
    row = ratio("x", "x", [1.0, 2.0, 9.0], [4.0, 4.0, 4.0])
    assert row.value == 0.5
    assert row.interval is not None
    assert row.interval[0] == pytest.approx(0.25)
    assert row.interval[1] == pytest.approx(2.25)
    assert ratio("x", "x", [1.0], [4.0]).interval is None


def test_repetitions_are_drawn_as_pairs() -> None:
    slow = [1.0, 10.0, 100.0, 1000.0]
    assert interval(slow, [2 * one for one in slow], np.divide) == (0.5, 0.5)


def test_differences_are_in_milliseconds() -> None:
    row = difference("x", "x", [0.003, 0.003], [0.001, 0.001])
    assert (row.value, row.unit, row.interval) == (2.0, "ms", (2.0, 2.0))


def test_runs_are_turn_about_and_may_say_their_own_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    order, done = [], []
    monkeypatch.setattr(bench, "tick", done.append)
    spent = interleaved(bench, {"a": lambda: order.append("a"), "b": lambda: 5.0}, 2)
    assert order == ["a", "a"]
    assert spent["b"] == [5.0, 5.0]
    assert len(spent["a"]) == 2
    assert sum(done) == pytest.approx(1.0)


def test_a_random_model_has_the_shape(tmp_path: Path) -> None:
    shape = random_llama.Shape(layers=2, width=256, hidden=512, heads=4, kv_heads=2, vocab=512, context=64)
    reader = gguf.GGUFReader(random_llama.write(tmp_path / "r.gguf", shape))
    assert len(reader.tensors) == 2 + 2 * 9
    assert reader.fields["llama.block_count"].contents() == 2
