"""Refused before loading: only what cannot be there, with what is needed, what there is, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit.engine.llama import fits, loaded
from agentkit.engine.llama.context import Context, ContextOptions
from agentkit.engine.llama.fits import check_fits, copied_types, fit
from agentkit.engine.llama.model import Model
from agentkit.errors import ModelError, ModelFileError, ModelNotFound
from agentkit.models import memory as estimates
from agentkit.models.formats import TENSOR_TYPES
from agentkit.models.gguf import inspect
from agentkit.models.machine import Memory


def machine(monkeypatch: pytest.MonkeyPatch, free: int, swap: int = 0) -> None:
    there = Memory(place="this machine", total=2 * free, free=free, swap=swap)
    monkeypatch.setattr(fits, "memory", lambda: there)
    monkeypatch.setattr(fits, "_gpu_memory", lambda: None)


def test_what_fits_is_not_refused(tiny: Path) -> None:
    check_fits(tiny, None)
    check_fits(tiny, 4096, live=4, exact=True)
    found = fit(inspect(tiny))
    assert (found.verdict, found.advice, found.context, found.largest_context) == ("yes", "", 2048, 2048)
    assert str(found).endswith(f"is free on {found.memory.place}" if found.memory else "tokens")


def test_what_cannot_fit_is_refused_with_a_way_out(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, free=8_000_000)
    with pytest.raises(ModelError) as caught:
        check_fits(tiny, 100_000)
    message = str(caught.value)
    assert message.startswith(f"{tiny}: it does not fit: it takes 156 MB")
    assert "with a context of 100000 tokens, and 8 MB of 16 MB is free on this machine" in message
    assert "set engine.context to at most 2048" in message
    assert "\n" not in message
    check_fits(tiny, 2048)  # as it says


def test_a_model_that_fits_with_no_context_says_so(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, free=1_000_000)
    with pytest.raises(ModelError, match=r"; take a smaller quantisation or a smaller model, or close other programs$"):
        check_fits(tiny, None)
    assert fit(inspect(tiny)).largest_context == 0


def test_swap_and_weights_that_stay_in_the_file_are_no_reason_to_refuse(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = inspect(tiny)
    need = fit(info).estimate
    machine(monkeypatch, free=need.total - 1)
    assert fit(info).verdict == "slowly"
    check_fits(tiny, None)
    machine(monkeypatch, free=1000, swap=need.total)
    assert fit(info).verdict == "slowly"
    check_fits(tiny, None)
    machine(monkeypatch, free=1000, swap=1000)
    assert fit(info).verdict == "no"


def test_on_a_gpu_the_weights_must_fit_too(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = inspect(tiny)
    need = estimates.estimate(info, copied=estimates.ALL_TYPES)
    least = need.copied + need.kv + int(need.buffers / 1.5)
    assert need.copied > info.weight_bytes / 2

    def gpu(free: int) -> None:
        monkeypatch.setattr(fits, "_gpu_memory", lambda: Memory(place="CUDA0", total=1 << 33, free=free))

    gpu(least)
    assert fit(info).verdict == "yes"
    gpu(least - 1)
    with pytest.raises(ModelError, match=r"is free on CUDA0 .*or set engine.gpu_layers to none"):
        check_fits(tiny, None)
    check_fits(tiny, None, gpu_layers="none")


def test_where_nothing_is_known_nothing_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "memory", lambda: None)
    monkeypatch.setattr(fits, "_gpu_memory", lambda: None)
    check_fits(tiny, 10**9)
    found = fit(inspect(tiny), 10**9)
    assert (found.verdict, found.advice, found.largest_context) == ("unknown", "", None)


def test_no_file_and_no_model_are_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        check_fits(tmp_path / "none.gguf", None)
    (tmp_path / "empty.gguf").write_bytes(b"")
    with pytest.raises(ModelFileError):
        check_fits(tmp_path / "empty.gguf", None)


def test_the_devices_of_this_build_can_be_asked() -> None:
    found = fits._gpu_memory()
    assert found is None or 0 < found.free <= found.total


@pytest.mark.parametrize(
    ("said", "some", "none"),
    [
        ("CPU : AVX2 = 1 | REPACK = 1 |", {"Q4_0", "Q4_K"}, {"Q8_0", "Q2_K", "F16"}),
        ("CPU : AVX2 = 1 | AVX512 = 1 | REPACK = 1 |", {"Q4_0", "Q2_K"}, {"Q8_0"}),
        ("CPU : NEON = 1 | DOTPROD = 1 | REPACK = 1 |", {"Q4_0", "Q8_0", "Q6_K"}, {"F16"}),
        ("CPU : AVX2 = 1 |", set(), {"Q4_0"}),
    ],
)
def test_what_is_copied_follows_the_processor(
    said: str, some: set[str], none: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits, "system_info", lambda: said)
    assert some <= copied_types()
    assert not none & copied_types()
    assert copied_types() <= {name for name, _, _ in TENSOR_TYPES.values()}


def test_the_numbers_are_those_of_the_engine(tiny: Path) -> None:
    assert estimates.DEFAULT_CONTEXT == loaded.DEFAULT_CONTEXT
    usual, small = ContextOptions(tokens=512, threads=1), ContextOptions(tokens=200, threads=1, batch=32, live=4)
    assert (usual.batch, usual.live) == (estimates.BATCH, estimates.LIVE)
    with Model(tiny) as model:
        for options in (usual, small):
            context = Context(model, options)
            assert context.max_rows == estimates.rows(model.n_vocab, context.batch_tokens, context.live)
            assert context.size == estimates.padded(options.tokens)
            context.close()
