"""How long does a search take beyond the encoder, and what does it hold in memory?

python -m benchmarks.vision_search [--encoder NAME] [--images N] [--slice] [--write]

Files are indexed the way `index_images` does it and searched from a process of its own: by words, by a photo, by both, with
filters and with diversity. Without `--encoder`, vectors of a fixed seed stand for an encoder that takes no time; with it, pictures
of random pixels are really embedded, and the encoder's own time is taken off. Beside it stand what a user would write, a loop over
a list of vectors, and sqlite-vec where it is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agentkit_vision.contracts import Encoder, Picture, Pixels, Vectors
from agentkit_vision.search.collection import Collection
from agentkit_vision.search.filters import Filters
from agentkit_vision.search.query import Searcher
from agentkit_vision.search.updating import update
from agentkit_vision.search.writer import Writer
from benchmarks import render
from benchmarks.figures import ROOT, Measured

COMMAND = "python -m benchmarks.vision_search --write"
IMAGES, QUERIES, DIM, K, SIDE = 10_000, 300, 128, 10, 48
TARGET_MS = 20.0
ATTRIBUTES = {"colour": ("red", "blue", "green", "grey"), "category": ("shoe", "bag", "hat", "mug")}
TEXTS = ("red shoe", "a blue bag", "like this but green", "not grey", "something in blue")
KINDS: dict[str, dict[str, Any]] = {"plain": {}, "diverse": {"relevance": 0.7}, "filtered": {"filters": Filters(labels={"brand": ["b3"]})}}  # fmt: skip
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


class RandomEncoder:
    """Vectors of a fixed seed, in no time: a picture's by its first pixels, a text's by its letters."""

    name, fingerprint, dim, attributes = "random", "random-1", DIM, ATTRIBUTES

    def embed_images(self, images: Sequence[Pixels]) -> Vectors:
        """Return (n, dim)."""
        return self._vectors([image[0, :4].tobytes() for image in images])

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return (n, dim)."""
        return self._vectors([text.encode() for text in texts])

    def _vectors(self, keys: Sequence[bytes]) -> Vectors:
        seeds = [int.from_bytes(hashlib.sha256(key).digest()[:8], "big") for key in keys]
        rows = np.array([np.random.default_rng(seed).standard_normal(DIM, np.float32) for seed in seeds])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


class Timed:
    """An encoder whose own time is counted."""

    def __init__(self, encoder: Encoder) -> None:
        self.name, self.fingerprint, self.dim, self.attributes = encoder.name, encoder.fingerprint, encoder.dim, encoder.attributes  # fmt: skip
        self.seconds, self._encoder = 0.0, encoder

    def embed_images(self, images: Sequence[Pixels]) -> Vectors:
        """Return (n, dim)."""
        return self._timed(lambda: self._encoder.embed_images(images))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return (n, dim)."""
        return self._timed(lambda: self._encoder.embed_texts(texts))

    def _timed(self, work: Callable[[], Vectors]) -> Vectors:
        began = time.perf_counter()
        found = work()
        self.seconds += time.perf_counter() - began
        return found


def opened(name: str | None) -> Timed:
    """Return an encoder by name, or the one of random vectors."""
    if name is None:
        return Timed(RandomEncoder())
    from agentkit_vision.opening import open_encoder  # noqa: PLC0415  a model

    return Timed(open_encoder(name))


def picture(number: int) -> Picture:
    """Return random pixels of a seed."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    name = hashlib.sha256(pixels.tobytes()).hexdigest()
    return Picture(pixels=pixels, source=str(number), sha256=name, format="RAW", size=(SIDE, SIDE))


def loaded(path: Path) -> Picture:
    """Return the picture that a file's number stands for: what decoding takes is not searching's affair."""
    return picture(int(path.read_text()))


def indexed(folder: Path, encoder: Timed, images: int) -> float:
    """Write and index files; return the seconds that indexing took beyond the encoder."""
    files = [folder / f"{n:06d}.png" for n in range(images)]
    for n, file in enumerate(files):
        file.write_text(str(n))
    labels = {file: {"brand": f"b{n % 7}"} for n, file in enumerate(files)}
    encoder.seconds, began = 0.0, time.perf_counter()
    with Writer(folder / "collection", encoder, root=folder) as writer:
        changes = update(writer, encoder, files, loaded, labels=labels, batch=256)
    assert changes.added == images
    return time.perf_counter() - began - encoder.seconds


def searched(home: Path, encoder: Timed, queries: int) -> dict[str, Any]:
    """Search in this process; return milliseconds beyond the encoder for each kind of query, and memory in MB."""
    told: dict[str, Any] = {}
    before = resident()
    with Collection(home) as collection:
        began = time.perf_counter()
        searcher = Searcher(collection, encoder)
        searcher.find("red")
        told["first"] = [1000 * (time.perf_counter() - began)]
        for kind, more in KINDS.items():
            photos = [picture(n) if n % 3 or kind == "diverse" else None for n in range(queries)]
            told[kind] = []
            for n, photo in enumerate(photos):
                encoder.seconds, began = 0.0, time.perf_counter()
                searcher.find(TEXTS[n % len(TEXTS)], photo, k=K, **more)
                told[kind].append(1000 * (time.perf_counter() - began - encoder.seconds))
    return {**told, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1e6, "grown": (resident() - before) / 1e6}  # fmt: skip


def looped(home: Path, queries: int) -> list[float]:
    """Return the milliseconds of a loop over a list of vectors, as people write it."""
    with Collection(home) as collection:
        now = collection.snapshot()
        listed = [
            (path, np.array(now.matrix[slot], np.float32)) for path, slot in zip(now.paths, now.slots, strict=True)
        ]
    found = []
    for n in range(queries):
        query = RandomEncoder().embed_texts([str(n)])[0] if len(listed[0][1]) == DIM else listed[n % len(listed)][1]
        began = time.perf_counter()
        sorted(((float(np.dot(query, vector)), path) for path, vector in listed), reverse=True)[:K]
        found.append(1000 * (time.perf_counter() - began))
    return found


def with_sqlite_vec(home: Path, queries: int) -> list[float]:
    """Return the milliseconds of sqlite-vec's exact search over the same vectors; none where it cannot be loaded."""
    try:
        import sqlite_vec  # noqa: PLC0415  not everywhere

        database = sqlite3.connect(":memory:")
        database.enable_load_extension(True)
        sqlite_vec.load(database)
    except (ImportError, AttributeError, sqlite3.Error) as error:
        print(f"sqlite-vec is left out: {error}", file=sys.stderr)
        return []
    with Collection(home) as collection:
        now = collection.snapshot()
        rows = np.asarray(now.matrix[now.slots], np.float32)
    database.execute(f"CREATE VIRTUAL TABLE vectors USING vec0 (v float[{rows.shape[1]}] distance_metric=cosine)")
    database.executemany(
        "INSERT INTO vectors (rowid, v) VALUES (?, ?)", ((n, row.tobytes()) for n, row in enumerate(rows))
    )
    found = []
    for n in range(queries):
        query = rows[n % len(rows)].tobytes()
        began = time.perf_counter()
        database.execute("SELECT rowid, distance FROM vectors WHERE v MATCH ? AND k = ?", (query, K)).fetchall()
        found.append(1000 * (time.perf_counter() - began))
    database.close()
    return found


def apart(home: Path, encoder: str | None, queries: int) -> dict[str, Any]:
    """Search in a process of its own, so that its memory is its own."""
    told = [sys.executable, "-m", "benchmarks.vision_search", "--search", str(home), "--queries", str(queries)]
    ran = subprocess.run([*told, *(["--encoder", encoder] if encoder else [])], cwd=ROOT, capture_output=True, text=True, check=False)  # fmt: skip
    if ran.returncode:
        raise SystemExit(ran.stderr)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def rows_of(found: Mapping[str, Any], rivals: Mapping[str, list[float]], *, images: int, seconds: float, name: str) -> list[Measured]:  # fmt: skip
    """Return what was measured as rows."""
    of = f"{images:,} images, {name} vectors"
    rows = []
    for kind, words in (("plain", ""), ("diverse", " with diversity"), ("filtered", " with a filter")):
        for percent in (50, 95):
            rows.append(_percentile(f"vision-search-{kind}-p{percent}", f"a query beyond the encoder{words}, {of}", found[kind], percent, target=TARGET_MS))  # fmt: skip
    rows += [_percentile(f"vision-search-{rival}-p50", f"the same with {rival}, {of}", times, 50) for rival, times in rivals.items() if times]  # fmt: skip
    rows.append(Measured(id="vision-search-first", what=f"opening and the first query, {of}", value=round(found["first"][0], 2), unit="ms", n=1))  # fmt: skip
    rows.append(Measured(id="vision-search-memory", what=f"peak memory of a process that searches, {of}", value=round(found["peak"], 1), unit="MB", n=1))  # fmt: skip
    rows.append(Measured(id="vision-search-memory-grown", what=f"of that, by the collection and its queries, {of}", value=round(found["grown"], 1), unit="MB", n=1))  # fmt: skip
    rows.append(Measured(id="vision-index-seconds", what=f"indexing beyond the encoder and decoding, {of}", value=round(seconds, 2), unit="s", n=1))  # fmt: skip
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vision_search", description="How long does a search take?")  # fmt: skip
    parser.add_argument("--encoder", metavar="NAME", help="a real one (default: vectors of a fixed seed)")
    parser.add_argument("--images", type=int, default=IMAGES, help="(default: %(default)s)")
    parser.add_argument("--queries", type=int, default=QUERIES, help="of each kind (default: %(default)s)")
    parser.add_argument("--slice", action="store_true", help="a moment of it, to see that it works; writes nothing")
    parser.add_argument("--search", type=Path, metavar="COLLECTION", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="write rows into benchmarks/results/vision-search.json")
    wanted = parser.parse_args(argv)
    encoder = opened(wanted.encoder)
    if wanted.search is not None:
        print(json.dumps(searched(wanted.search, encoder, wanted.queries)))
        return 0
    began = time.monotonic()
    images, queries = (500, 12) if wanted.slice else (wanted.images, wanted.queries)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        seconds = indexed(folder, encoder, images)
        found = apart(folder / "collection", wanted.encoder, queries)
        rivals = {"loop": looped(folder / "collection", min(queries, 50)), "sqlite-vec": with_sqlite_vec(folder / "collection", queries)}  # fmt: skip
    rows = rows_of(found, rivals, images=images, seconds=seconds, name=encoder.name)
    command = f"{COMMAND}{f' --encoder {wanted.encoder}' if wanted.encoder else ''}"
    render.publish("vision-search", rows, command=command, began=began, write=wanted.write and not wanted.slice)
    return 0


def resident() -> int:
    """Return the memory that this process holds now, in bytes; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * resource.getpagesize() if status.exists() else 0


def _percentile(id: str, what: str, times: Sequence[float], percent: int, target: float | None = None) -> Measured:
    """Return a percentile with its bootstrap interval."""
    drawn = np.random.default_rng(0).choice(times, (1000, len(times)))
    low, high = np.percentile(np.percentile(drawn, percent, axis=1), (2.5, 97.5))
    return Measured(id=id, what=f"{what}, p{percent}", value=round(float(np.percentile(times, percent)), 3), unit="ms", n=len(times), interval=(round(float(low), 3), round(float(high), 3)), target=target)  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
