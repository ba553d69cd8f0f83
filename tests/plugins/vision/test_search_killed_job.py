"""The job `index_images` in a process of its own, with a real encoder of random weights, killed and gone on with."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from PIL import Image  # noqa: E402

from agentkit import jobs  # noqa: E402
from agentkit.errors import StoreError  # noqa: E402
from agentkit_vision.opening import open_encoder  # noqa: E402
from agentkit_vision.pictures import load  # noqa: E402
from agentkit_vision.search.collection import Collection  # noqa: E402
from agentkit_vision.search.indexing import INDEX  # noqa: E402
from agentkit_vision.search.query import Searcher  # noqa: E402
from tests.plugins.vision import hugging_models as make  # noqa: E402

IMAGES = 150


def size_of(home: Path) -> int:
    with contextlib.suppress(StoreError), Collection(home) as collection:
        return len(collection.snapshot())
    return 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_killed_job_goes_on_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    clip, folder = make.clip(tmp_path / "clip"), tmp_path / "pictures"
    folder.mkdir()
    for n in range(IMAGES):
        Image.fromarray(make.pixels(n, 24, 24)).save(folder / f"{n:03d}.png")
    params = {"folder": str(folder), "encoder": str(clip), "batch": 2}
    whole = jobs.start(INDEX, {**params, "collection": str(tmp_path / "whole")}, run_dir=tmp_path / "run-whole").wait(
        100
    )
    assert whole.status == "ok", whole.error

    home, run = tmp_path / "killed", tmp_path / "run-killed"
    handle = jobs.start(INDEX, {**params, "collection": str(home)}, run_dir=run)
    assert handle.process is not None
    until = time.monotonic() + 60
    while not size_of(home) and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(handle.process.pid, signal.SIGKILL)
    handle.process.wait()
    assert 0 < size_of(home) < IMAGES
    assert jobs.read(run).status == "interrupted"
    done = jobs.resume(run).wait(100)
    assert (done.status, done.metrics["images"]) == ("ok", IMAGES), done.error
    assert done.metrics["same"] > 0

    with Collection(home) as one, Collection(tmp_path / "whole") as other:
        now, then = one.snapshot(), other.snapshot()
        assert (now.paths, now.sha256, now.ids.tolist()) == (then.paths, then.sha256, then.ids.tolist())
        assert np.array_equal(now.matrix[now.slots], then.matrix[then.slots])
        searcher, photo = Searcher(one, open_encoder(str(clip))), load(folder / "007.png")
        found = searcher.find("anything at all", photo, k=5)
        assert found.how == "photo + text"
        assert len(found.hits) == 5
        assert all(hit.path != "007.png" for hit in found.hits)
        assert searcher.find(photo=photo, k=1).hits[0].score <= 1.001
