"""Bringing a collection in line with its files: incremental, resumable, and killed at any moment."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit.errors import StoreError
from agentkit_vision.search.collection import Collection
from agentkit_vision.search.errors import EncoderMismatch
from agentkit_vision.search.listing import labels_in, list_images
from agentkit_vision.search.updating import update
from agentkit_vision.search.writer import Writer
from tests.plugins.vision import search_toys
from tests.plugins.vision.search_toys import ToyEncoder, index, load, shop, write

ROOT = Path(__file__).parents[3]
RED, BLUE = ("shoe", "red", "plain"), ("shoe", "blue", "plain")


def contents(home: Path) -> list[tuple[Any, ...]]:
    """Return all that a collection holds, but for when."""
    with Collection(home) as collection:
        assert collection.damaged() == []
        now = collection.snapshot()
        return [
            (int(now.ids[n]), now.paths[n], now.sha256[n], tuple(now.sizes[n]), now.labels[n], now.matrix[now.slots[n]].tobytes())
            for n in range(len(now))
        ]  # fmt: skip


def test_what_is_unchanged_is_not_read_again(tmp_path: Path) -> None:
    files, encoder = shop(tmp_path), ToyEncoder()
    first = index(tmp_path / "c", files, encoder, batch=10)
    assert (first.added, first.embedded, encoder.batches) == (72, 72, [10] * 7 + [2])

    def fails(path: Path) -> Any:
        raise AssertionError(path)

    with Writer(tmp_path / "c", encoder) as writer:
        again = update(writer, encoder, files, fails)
    assert (again.added, again.same, again.failures, len(encoder.batches)) == (0, 72, [], 8)


def test_changed_touched_moved_copied_and_vanished_files(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.png", RED, n) for n in range(5)]
    index(tmp_path / "c", files)
    write(files[0], BLUE, 77)  # changed
    os.utime(files[1], ns=(1, 1))  # touched
    files[2].rename(tmp_path / "9 moved.png")
    (tmp_path / "8 copy.png").write_bytes(files[3].read_bytes())
    files[4].unlink()
    encoder = ToyEncoder()
    found = index(tmp_path / "c", sorted(tmp_path.glob("*.png")), encoder, gone=lambda name: True)
    assert (found.added, found.same, found.removed, found.embedded) == (3, 2, 2, 1)
    names = {path: sha256 for _, path, sha256, *_ in contents(tmp_path / "c")}
    assert set(names) == {"0.png", "1.png", "3.png", "8 copy.png", "9 moved.png"}
    assert names["8 copy.png"] == names["3.png"]
    assert index(tmp_path / "c", sorted(tmp_path.glob("*.png"))).same == 5


def test_contents_that_change_places(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1.png", RED, 1), write(tmp_path / "2.png", BLUE, 22)
    index(tmp_path / "c", [one, two])
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second + b" ")
    two.write_bytes(first)
    encoder = ToyEncoder()
    for batch in (1, 32):
        index(tmp_path / "c", [one, two], encoder, batch=batch)
        rows = contents(tmp_path / "c")
        expected = encoder.embed_images([load(path).pixels for path in (one, two)]).astype(np.float16)
        assert [row[-1] for row in rows] == [vector.tobytes() for vector in expected]
        one.write_bytes(first)
        two.write_bytes(second)


def test_a_corrupt_file_is_noted_and_skipped(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.png", RED, n) for n in range(4)]
    files[1].write_text("some text, named .png")
    files.insert(2, tmp_path / "missing.png")
    found = index(tmp_path / "c", files, batch=2)
    assert found.added == 3
    assert [failure.path for failure in found.failures] == ["1.png", "missing.png"]
    assert found.failures[0].reason == "1.png: not a picture; give a picture"
    assert found.failures[1].reason == "No such file or directory"
    write(files[0], ("x",))  # no picture any more
    files.remove(tmp_path / "missing.png")
    found = index(tmp_path / "c", files)
    assert (found.removed, found.same, len(found.failures)) == (1, 2, 2)
    assert [row[1] for row in contents(tmp_path / "c")] == ["2.png", "3.png"]


def test_a_decoder_may_raise_anything(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.png", RED, n) for n in range(3)]

    def sometimes(path: Path) -> Any:
        if path.name == "1.png":
            raise ZeroDivisionError
        return load(path)

    with Writer(tmp_path / "c", ToyEncoder()) as writer:
        found = update(writer, ToyEncoder(), files, sometimes)
    assert ([failure.reason for failure in found.failures], found.added) == (["ZeroDivisionError"], 2)


def test_unicode_and_odd_names(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    names = ["schöner Schuh.png", "鞋子.png", "a'b\"c;--.png", "new\nline.png", "%41?#.png", "e\u0301 nfd.png", "é nfd.png", "\u202egnp.png", " .png", "deep/er/x.png"]  # fmt: skip
    files = [write(tmp_path / name, RED, n) for n, name in enumerate(names)]
    if sys.platform == "linux":
        files.append(write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png")), RED, 99))
    listed = list_images(tmp_path).files
    assert set(files) == set(listed)
    assert index(tmp_path / "c", listed).added == len(files)
    with Collection(tmp_path / "c") as collection:
        assert {collection.file_of(name) for name in collection.snapshot().paths} == set(files)
    assert index(tmp_path / "c", listed).same == len(files)
    with Writer(tmp_path / "c") as writer:
        assert writer.remove([file.name for file in files[-1:]]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such rights")
def test_a_listing_tells_what_it_could_not_look_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    for name in ("a.jpeg", "in/c.webp", "shut/b.png", ".agentkit-images/g.png"):
        write(tmp_path / name, RED)
    iterdir = Path.iterdir

    def refuses(folder: Path) -> Any:
        if folder.name == "shut":
            raise PermissionError(13, "Permission denied", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", refuses)
    listing = list_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in listing.files] == ["a.jpeg", "in/c.webp"]
    assert listing.closed == {tmp_path / "shut": "Permission denied"}


def test_labels_come_from_metadata_and_follow_it(tmp_path: Path) -> None:
    files = [write(tmp_path / "in" / f"{n}.png", RED, n) for n in range(2)]
    lines = (
        '{"file_name": "0.png", "colour": "red", "count": 3, "new": true, "box": [1, 2]}\nbroken\n{"colour": "blue"}\n'
    )
    (tmp_path / "in" / "metadata.jsonl").write_text(lines)
    labels = labels_in(tmp_path)
    assert labels == {files[0]: {"colour": "red", "count": "3", "new": "true"}}
    index(tmp_path / "c", files, labels=labels)
    encoder = ToyEncoder()
    found = index(tmp_path / "c", files, encoder, labels={files[1]: {"colour": "green"}})
    assert (found.same, found.embedded) == (2, 0)
    assert [row[4] for row in contents(tmp_path / "c")] == [{}, {"colour": "green"}]


def test_one_that_is_stopped_goes_on_to_the_same(tmp_path: Path) -> None:
    files, starts = shop(tmp_path), 0
    index(tmp_path / "whole", files, batch=8)
    complete = False
    while not complete:
        starts += 1
        asked = iter([False, False, True])
        found = index(tmp_path / "parts", files, batch=8, should_stop=lambda asked=asked: next(asked, True))
        complete = found.complete
        assert starts < 9
    assert starts == 5
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_progress_counts_files_and_ends_at_all(tmp_path: Path) -> None:
    files, told = shop(tmp_path), list[int]()
    index(tmp_path / "c", files, batch=10, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 72
    assert len(told) == 9


def killed(home: Path, folder: Path, point: str, times: int) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    told = [sys.executable, search_toys.__file__, str(home), str(folder), point, str(times)]
    return subprocess.run(told, env=env, cwd=ROOT, capture_output=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
@pytest.mark.parametrize(("point", "times", "left"), [("hash", 3, 0), ("vectors", 1, 0), ("vectors", 4, 24), ("row", 1, 8), ("row", 9, 72)])  # fmt: skip
def test_one_that_is_killed_goes_on_to_the_same(tmp_path: Path, point: str, times: int, left: int) -> None:
    index(tmp_path / "whole", shop(tmp_path), batch=8)
    home = tmp_path / "killed"
    ran = killed(home, tmp_path, point, times)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    with Collection(home) as collection:  # read by somebody before any writer has come back
        assert len(collection.snapshot()) == left
        assert collection.damaged() == []
    assert killed(home, tmp_path, "never", 0).returncode == 0
    assert contents(home) == contents(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_one_that_is_killed_at_random_opens_every_time(tmp_path: Path) -> None:
    index(tmp_path / "whole", shop(tmp_path, of_each=15), batch=8)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    told = [sys.executable, search_toys.__file__, str(tmp_path / "killed"), str(tmp_path), "never", "0"]
    chance, sizes = random.Random(7), list[int]()
    for _ in range(3):
        process = subprocess.Popen(told, env=env, cwd=ROOT)
        before, until = sizes[-1] if sizes else 0, time.monotonic() + 30
        while process.poll() is None and time.monotonic() < until and size_of(tmp_path / "killed") <= before:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.05)
        process.kill()
        process.wait()
        sizes.append(size_of(tmp_path / "killed"))
    assert sizes == sorted(sizes)
    assert subprocess.run(told, env=env, cwd=ROOT, check=False).returncode == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def size_of(home: Path) -> int:
    with contextlib.suppress(StoreError), Collection(home) as collection:
        return len(collection.snapshot())
    return 0


def test_another_encoder_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    files = shop(tmp_path, of_each=1)
    index(tmp_path / "c", files)
    with Writer(tmp_path / "c", ToyEncoder()) as writer, pytest.raises(EncoderMismatch):
        update(writer, ToyEncoder(fingerprint="toy-2"), files, load)


LIMITED = """
import resource, sys
from pathlib import Path
from agentkit.errors import StoreError
from tests.plugins.vision.search_toys import index
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    index(Path(sys.argv[1]), sorted(Path(sys.argv[2]).glob("*.png")), batch=8)
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize("limit", [3_000, 60_000])
def test_a_limit_on_the_size_of_files_leaves_whole_batches(tmp_path: Path, limit: int) -> None:
    index(tmp_path / "whole", shop(tmp_path, of_each=8), batch=8)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    told = [sys.executable, "-c", LIMITED, str(tmp_path / "c"), str(tmp_path), str(limit)]
    ran = subprocess.run(told, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "free some space" in ran.stdout, ran.stderr
    assert "goes on where it stopped" in ran.stdout
    assert size_of(tmp_path / "c") % 8 == 0
    index(tmp_path / "c", sorted(tmp_path.glob("*.png")), batch=8)
    assert contents(tmp_path / "c") == contents(tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    told = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(told, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes Linux and the right to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_really_full(tmp_path: Path, small_disk: Path) -> None:
    files, ballast = shop(tmp_path / "shop", of_each=8), small_disk / "ballast"
    encoder = ToyEncoder()
    with Writer(small_disk / "c", encoder, root=tmp_path / "shop") as writer:
        update(writer, encoder, files[:16], load, batch=8)
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4_096)):
                pass
        with pytest.raises(StoreError, match="goes on where it stopped"):
            update(writer, encoder, files, load, batch=8)
        assert size_of(small_disk / "c") % 8 == 0
        ballast.unlink()
        assert update(writer, encoder, files, load, batch=8).complete
    assert size_of(small_disk / "c") == len(files)
