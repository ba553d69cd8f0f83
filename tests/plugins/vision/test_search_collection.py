"""A collection on disk: one writer, undisturbed readers, one encoder, and damage that is told and mended."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from agentkit.errors import StoreError
from agentkit_vision.search import matrix, writer
from agentkit_vision.search.collection import Collection, home_in, vectors_file
from agentkit_vision.search.errors import CollectionBusy, DamagedCollection, EncoderMismatch, NotMade
from agentkit_vision.search.tables import DATABASE
from agentkit_vision.search.values import Entry
from agentkit_vision.search.writer import Writer
from tests.plugins.vision.search_toys import DIM, ToyEncoder, index, load, pixels_of, shop, write

ROOT = Path(__file__).parents[3]
VALUES = ("shoe", "red", "plain")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A collection of 72 pictures, inside their folder."""
    folder = tmp_path / "shop"
    index(home_in(folder), shop(folder))
    return home_in(folder)


def entry(path: Path, sha256: str = "a" * 64) -> Entry:
    return Entry(path=path, sha256=sha256, size=1, mtime_ns=1, width=1, height=1)


def vector(number: int = 0) -> np.ndarray:
    return ToyEncoder().embed_images([pixels_of(VALUES, number)])[0]


def test_rows_and_vectors_are_what_was_put_in(home: Path) -> None:
    with Collection(home) as collection:
        now, info = collection.snapshot(), collection.info()
        picture = load(collection.file_of(now.paths[10]))
    assert (info.images, info.vectors, info.dead, info.dim, info.dtype) == (72, 72, 0, DIM, "float16")
    assert (info.root, info.encoder, info.fingerprint) == (home.parent, "toy", "toy-1")
    assert now.paths[0] == "0000 shoe red plain.png"
    assert now.sizes[10].tolist() == [64, 48]
    assert picture.sha256 == now.sha256[10]
    np.testing.assert_allclose(now.matrix[now.slots[10]], ToyEncoder().embed_images([picture.pixels])[0], atol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_vectors_are_kept_as_asked(tmp_path: Path, dtype: str) -> None:
    with Writer(tmp_path / "c", ToyEncoder(), dtype=dtype) as collection:
        collection.add([entry(tmp_path / "a.png")], {"a" * 64: vector()})
        kept = collection.snapshot().matrix
        assert kept.dtype == dtype
        assert np.array_equal(kept[0], vector().astype(dtype))


def test_an_empty_collection_opens(tmp_path: Path) -> None:
    Writer(tmp_path / "c", ToyEncoder()).close()
    with Collection(tmp_path / "c") as collection:
        assert len(collection.snapshot()) == 0
        assert collection.snapshot().matrix.shape == (0, DIM)
        assert collection.info().images == 0


def test_vectors_of_two_encoders_never_meet(home: Path) -> None:
    other = ToyEncoder(fingerprint="toy-2")
    with pytest.raises(EncoderMismatch, match=r"another version of it.*index again with reindex"):
        Writer(home, other)
    with Collection(home) as collection, pytest.raises(EncoderMismatch):
        collection.check_encoder(other)
    with Collection(home) as before:
        assert len(before.snapshot()) == 72
        with Writer(home, other, reindex=True) as collection:
            assert len(collection.snapshot()) == 0
        assert before.fingerprint == "toy-2"
        assert len(before.snapshot()) == 0
    with Writer(home, other, reindex=True) as collection:  # already done: nothing is dropped
        collection.add([entry(home.parent / "a.png")], {"a" * 64: vector()})
    with Writer(home, other, reindex=True) as collection:
        assert len(collection.snapshot()) == 1


def test_another_encoders_file_in_its_place_is_seen(home: Path, tmp_path: Path) -> None:
    Writer(tmp_path / "other", ToyEncoder(fingerprint="toy-2")).close()
    shutil.copy(vectors_file(tmp_path / "other", 1), vectors_file(home, 1))
    with Collection(home) as collection, pytest.raises(DamagedCollection, match="not the vectors of this collection"):
        collection.snapshot()


@pytest.mark.parametrize("bad", [np.zeros(DIM), np.full(DIM, np.nan), np.ones(DIM), np.ones(3) / 3**0.5])
def test_what_is_no_vector_is_refused_whole(tmp_path: Path, bad: np.ndarray) -> None:
    with Writer(tmp_path / "c", ToyEncoder()) as collection:
        both = {"a" * 64: vector(), "b" * 64: bad.astype(np.float32)}
        with pytest.raises(StoreError, match="bbbbbbbbbbbb: the encoder gave no vector"):
            collection.add([entry(tmp_path / "a"), entry(tmp_path / "b", "b" * 64)], both)
        with pytest.raises(StoreError, match="no vector was given for it"):
            collection.add([entry(tmp_path / "c", "c" * 64)], {})
        assert len(collection.snapshot()) == 0


def test_removed_images_are_gone_and_compaction_gives_their_room_back(home: Path) -> None:
    with Collection(home) as reader:
        before = reader.snapshot()
        kept = np.array(before.matrix[before.slots[40]])
        with Writer(home) as collection:
            assert collection.remove([*before.paths[:40], "none"]) == 40
            assert (collection.info().images, collection.info().dead, collection.edits) == (32, 40, 1)
            size = vectors_file(home, 1).stat().st_size
            assert collection.compact() == 40
            assert collection.compact() == 0
        after = reader.snapshot()
        assert reader.info().dead == 0
        assert vectors_file(home, 2).stat().st_size < size
        assert not vectors_file(home, 1).exists()
        assert after.ids.tolist() == before.ids[40:].tolist()
        assert np.array_equal(after.matrix[after.slots[0]], kept)
        assert np.array_equal(before.matrix[before.slots[40]], kept)  # what was read before stays readable
        assert reader.damaged() == []


def test_copies_share_a_vector_until_the_last_is_gone(tmp_path: Path) -> None:
    names = [write(tmp_path / name, VALUES, 5) for name in ("a.png", "b.png")]
    index(tmp_path / "c", names)
    with Writer(tmp_path / "c") as collection:
        assert (collection.info().images, collection.info().vectors) == (2, 1)
        collection.remove(["a.png"])
        assert (collection.info().vectors, collection.info().dead) == (1, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such lock")
def test_there_is_one_writer(home: Path) -> None:
    with Writer(home):
        with pytest.raises(CollectionBusy, match=f"process {os.getpid()} is writing"):
            Writer(home)
        code = (
            f"from pathlib import Path; from agentkit_vision.search.writer import Writer; Writer(Path({str(home)!r}))"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "CollectionBusy" in ran.stderr
    waited = Writer(home)
    threading.Timer(0.3, waited.close).start()
    with Writer(home, wait_s=20):
        pass


def test_readers_in_other_processes_see_whole_batches_only(tmp_path: Path) -> None:
    home, encoder = tmp_path / "c", ToyEncoder()
    code = f"""
import time
from pathlib import Path
from agentkit_vision.search.collection import Collection
seen, until = set(), time.monotonic() + 30
with Collection(Path({str(home)!r})) as collection:
    print("open", flush=True)
    while len(collection.snapshot()) < 120 and time.monotonic() < until:
        now = collection.snapshot()
        assert len(now) % 4 == 0 and len(now.matrix) >= len(now), len(now)
        assert not collection.damaged()
        seen.add(len(now))
print(len(seen))
"""
    with Writer(home, encoder) as collection:
        reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        for start in range(0, 120, 4):
            some = {f"{n:064d}": vector(n) for n in range(start, start + 4)}
            collection.add([entry(tmp_path / f"{sha256}.png", sha256) for sha256 in some], some)
            if start == 60:
                collection.remove([f"{n:064d}.png" for n in range(4)])
                collection.compact()
                some = {f"{n:064d}": vector(n) for n in range(4)}
                collection.add([entry(tmp_path / f"{sha256}.png", sha256) for sha256 in some], some)
            time.sleep(0.005)
    said, errors = reader.communicate(timeout=60)
    assert errors == ""
    assert int(said) > 2  # it looked while it was written


def test_a_moved_folder_takes_its_collection_along(home: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    home.parent.rename(moved)
    with Collection(home_in(moved)) as collection:
        assert collection.root == moved
        assert collection.file_of(collection.snapshot().paths[3]).exists()
    assert index(home_in(moved), sorted(moved.glob("*.png"))).same == 72


def test_pictures_that_moved_away_from_their_collection(tmp_path: Path) -> None:
    files, home = shop(tmp_path / "shop"), tmp_path / "collection"
    with Writer(home, ToyEncoder(), root=tmp_path / "shop") as collection:
        collection.add([entry(files[0])], {"a" * 64: vector()})
    (tmp_path / "shop").rename(tmp_path / "moved")
    with Collection(home) as collection:
        assert collection.root == tmp_path / "shop"
    with Collection(home, root=tmp_path / "moved") as collection:
        assert collection.file_of(collection.snapshot().paths[0]).exists()
    Writer(home, root=tmp_path / "moved").close()
    with Collection(home) as collection:
        assert collection.root == tmp_path / "moved"


def test_a_matrix_that_was_cut_short_is_told_and_mended(home: Path) -> None:
    file = vectors_file(home, 1)
    with file.open("r+b") as opened:
        opened.truncate(matrix.HEADER + 50 * DIM * 2 + 7)
    with Collection(home) as collection:
        with pytest.raises(DamagedCollection, match="holds 50 of 72 vectors; index its folder again"):
            collection.snapshot()
        assert len(collection.damaged()) == 22
    with Writer(home, ToyEncoder()) as collection:
        assert collection.mend() == 22
        assert len(collection.snapshot()) == 50
        assert collection.mend() == 0
    again = index(home, sorted(home.parent.glob("*.png")))
    assert (again.added, again.embedded, again.same) == (22, 22, 50)


@pytest.mark.parametrize("how", ["flipped", "garbage", "gone", "empty"])
def test_a_matrix_that_is_something_else_is_told_and_mended(home: Path, how: str) -> None:
    file = vectors_file(home, 1)
    data = bytearray(file.read_bytes())
    if how == "flipped":
        data[matrix.HEADER + 5 * DIM * 2] ^= 0x40
        file.write_bytes(data)
    elif how == "garbage":
        file.write_bytes(os.urandom(len(data)))
    elif how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"")
    with Writer(home, ToyEncoder()) as collection:
        assert collection.mend() == (1 if how == "flipped" else 72)
        collection.snapshot()
    again = index(home, sorted(home.parent.glob("*.png")))
    assert again.embedded == (1 if how == "flipped" else 72)
    with Collection(home) as collection:
        assert (len(collection.snapshot()), collection.damaged()) == (72, [])


def test_rows_that_are_damaged_are_told(home: Path) -> None:
    (home / DATABASE).write_bytes(b"no database at all, but long enough to be looked at" * 20)
    with pytest.raises(DamagedCollection, match="delete the collection's folder and index again"):
        Collection(home)
    with pytest.raises(DamagedCollection, match="delete the collection's folder"):
        Writer(home, ToyEncoder())


def test_where_there_is_no_collection_that_is_said(tmp_path: Path) -> None:
    for open_it in (Collection, Writer):
        with pytest.raises(NotMade, match="no collection is there; index a folder first"):
            open_it(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be made"):
        Writer(tmp_path / "file" / "c", ToyEncoder())


def test_one_that_was_closed_says_so(home: Path) -> None:
    collection = Collection(home)
    collection.close()
    collection.close()
    with pytest.raises(StoreError, match="open the collection again"):
        collection.snapshot()


def test_a_newer_collection_is_left_alone(home: Path) -> None:
    with sqlite3.connect(home / DATABASE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for open_it in (Collection, Writer):
        with pytest.raises(StoreError, match="written by a newer agentkit"):
            open_it(home)


def test_making_that_was_broken_off_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_set", dies)
        with pytest.raises(KeyboardInterrupt):
            Writer(tmp_path / "c", ToyEncoder())
    with pytest.raises(NotMade, match="never made"):
        Collection(tmp_path / "c")
    Writer(tmp_path / "c", ToyEncoder()).close()
    Collection(tmp_path / "c").close()
