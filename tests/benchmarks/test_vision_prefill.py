"""What a resampler saves a language model: a slice of the measurement, and its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the vision extra is not installed")
pytest.importorskip("matplotlib", reason="the vision extra is not installed")

from benchmarks import figures, random_llama, vision_prefill  # noqa: E402
from benchmarks.random_llama import LLAMA_1B, Shape  # noqa: E402
from benchmarks.vision_prefill import LATENTS, SMALL, SMALL_TOKENS, Point  # noqa: E402


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def point(tokens: int, plain: tuple[float, ...], resampler: tuple[float, ...], latents: tuple[float, ...]) -> Point:
    return Point(
        tokens=tokens, plain=plain, resampler=resampler, latents=latents, plain_adds=1000 * tokens,
        resampler_adds=10 * tokens, latents_adds=1000 * LATENTS,
    )  # fmt: skip


def test_a_slice_is_measured_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vision_prefill, "PICTURE", tmp_path / "drawn.png")
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    assert vision_prefill.main(["--slice", "--threads", "1", "--repeats", "2", "--write"]) == 0
    said = capsys.readouterr().out
    assert all(f"vision-prefill-ratio-{n}" in said for n in SMALL_TOKENS)
    assert list(tmp_path.iterdir()) == []


def test_the_measurement_times_every_arm_as_often(tmp_path: Path) -> None:
    path = random_llama.write(tmp_path / "small.gguf", SMALL)
    points = vision_prefill.measure(path, SMALL, (32, 1024), threads=1, repeats=3)
    for one in points:
        for arm in (one.plain, one.resampler, one.latents):
            assert len(arm) == 3
            assert min(arm) > 0
    few, many = points
    assert min(many.plain) > min(few.plain)  # 32 times the tokens
    assert min(many.plain) > min(many.latents)


def test_the_language_model_reads_the_latents_themselves(tmp_path: Path) -> None:
    path = random_llama.write(tmp_path / "small.gguf", SMALL)
    reader = vision_prefill.Reader(path, SMALL, threads=1, most=1024)
    try:
        latents = reader.resample(torch.randn(1, 100, reader.config.input_width))
        assert latents.shape == (LATENTS, SMALL.width)
        for values in (reader.visual(700), latents, reader.visual(3)):  # more than a batch, and fewer after
            reader.read(values)
            assert reader.context.length(0) == len(values)
    finally:
        reader.close()


def test_rows_say_what_was_timed() -> None:
    measured = vision_prefill.rows([point(64, (2.0, 2.2, 2.4), (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))])
    found = {row.id: row for row in measured}
    assert found["vision-prefill-64"].value == 2.2
    assert found["vision-prefill-64"].interval == (2.0, 2.4)
    assert found["vision-resampled-64"].value == 1.2
    assert found["vision-resampler-64"].value == 0.2
    assert found["vision-prefill-ratio-64"].value == round(1.2 / 2.2, 3)
    assert found["vision-prefill-adds-64"].value == (640 + 16_000) / 64_000
    assert all(row.unit in {"s", "ratio"} and row.target is None for row in found.values())


def test_multiply_adds_of_a_llama_are_those_that_torch_counts() -> None:
    transformers = pytest.importorskip("transformers")
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    shape, tokens = Shape(layers=3, width=64, hidden=96, heads=4, kv_heads=4, vocab=100, context=128), 48
    model = transformers.LlamaModel(
        transformers.LlamaConfig(
            vocab_size=100, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=4,
        )
    ).eval()  # fmt: skip
    model.requires_grad_(False)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(input_ids=torch.arange(tokens)[None])
    counted = counter.get_total_flops()
    masked = 2 * 3 * 2 * 64 * (tokens**2 - tokens * (tokens + 1) // 2)  # torch computes what the causal mask then hides
    last_feed = 2 * 3 * 64 * 96 * tokens  # llama.cpp leaves it out
    assert counted - masked - last_feed == 2 * vision_prefill.multiply_adds(shape, tokens)


def test_the_resampler_is_worth_it_from_few_tokens_on() -> None:
    """Of multiply-adds, on the shape that is measured; a sixteenth of the tokens costs little more than a sixteenth."""
    from agentkit_vision.nn.resampler import multiply_adds

    config = vision_prefill.config_of(LLAMA_1B)
    shares = [
        (multiply_adds(config, n) + vision_prefill.multiply_adds(LLAMA_1B, LATENTS)) / vision_prefill.multiply_adds(LLAMA_1B, n)
        for n in vision_prefill.TOKENS
    ]  # fmt: skip
    assert shares == sorted(shares, reverse=True)
    assert shares[0] < 0.5
    assert shares[-1] < 0.02


def test_the_picture_is_a_picture(tmp_path: Path) -> None:
    image: Any = pytest.importorskip("PIL.Image")
    points = [point(n, (n / 50, n / 40), (n / 5000, n / 4000), (0.3, 0.3)) for n in (64, 256, 1024)]
    vision_prefill.plot(points, tmp_path / "new" / "drawn.png")
    with image.open(tmp_path / "new" / "drawn.png") as drawn:
        assert drawn.size == (1200, 504)
