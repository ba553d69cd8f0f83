"""The job `index_images`, with an encoder that needs no model."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit import jobs
from agentkit.errors import InvalidParams
from agentkit_vision.search.collection import Collection, home_in, vectors_file
from agentkit_vision.search.indexing import INDEX, plan
from agentkit_vision.search.writer import Writer
from tests.plugins.vision import search_toys
from tests.plugins.vision.search_toys import ToyEncoder, pixels_of, shop, write

pytest.importorskip("PIL")
from PIL import Image


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> ToyEncoder:
    """An encoder that the job opens by any name, and the loader of its world."""
    toy = ToyEncoder()
    monkeypatch.setattr("agentkit_vision.opening.open_encoder", lambda name: toy)
    monkeypatch.setattr("agentkit_vision.pictures.load", search_toys.load)
    return toy


def indexed(folder: Path, *, run: str = "run", budget: jobs.Budget | None = None, resume: jobs.Resume = "if_possible", **params: Any) -> jobs.JobResult:  # fmt: skip
    return jobs.run(INDEX, {"folder": str(folder), **params}, run_dir=folder.parent / run, budget=budget, resume=resume)


def test_a_folder_is_indexed_once_and_followed(tmp_path: Path, encoder: ToyEncoder) -> None:
    folder = tmp_path / "shop"
    files = shop(folder)
    first = indexed(folder)
    assert first.status == "ok", first.error
    assert {name: first.metrics[name] for name in ("added", "same", "removed", "failed", "images")} == {"added": 72, "same": 0, "removed": 0, "failed": 0, "images": 72}  # fmt: skip
    assert first.metrics["collection"] == str(home_in(folder))
    batches = len(encoder.batches)
    assert indexed(folder) == first  # nothing has changed: it is not run again
    write(files[0], ("hat", "grey", "plain"), 500)
    files[1].unlink()
    second = indexed(folder)
    assert (second.metrics["added"], second.metrics["same"], second.metrics["removed"]) == (1, 70, 1)
    assert len(encoder.batches) == batches + 1
    with Writer(home_in(folder)) as writer:
        writer.remove([files[2].name])
    third = indexed(folder)  # somebody took one out: that is a reason to run
    assert (third.metrics["added"], third.metrics["embedded"], third.metrics["images"]) == (1, 1, 71)


def test_the_plan_counts_what_is_new(tmp_path: Path, encoder: ToyEncoder) -> None:
    files = shop(tmp_path / "shop")
    told = plan({"folder": str(tmp_path / "shop")})
    assert told.why == "72 pictures, 72 of them new or changed"
    assert told.seconds > 1
    assert told.disk_bytes > 72 * 500
    assert not home_in(tmp_path / "shop").exists()  # a plan changes nothing
    indexed(tmp_path / "shop")
    write(files[0], ("hat", "grey", "plain"), 500)
    again = plan({"folder": str(tmp_path / "shop")})
    assert again.why == "72 pictures, 1 of them new or changed"
    assert again.disk_bytes < told.disk_bytes / 50


def test_pictures_as_people_have_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = ToyEncoder()
    monkeypatch.setattr("agentkit_vision.opening.open_encoder", lambda name: toy)
    monkeypatch.setattr(toy, "embed_images", lambda images: ToyEncoder().embed_images([pixels_of(("bag", "red", "plain"), int(image[0, 0, 0])) for image in images]))  # fmt: skip
    (tmp_path / "shop" / "in").mkdir(parents=True)
    for n, name in enumerate(("a.png", "in/b.jpg", "c.webp", "no-ending")):
        Image.new("RGB", (300, 200), (n, 0, 0)).save(tmp_path / "shop" / name, "PNG" if n == 3 else None)
    (tmp_path / "shop" / "d.png").write_text("<html>not found</html>")
    (tmp_path / "shop" / "readme.txt").write_text("x")
    done = indexed(tmp_path / "shop")
    assert (done.metrics["added"], done.metrics["failed"]) == (4, 1)
    with Collection(home_in(tmp_path / "shop")) as collection:
        now = collection.snapshot()
        assert sorted(now.paths) == ["a.png", "c.webp", "in/b.jpg", "no-ending"]
        assert now.sizes.tolist() == [[300, 200]] * 4
        with Image.open(io.BytesIO(collection.thumbnail(1) or b"")) as thumbnail:
            assert thumbnail.size == (96, 64)
    assert indexed(tmp_path / "shop", recursive=False).metrics["removed"] == 0  # what is deeper is not known to be gone


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "/folder: is missing"),
        ({"folder": "/none/at/all"}, "/folder: /none/at/all is not there"),
        ({"folder": "/etc/hostname"}, "a file, not a folder"),
        ({"folder": "/tmp", "batch": 0}, "/batch"),
        ({"folder": "/tmp", "colour": 1}, "/colour: no such parameter"),
        ({"folder": "/tmp", "dtype": "int8"}, "/dtype"),
    ],
)
def test_what_cannot_be_indexed_is_told(params: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidParams, match=said):
        plan(params)


def test_corrupt_files_are_told_and_all_the_rest_is_indexed(tmp_path: Path, encoder: ToyEncoder) -> None:
    files = shop(tmp_path / "shop", of_each=1)
    files[3].write_text("an HTML page")
    done = indexed(tmp_path / "shop", batch=5)
    assert (done.status, done.metrics["added"], done.metrics["failed"]) == ("ok", 35, 1)
    assert "not a picture" in done.metrics["failures"][0]
    (listed,) = (one for one in done.artifacts if one.kind == "failures")
    told = json.loads((tmp_path / "run" / listed.path).read_text())
    assert told["path"] == files[3].name


def test_one_that_is_stopped_goes_on_to_the_same(tmp_path: Path, encoder: ToyEncoder) -> None:
    shop(tmp_path / "shop")
    whole = indexed(tmp_path / "shop", run="whole", batch=8, collection=str(tmp_path / "whole-c"))
    starts, status = 0, ""
    while status != "ok":
        how: jobs.Resume = "always" if starts else "never"  # what is half done does not change what is asked for
        done = indexed(
            tmp_path / "shop", batch=8, collection=str(tmp_path / "c"), budget=jobs.Budget(steps=20), resume=how
        )
        starts, status = starts + 1, done.status
        assert status in {"ok", "budget_exhausted"}
        assert starts < 9
    assert starts > 2
    assert whole.metrics["images"] == done.metrics["images"] == 72
    with Collection(tmp_path / "c") as one, Collection(tmp_path / "whole-c") as other:
        now, then = one.snapshot(), other.snapshot()
        assert (now.paths, now.sha256) == (then.paths, then.sha256)
        assert np.array_equal(now.matrix[now.slots], then.matrix[then.slots])


def test_a_cancelled_one_says_so(tmp_path: Path, encoder: ToyEncoder) -> None:
    shop(tmp_path / "shop")
    cancelled = threading.Event()
    cancelled.set()
    done = jobs.run(INDEX, {"folder": str(tmp_path / "shop")}, run_dir=tmp_path / "run", cancelled=cancelled)
    assert (done.status, done.metrics["images"]) == ("cancelled", 0)


def test_an_empty_folder_is_indexed(tmp_path: Path, encoder: ToyEncoder) -> None:
    (tmp_path / "shop").mkdir()
    done = indexed(tmp_path / "shop")
    assert (done.status, done.metrics["images"]) == ("ok", 0)


def test_another_encoder_needs_to_be_asked_for(tmp_path: Path, encoder: ToyEncoder) -> None:
    shop(tmp_path / "shop")
    indexed(tmp_path / "shop")
    encoder.fingerprint = "toy-2"
    refused = indexed(tmp_path / "shop", encoder="other")
    assert refused.status == "failed"
    assert "EncoderMismatch" in refused.error
    assert "index again with reindex" in refused.error
    done = indexed(tmp_path / "shop", encoder="other", reindex=True)
    assert (done.status, done.metrics["embedded"]) == ("ok", 72)


def test_damage_is_mended(tmp_path: Path, encoder: ToyEncoder) -> None:
    shop(tmp_path / "shop")
    indexed(tmp_path / "shop")
    file = vectors_file(home_in(tmp_path / "shop"), 1)
    file.write_bytes(file.read_bytes()[:4000])
    done = indexed(tmp_path / "shop")
    assert done.status == "ok", done.error
    assert 0 < done.metrics["embedded"] < 72
    assert done.metrics["images"] == 72
    assert "were damaged" in done.warnings[0]


def test_a_folder_that_shrank_is_compacted(tmp_path: Path, encoder: ToyEncoder) -> None:
    files = shop(tmp_path / "shop")
    indexed(tmp_path / "shop")
    for path in files[:60]:
        path.unlink()
    done = indexed(tmp_path / "shop")
    assert (done.metrics["removed"], done.metrics["images"]) == (60, 12)
    with Collection(home_in(tmp_path / "shop")) as collection:
        assert collection.info().dead == 0


def test_two_folders_share_a_collection(tmp_path: Path, encoder: ToyEncoder) -> None:
    one, two, shared = tmp_path / "one", tmp_path / "two", str(tmp_path / "c")
    files = shop(one, of_each=1)
    shop(two)
    assert indexed(one, run="1", collection=shared).metrics["images"] == 36
    both = indexed(two, run="2", collection=shared)
    assert both.metrics["images"] == 36 + 72
    assert both.metrics["embedded"] < 72  # half of them are the same pictures
    files[0].unlink()
    again = indexed(one, run="3", collection=shared)
    assert (again.metrics["removed"], again.metrics["images"]) == (1, 35 + 72)  # what is in the other folder stays


def test_labels_and_thumbnails_come_along(tmp_path: Path, encoder: ToyEncoder) -> None:
    files = shop(tmp_path / "shop", of_each=1)
    (tmp_path / "shop" / "metadata.jsonl").write_text(json.dumps({"file_name": files[0].name, "brand": "Acme"}) + "\n")
    indexed(tmp_path / "shop", thumbnail=16)
    with Collection(home_in(tmp_path / "shop")) as collection:
        assert collection.snapshot().labels[0] == {"brand": "Acme"}
        assert (collection.thumbnail(1) or b"").startswith(b"\x89PNG")
        assert collection.info().labels == {"brand": 1}
    (tmp_path / "shop" / "metadata.jsonl").unlink()
    assert indexed(tmp_path / "shop", thumbnail=16).metrics["embedded"] == 0
    with Collection(home_in(tmp_path / "shop")) as collection:
        assert collection.snapshot().labels[0] == {}


def test_what_cannot_be_looked_into_is_not_taken_for_gone(tmp_path: Path, encoder: ToyEncoder, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    shop(tmp_path / "shop", of_each=1)
    write(tmp_path / "shop" / "shut" / "a.png", ("hat", "grey", "plain"), 500)
    assert indexed(tmp_path / "shop").metrics["images"] == 37
    iterdir = Path.iterdir

    def refuses(folder: Path) -> Any:
        if folder.name == "shut":
            raise PermissionError(13, "Permission denied", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refuses)
    done = indexed(tmp_path / "shop")
    assert (done.metrics["removed"], done.metrics["images"]) == (0, 37)
    assert "cannot be read (Permission denied); what is in it was left as it is" in done.warnings[0]
