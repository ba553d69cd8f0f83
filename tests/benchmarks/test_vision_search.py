"""The benchmark of search: it finds what it should, and a slice of it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agentkit_vision.search.collection import Collection
from agentkit_vision.search.query import Searcher
from benchmarks import vision_search
from benchmarks.vision_search import RandomEncoder, Timed, indexed, picture


def test_what_is_measured_is_a_search(tmp_path: Path) -> None:
    encoder = Timed(RandomEncoder())
    assert indexed(tmp_path, encoder, 300) > 0
    assert encoder.seconds > 0
    with Collection(tmp_path / "collection") as collection:
        now = collection.snapshot()
        found = Searcher(collection, encoder).find(photo=picture(1_000), k=5)
        vectors = np.asarray(now.matrix, np.float32)
    by_hand = np.argsort(-vectors @ RandomEncoder().embed_images([picture(1_000).pixels])[0])[:5]
    assert [hit.path for hit in found.hits] == [now.paths[n] for n in by_hand]


def test_a_slice(capsys: pytest.CaptureFixture[str]) -> None:
    assert vision_search.main(["--slice", "--write"]) == 0
    said = capsys.readouterr().out
    assert "vision-search-plain-p95" in said
    assert "vision-search-loop-p50" in said
    assert not (
        Path(vision_search.__file__).parent / "results" / "vision-search.json"
    ).exists() or "500 images" not in (
        Path(vision_search.__file__).parent / "results" / "vision-search.json"
    ).read_text(encoding="utf-8")
