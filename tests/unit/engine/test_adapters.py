"""LoRA adapters: what one request reads under one is never seen by a request under another, or under none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from agentkit.engine.llama import LlamaEngine
from agentkit.engine.llama.sessions import Session, Text
from agentkit.errors import CannotEnforce, ModelFileError, ModelNotFound
from agentkit.messages import user_message
from agentkit.protocols import Reply, Request
from agentkit.types import Step, Task

WIDTH, HIDDEN, RANK = 64, 128, 4
PROMPT = "A prompt that is read under each of them, from its beginning"
OTHER = "and then another way to go on"


def write_adapter(path: Path, *, width: int = WIDTH, seed: int = 0, arch: str = "llama", kind: str = "lora") -> Path:
    """Write a random LoRA over the first block, in PEFT's layout: A is (rank, in), B is (out, rank)."""
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", 2.0 * RANK)
    shapes = {"attn_q": (width, width), "attn_v": (width, width), "ffn_down": (width, HIDDEN)}
    for name, (out, into) in shapes.items():
        a = rng.standard_normal((RANK, into)) / np.sqrt(into)
        b = rng.standard_normal((out, RANK)) * 0.5
        writer.add_tensor(f"blk.0.{name}.weight.lora_a", a.astype(np.float32))
        writer.add_tensor(f"blk.0.{name}.weight.lora_b", b.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return {name: write_adapter(folder / f"{name}.gguf", seed=n) for n, name in enumerate(("one", "two"), 1)}


def fresh(tiny: Path, adapters: dict[str, Path] | None = None, **given: Any) -> LlamaEngine:
    return LlamaEngine(tiny, **{"context": 1024, "threads": 1, "live": 4, "adapters": adapters, **given})


@pytest.fixture
def engine(tiny: Path, files: dict[str, Path]) -> Iterator[LlamaEngine]:
    with fresh(tiny, files) as opened:
        yield opened


def scores(session: Session, *texts: str) -> list[float]:
    return [score.logprob for score in session.score(list(texts) or ["x", "yes", "no", "東"])]


def alone(tiny: Path, files: dict[str, Path], adapter: str | None, prompt: str = PROMPT) -> list[float]:
    """What an engine that has read nothing else says."""
    with fresh(tiny, files, live=3) as engine:
        return scores(engine.session(prompt, adapter=adapter))


def test_an_adapter_changes_what_the_model_says(engine: LlamaEngine) -> None:
    assert engine.capabilities.adapters == ("one", "two")
    base, one, two = (scores(engine.session(PROMPT, adapter=name)) for name in (None, "one", "two"))
    for first, second in ((base, one), (base, two), (one, two)):
        assert np.abs(np.subtract(first, second)).max() > 0.1


@pytest.mark.parametrize("order", [(None, "one"), ("one", None), ("one", "two", None, "two", "one", None)])
def test_nothing_leaks_through_what_is_kept(
    tiny: Path, files: dict[str, Path], engine: LlamaEngine, order: tuple[str | None, ...]
) -> None:
    for name in order:
        found = scores(engine.session(PROMPT, adapter=name))
        assert found == pytest.approx(alone(tiny, files, name), abs=1e-2), name
        text = engine.session(PROMPT, adapter=name).generate(Text(max_tokens=10))
        assert text.usage.reused == text.usage.prompt


def test_nothing_leaks_through_what_is_spilled(tiny: Path, files: dict[str, Path]) -> None:
    prompt = PROMPT + " " + "and on" * 8
    with fresh(tiny, files, context=256, cache_mb=8) as engine:
        for name in (None, "one", None, "one"):
            found = scores(engine.session(prompt, adapter=name))
            assert found == pytest.approx(alone(tiny, files, name, prompt), abs=1e-2)
            for n in range(3):  # what fills the memory
                engine.session(f"{n}: " + "something else " * 8, adapter=name).hold()
        assert engine.stats.restored > 0


def test_each_keeps_what_was_read_under_it(engine: LlamaEngine) -> None:
    for name in (None, "one"):
        engine.session(PROMPT, adapter=name).hold()
    before = engine.stats.tokens
    for name in (None, "one", None):
        assert engine.session(PROMPT, adapter=name).generate(Text(max_tokens=1)).usage.reused > 40
    assert engine.stats.tokens == before
    assert engine.session(PROMPT, adapter="two").generate(Text(max_tokens=1)).usage.reused == 0


def test_requests_name_their_adapter(engine: LlamaEngine) -> None:
    asked = Request(messages=[user_message(Task.of("a question"))], max_tokens=16)
    steps = [Step(kind="final", text="yes"), Step(kind="final", text="no")]
    under = Request(messages=asked.messages, max_tokens=16, adapter="one")
    *_, plain = engine.stream(asked)
    *_, adapted = engine.stream(under)
    assert isinstance(plain, Reply)
    assert isinstance(adapted, Reply)
    assert plain.step != adapted.step
    assert engine.branch(under, 1)[0].step == adapted.step
    assert abs(engine.score(asked, steps)[0].logprob - engine.score(under, steps)[0].logprob) > 0.01
    assert engine.session(under).fork()[0].generate(Text(max_tokens=4)) is not None
    session = engine.session(under)
    assert scores(session.fork()[0]) == pytest.approx(scores(engine.session(session.tokens, adapter="one")), abs=1e-2)


def test_adapters_side_by_side(tiny: Path, files: dict[str, Path]) -> None:
    names = [None, "one", "two"] * 2
    with fresh(tiny, files) as engine:
        expected = {name: engine.session(PROMPT, adapter=name).generate(Text(max_tokens=40)).step for name in names}
    assert len({step.text for step in expected.values()}) == 3
    wrong: list[str | None] = []
    with fresh(tiny, files) as engine:

        def work(name: str | None) -> None:
            for _ in range(8):
                if engine.session(PROMPT, adapter=name).generate(Text(max_tokens=40)).step != expected[name]:
                    wrong.append(name)

        threads = [threading.Thread(target=work, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
    assert wrong == []


def test_a_long_text_under_one_does_not_hold_up_another(engine: LlamaEngine) -> None:
    long = Text(regex="[ab]{900}", max_tokens=901)
    stream = engine.session("a long one").stream(long)
    next(stream)
    before = engine.stats.tokens
    engine.session("short", adapter="one").generate(Text(max_tokens=3))
    assert engine.stats.tokens - before < 400
    *_, reply = stream
    assert isinstance(reply, Reply)
    assert len(reply.step.text) == 900


def test_the_scale_counts(tiny: Path, files: dict[str, Path]) -> None:
    with fresh(tiny, files) as engine:
        base, whole = scores(engine.session(PROMPT)), scores(engine.session(PROMPT, adapter="one"))
        engine.load_adapter("none of it", files["one"], scale=0.0)
        engine.load_adapter("half", files["one"], scale=0.5)
        assert scores(engine.session(PROMPT, adapter="none of it")) == pytest.approx(base, abs=1e-2)
        half = scores(engine.session(PROMPT, adapter="half"))
        assert np.abs(np.subtract(half, base)).max() > 0.05
        assert np.abs(np.subtract(half, whole)).max() > 0.05
        engine.load_adapter("same", files["one"])
        tokens = engine.stats.tokens
        engine.session(PROMPT, adapter="same").generate(Text(max_tokens=1))
        assert engine.stats.tokens - tokens <= 1  # another name of the same file shares what was read


def test_a_name_can_be_given_to_another(tiny: Path, files: dict[str, Path], tmp_path: Path) -> None:
    file = write_adapter(tmp_path / "mine.gguf", seed=1)
    with fresh(tiny) as engine:
        engine.load_adapter("mine", file)
        before = scores(engine.session(PROMPT, adapter="mine"))
        assert before == pytest.approx(alone(tiny, files, "one"), abs=1e-2)
        file.unlink()
        write_adapter(file, seed=2)  # trained anew
        engine.load_adapter("mine", file)
        assert scores(engine.session(PROMPT, adapter="mine")) == pytest.approx(alone(tiny, files, "two"), abs=1e-2)
        engine.unload_adapter("mine")
        engine.unload_adapter("mine")
        with pytest.raises(CannotEnforce, match="'mine' is not loaded"):
            engine.session(PROMPT, adapter="mine")
        assert engine.capabilities.adapters == ()


def test_what_cannot_be_used_is_refused_by_type(engine: LlamaEngine, tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(CannotEnforce, match="'three' is not loaded; there are: one, two"):
        engine.session(PROMPT, adapter="three")
    with pytest.raises(CannotEnforce, match="three"):
        list(engine.stream(Request(messages=[user_message(Task.of("x"))], adapter="three")))
    with pytest.raises(ModelNotFound, match=r"none\.gguf"):
        engine.load_adapter("three", tmp_path / "none.gguf")
    with pytest.raises(ModelNotFound):
        engine.load_adapter("three", tmp_path)
    whole = write_adapter(tmp_path / "whole.gguf")
    contents = {"page": b"<!DOCTYPE html>", "empty": b"", "cut": whole.read_bytes()[:400], "head": b"GGUF"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelFileError, match=name):
            engine.load_adapter("three", tmp_path / name)
    wrong = {"shape": {"width": 32}, "arch": {"arch": "qwen2"}, "kind": {"kind": "other"}}
    for name, given in wrong.items():
        with pytest.raises(ModelFileError, match="cannot use it with tiny"):
            engine.load_adapter("three", write_adapter(tmp_path / f"{name}.gguf", **given))
    with pytest.raises(ModelFileError):
        engine.load_adapter("three", tiny)  # a model is no adapter
    assert engine.capabilities.adapters == ("one", "two")
    assert len(engine.session(PROMPT).generate(Text(max_tokens=3)).step.token_ids) == 3


def test_an_engine_with_a_wrong_adapter_is_not_opened(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        fresh(tiny, {"a": tmp_path / "none.gguf"}, live=5)
    with fresh(tiny, live=5) as engine:
        assert engine.capabilities.adapters == ()  # nothing was left open


def test_changing_is_quick(engine: LlamaEngine) -> None:
    def seconds(names: list[str | None]) -> float:
        began = time.perf_counter()
        for n, name in enumerate(names):
            session = engine.session(f"{n}: a prompt", adapter=name)
            session.generate(Text(max_tokens=2))
        return time.perf_counter() - began

    seconds([None, "one"])
    best = min(seconds([None, "one"] * 15) for _ in range(2))
    assert best / 30 < 0.05  # a model loaded anew takes longer, even this one
