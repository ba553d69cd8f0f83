"""What a Perceiver resampler saves a language model: N visual tokens to read, or N tokens resampled to 16 latents and these to read.

python -m benchmarks.vision_prefill [--threads N] [--repeats 3] [--slice] [--write]

The language model is a random one of the shape of Llama 3.2 1B in llama.cpp, the resampler is torch's (two layers of width 1024, random
weights, single precision): time depends on shapes alone. Both have the same threads, and are timed turn about. What the model reads are
rows in the place of tokens: random ones for the visual tokens, and the resampler's own latents. The image encoder, which both need, is not
timed, and no logits are computed. Multiply-adds are computed from the shapes and stand beside the times. Not while anything else runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter
from numpy.typing import NDArray

from agentkit.engine.llama.context import Context, ContextOptions, Part
from agentkit.engine.llama.library import physical_cores
from agentkit.engine.llama.model import Model
from agentkit.engine.llama.rows import Row, Rows, Span
from agentkit_vision.nn import resampler
from agentkit_vision.nn.resampler import PerceiverResampler, ResamplerConfig
from benchmarks import random_llama, render
from benchmarks.engine_bench import interval, ratio
from benchmarks.figures import ROOT, Measured
from benchmarks.random_llama import LLAMA_1B, Shape

COMMAND = "python -m benchmarks.vision_prefill --write"
PICTURE = ROOT / "docs" / "vision-prefill.png"
TOKENS, LATENTS, SEED = (64, 256, 1024, 4096), 16, 7
INPUT, WIDTH, LAYERS, HEAD = 1024, 1024, 2, 64  # tokens are as wide as those of CLIP's ViT-L
SMALL = Shape(layers=2, width=128, hidden=256, heads=4, kv_heads=2, vocab=600, context=2048)
SMALL_TOKENS = (64, 256)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One number of visual tokens: seconds of each repetition, and multiply-adds."""

    tokens: int
    plain: tuple[float, ...]  # the language model reads all
    resampler: tuple[float, ...]
    latents: tuple[float, ...]  # the language model reads the latents
    plain_adds: int
    resampler_adds: int
    latents_adds: int

    @property
    def resampled(self) -> tuple[float, ...]:
        """Seconds with the resampler: its own, and those of the latents in the language model."""
        return tuple(one + other for one, other in zip(self.resampler, self.latents, strict=True))

    @property
    def resampled_adds(self) -> int:
        """Multiply-adds with the resampler."""
        return self.resampler_adds + self.latents_adds


def config_of(shape: Shape) -> ResamplerConfig:
    """Return the resampler for a language model: as wide as its tokens, or as the model where that is narrower."""
    width = min(WIDTH, shape.width)
    return ResamplerConfig(
        input_width=min(INPUT, width), width=width, latents=LATENTS, layers=LAYERS, heads=width // HEAD, head_width=HEAD,
        output_width=shape.width,
    )  # fmt: skip


def multiply_adds(shape: Shape, tokens: int) -> int:
    """Return the multiply-adds of a Llama that reads `tokens` tokens, one after another, and gives no logits.

    A token costs the matrices of a layer, and as much as twice the width for each token before it and itself. llama.cpp leaves out the
    feed-forward network of the last layer where no logits are wanted.
    """
    kv_width = shape.width * shape.kv_heads // shape.heads
    attention = 2 * shape.width * (shape.width + kv_width)
    feed = 3 * shape.width * shape.hidden
    pairs = tokens * (tokens + 1) // 2
    return shape.layers * (tokens * attention + 2 * shape.width * pairs) + (shape.layers - 1) * tokens * feed


class Reader:
    """The language model in llama.cpp, and the resampler in torch."""

    def __init__(self, path: Path, shape: Shape, *, threads: int, most: int) -> None:
        """Load both; `most` is the largest number of tokens that will be read."""
        torch.manual_seed(SEED)
        torch.set_num_threads(threads)
        self.rng = np.random.default_rng(SEED)
        self.config = config_of(shape)
        self.resampler = PerceiverResampler(self.config).eval()
        self.model = Model(path)
        self.context = Context(self.model, ContextOptions(tokens=most, threads=threads, live=1))

    def visual(self, tokens: int) -> NDArray[np.float32]:
        """Return random rows as wide as the language model's embeddings, (tokens, width)."""
        return self.rng.standard_normal((tokens, self.model.n_embd_input), dtype=np.float32)

    def read(self, values: NDArray[np.float32]) -> None:
        """Have the language model read rows (n, width) in the place of tokens, from nothing."""
        self.context.keep_first(0, 0)
        span = Span(self.context.vocabulary, Rows(values=values, length=len(values)))
        places = [Row.of(span, place) for place in range(len(values))]
        for start in range(0, len(places), self.context.batch_tokens):
            self.context.decode([Part(0, places[start : start + self.context.batch_tokens])])

    def resample(self, x: torch.Tensor) -> NDArray[np.float32]:
        """Return the resampler's latents of (1, N, input width) tokens, (K, width)."""
        with torch.inference_mode():
            found: NDArray[np.float32] = self.resampler(x)[0, 0].numpy()
        return found

    def close(self) -> None:
        """Free the language model."""
        self.context.close()
        self.model.close()


def timed(run: Callable[[], Result], spent: list[float]) -> Result:
    """Return what a call returns; the seconds it took are added to `spent`."""
    began = time.perf_counter()
    result = run()
    spent.append(time.perf_counter() - began)
    return result


def measure(path: Path, shape: Shape, tokens: Sequence[int], *, threads: int, repeats: int) -> list[Point]:
    """Time each number of tokens, all arms turn about, after one round of the smallest that does not count."""
    reader = Reader(path, shape, threads=threads, most=max(tokens))
    spent: Mapping[int, tuple[list[float], list[float], list[float]]] = {n: ([], [], []) for n in tokens}
    try:
        reader.read(reader.visual(min(tokens)))
        reader.read(reader.resample(torch.randn(1, min(tokens), reader.config.input_width)))
        for repeat in range(repeats):
            for n in tokens:
                x, visual = torch.randn(1, n, reader.config.input_width), reader.visual(n)
                plain, resampled, latents = spent[n]
                timed(partial(reader.read, visual), plain)
                found = timed(partial(reader.resample, x), resampled)
                timed(partial(reader.read, found), latents)
                print(f"\rround {repeat + 1} of {repeats}: {n} tokens   ", end="", file=sys.stderr)
    finally:
        reader.close()
    print(file=sys.stderr)
    return [
        Point(
            tokens=n, plain=tuple(spent[n][0]), resampler=tuple(spent[n][1]), latents=tuple(spent[n][2]),
            plain_adds=multiply_adds(shape, n), resampler_adds=resampler.multiply_adds(reader.config, n),
            latents_adds=multiply_adds(shape, LATENTS),
        )
        for n in tokens
    ]  # fmt: skip


def rows(points: Sequence[Point]) -> list[Measured]:
    """Return the rows: seconds of both ways, of the resampler alone, and what is left of time and of multiply-adds."""
    found = []
    for point in points:
        n = point.tokens
        found += [
            seconds(f"vision-prefill-{n}", f"the language model reads {n} visual tokens", point.plain),
            seconds(f"vision-resampled-{n}", f"{n} visual tokens are resampled to {LATENTS} latents, which it reads", point.resampled),
            seconds(f"vision-resampler-{n}", f"of this, the resampler over {n} tokens", point.resampler),
            ratio(f"vision-prefill-ratio-{n}", f"time with the resampler over time without, {n} visual tokens", point.resampled, point.plain),
            Measured(id=f"vision-prefill-adds-{n}", what=f"the same of multiply-adds, computed, {n} visual tokens", value=round(point.resampled_adds / point.plain_adds, 4), unit="ratio", n=1),
        ]  # fmt: skip
    return found


def seconds(id: str, what: str, spent: Sequence[float]) -> Measured:
    """Return a median time with its bootstrap interval."""
    ends = interval(spent, [1.0] * len(spent), np.divide)
    return Measured(id=id, what=what, value=round(float(np.median(spent)), 4), unit="s", n=len(spent), interval=ends)


def plot(points: Sequence[Point], path: Path) -> None:
    """Draw seconds and multiply-adds by the number of visual tokens, with and without the resampler, as a PNG."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    times, adds = figure.subplots(1, 2)
    n = [point.tokens for point in points]
    for values, name, style in (
        ([point.plain for point in points], "all visual tokens", "o-"),
        ([point.resampled for point in points], f"resampler and {LATENTS} latents", "s-"),
    ):
        medians = np.array([np.median(value) for value in values])
        ends = np.array([[medians[i] - min(value), max(value) - medians[i]] for i, value in enumerate(values)]).T
        times.errorbar(n, medians, yerr=ends, fmt=style, capsize=3, label=name)
    adds.plot(n, [point.plain_adds for point in points], "o-", label="all visual tokens")
    adds.plot(n, [point.resampled_adds for point in points], "s-", label=f"resampler and {LATENTS} latents")
    adds.plot(
        n, [point.resampler_adds for point in points], "s:", color="C1", alpha=0.6, label="of these, the resampler"
    )
    _axes(times, n, "seconds until the picture is read", "measured: median, and least to most")
    _axes(adds, n, "multiply-adds", "computed from the shapes")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _axes(axes: Axes, tokens: Sequence[int], name: str, title: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(tokens)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("visual tokens")
    axes.set_ylabel(name)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.vision_prefill", description="What a Perceiver resampler saves a language model."
    )
    parser.add_argument("--threads", type=int, help="of both (default: the physical cores)")
    parser.add_argument("--repeats", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--slice", action="store_true", help="a small model and few tokens, to see that it works; writes nothing")  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write rows into benchmarks/results/vision.json, and the picture into docs/")  # fmt: skip
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    shape, tokens = (SMALL, SMALL_TOKENS) if wanted.slice else (LLAMA_1B, TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        path = random_llama.write(Path(folder) / "random.gguf", shape)
        points = measure(path, shape, tokens, threads=wanted.threads or physical_cores(), repeats=wanted.repeats)
    if wanted.write and not wanted.slice:
        plot(points, PICTURE)
    render.publish("vision", rows(points), command=COMMAND, began=began, write=wanted.write and not wanted.slice)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
