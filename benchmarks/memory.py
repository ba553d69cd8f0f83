"""Is the memory told from a header what llama.cpp then takes? Its own log says what it allocates.

python -m benchmarks.memory [--realistic] [--model GGUF] [--write]

Without options: small models of unlike shapes and sprout, each with two contexts, with and without flash attention.
`--realistic` makes a random model of the shape of Llama 3.2 1B for the time of the run, and reads the process's own
memory too.
"""

from __future__ import annotations

import argparse
import gc
import logging
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentkit.engine.llama.context import Context, ContextOptions, Part
from agentkit.engine.llama.fits import copied_types
from agentkit.engine.llama.model import Model
from agentkit.models import resolve
from agentkit.models.gguf import inspect
from agentkit.models.memory import MemoryEstimate, estimate
from benchmarks import memory_shapes, random_llama, render
from benchmarks.figures import Measured
from benchmarks.memory_shapes import SHAPES

CONTEXTS = (1024, 8192)
CLOSE, NEAR = 0.1, 1.5  # wanted of the weights and the cache; of the buffers
MEBIBYTE = 1 << 20
_LINE = re.compile(r"(model|KV|RS|compute|output) buffer size = +([\d.]+) MiB")
_FILE, _GREW = re.compile(r"file size += +([\d.]+) MiB"), re.compile(r"output buffer from size [\d.]+ MiB to ([\d.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One model with one context: what was told and what was taken, in bytes."""

    name: str
    told: MemoryEstimate
    taken: MemoryEstimate
    grown: int  # private memory of the process


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Is the estimate of memory right?")
    parser.add_argument("--model", type=Path, help="a GGUF, in place of all others")
    parser.add_argument("--realistic", action="store_true", help="a random model of 1.1 billion weights instead")
    parser.add_argument("--write", action="store_true", help="put the rows into benchmarks/results/")
    wanted = parser.parse_args(argv)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if wanted.realistic:
            paths = [random_llama.write(Path(folder) / "random-1b.gguf")]
        else:
            paths = [wanted.model] if wanted.model else [*small(Path(folder)), Path(str(resolve("sprout").path))]
        found = [compare(path, context) for path in paths for context in CONTEXTS]
        found += [compare(path, context, exact=True) for path in paths for context in CONTEXTS]
    for one in found:
        print(describe(one), file=sys.stderr)
    area = "engine-1b" if wanted.realistic else "engine"
    command = f"python -m benchmarks.memory{' --realistic' if wanted.realistic else ''} --write"
    measured = [*errors(found), *(private(found) if wanted.realistic else [])]
    render.publish(area, measured, command=command, began=began, write=wanted.write)
    return 0


def small(folder: Path) -> Iterator[Path]:
    """Write every shape, and one in a type that llama.cpp copies."""
    for name in SHAPES:
        yield memory_shapes.write(folder / f"{name}.gguf", name)
    shape = random_llama.Shape(layers=2, width=256, hidden=768, heads=4, kv_heads=2, vocab=4000, context=8192)
    yield random_llama.write(folder / "copied.gguf", shape)


def compare(path: Path, context: int, *, exact: bool = False) -> Compared:
    """Load the model as the engine does, read one batch with all the rows it may have, and read llama.cpp's log."""
    told = estimate(inspect(path), context, exact=exact, copied=copied_types())
    gc.collect()
    before = private_bytes()
    with log() as lines, Model(path) as model:
        opened = Context(model, ContextOptions(tokens=context, threads=1, exact=exact))
        try:
            n = min(opened.batch_tokens, opened.max_rows)
            opened.decode([Part(0, range(2, 2 + n), range(n))])
            grown = private_bytes() - before
        finally:
            opened.close()
    name = f"{path.stem}, {context} tokens{', exact' if exact else ''}"
    return Compared(name=name, told=told, taken=taken(lines), grown=grown)


def taken(lines: Sequence[str]) -> MemoryEstimate:
    """Return what the log of llama.cpp says was allocated.

    The log gives 0.01 MiB at best. Where matrices are copied, what is mapped beside them spans a part of the file
    that says little, so the weights are those that llama.cpp counted.
    """
    text = "\n".join(lines)
    sizes: dict[str, float] = {}
    for kind, size in _LINE.findall(text):
        sizes[kind] = sizes.get(kind, 0.0) + float(size)
    copied = sum(float(size) for size in re.findall(r"CPU_REPACK model buffer size = +([\d.]+) MiB", text))
    grew = _GREW.findall(text)
    output = float(grew[-1]) if grew else sizes.get("output", 0.0)
    counted = _FILE.search(text)
    assert counted is not None, "llama.cpp's log has changed: it no longer says how large the file is"
    weights = float(counted[1]) if copied else sizes["model"]
    return MemoryEstimate(
        weights=round(weights * MEBIBYTE),
        kv=round((sizes.get("KV", 0.0) + sizes.get("RS", 0.0)) * MEBIBYTE),
        buffers=round((sizes["compute"] + output) * MEBIBYTE),
        copied=round(copied * MEBIBYTE),
    )


def errors(found: Sequence[Compared]) -> list[Measured]:
    """Return the largest error of each part."""

    def worst(part: str) -> float:
        pairs: list[tuple[int, int]] = [(getattr(one.told, part), getattr(one.taken, part)) for one in found]
        return round(max(abs(told - took) / max(took, 1) for told, took in pairs if told or took), 4)

    factor = max(max(one.told.buffers / one.taken.buffers, one.taken.buffers / one.told.buffers) for one in found)
    n, end = len(found), "told from the header against llama.cpp's own log, largest error"
    rows = [
        Measured(id="memory-weights", what=f"weights {end}", value=worst("weights"), unit="ratio", n=n, target=CLOSE),
        Measured(id="memory-kv", what=f"cache {end}", value=worst("kv"), unit="ratio", n=n, target=CLOSE),
        Measured(id="memory-buffers", what="buffers told from the header, largest factor", value=round(factor, 3),
                 unit="ratio", n=n, target=NEAR),
    ]  # fmt: skip
    if any(one.taken.copied or one.told.copied for one in found):
        what = f"weights that are copied, {end}"
        rows.append(Measured(id="memory-copied", what=what, value=worst("copied"), unit="ratio", n=n, target=CLOSE))
    return rows


def private(found: Sequence[Compared]) -> list[Measured]:
    """Return how far what must be there is from the private memory that the process grew by."""
    ratios = sorted(one.grown / one.told.needed for one in found)
    return [
        Measured(id="memory-private", what="private memory the process grew by, against what was told to be needed",
                 value=round(ratios[-1], 3), interval=(round(ratios[0], 3), round(ratios[-1], 3)), unit="ratio",
                 n=len(found))
    ]  # fmt: skip


def describe(one: Compared) -> str:
    """Return one comparison as a line, in MiB."""
    parts = ("weights", "kv", "buffers", "copied")
    pairs = ((part, getattr(one.told, part) / MEBIBYTE, getattr(one.taken, part) / MEBIBYTE) for part in parts)
    text = ", ".join(f"{part} {told:.2f} / {took:.2f}" for part, told, took in pairs)
    return f"{one.name}: {text}; grown by {one.grown / MEBIBYTE:.0f}"


@contextmanager
def log() -> Iterator[list[str]]:
    """Collect llama.cpp's log."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("agentkit.llama"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def private_bytes() -> int:
    """Return this process's memory that no file backs; 0 where the system does not say."""
    status = Path("/proc/self/status")
    text = status.read_text(encoding="ascii", errors="replace") if status.exists() else ""
    found = re.search(r"^RssAnon:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
