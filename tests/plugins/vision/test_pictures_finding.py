"""The pictures in a folder."""

from __future__ import annotations

import inspect
import os
import random
import sys
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("PIL")

from agentkit.errors import InvalidParams
from agentkit_vision.pictures import find_images, load
from tests.plugins.vision.picture_files import file, two_halves

PNG = file(two_halves(), "PNG")


def put(root: Path, *names: str, data: bytes = PNG) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def found(root: Path, **more: bool) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_images(root, **more)]


def test_by_extension_and_by_first_bytes(tmp_path: Path) -> None:
    put(tmp_path, "a.PNG", "b.jpeg", "c", "d.bin", "e.txt")
    put(tmp_path, "f.txt", "g", "h.html", data=b"some words")
    put(tmp_path, "i.svg", data=b"<svg/>")
    put(tmp_path, "j.webp", data=b"damaged")
    put(tmp_path, "k", "l.gif", data=b"")
    assert found(tmp_path) == ["a.PNG", "b.jpeg", "c", "d.bin", "e.txt", "j.webp", "l.gif"]


def test_the_order_is_stable_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    names = ["b.png", "z.png", "a/2.png", "a/1.png", "a/sub/1.png", "c/1.png", "a.png", "10.png", "9.png"]
    random.Random(0).shuffle(names)
    put(tmp_path, *names, ".hidden.png", ".git/1.png", "a/.thumbs/1.png")
    expected = ["10.png", "9.png", "a.png", "b.png", "z.png", "a/1.png", "a/2.png", "a/sub/1.png", "c/1.png"]
    assert found(tmp_path) == found(tmp_path) == expected
    assert found(tmp_path, recursive=False) == expected[:5]
    put(tmp_path / ".own", "1.png")
    assert found(tmp_path / ".own") == ["1.png"]


def test_links(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    put(inside, "a/1.png", "b/2.png")
    put(outside, "3.png")
    (inside / "a" / "up").symlink_to(inside)
    (inside / "a" / "self").symlink_to(inside / "a")
    (inside / "b" / "a-again").symlink_to(inside / "a")
    (inside / "elsewhere").symlink_to(outside)
    (inside / "link.png").symlink_to(outside / "3.png")
    (inside / "dead.png").symlink_to(outside / "gone.png")
    (inside / "round.png").symlink_to(inside / "round.png")
    assert found(inside) == ["link.png", "a/1.png", "b/2.png", "elsewhere/3.png"]


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder.png").mkdir()
    put(tmp_path, "folder.png/1.png")
    assert found(tmp_path) == ["folder.png/1.png"]


def test_deep_folders(tmp_path: Path) -> None:
    made = [tmp_path]
    for _ in range(200):
        made.append(made[-1] / "d")
        made[-1].mkdir()
    put(made[-1], "1.png")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)  # folders may be nested more deeply than Python calls
    try:
        found = list(find_images(tmp_path))
    finally:
        sys.setrecursionlimit(limit)
    assert found == [made[-1] / "1.png"]


def test_a_folder_that_may_not_be_listed_is_told() -> None:
    told: list[tuple[str, str]] = []
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to others
        root = Path(name)
        put(root, "a/1.png", "b/2.png")
        root.chmod(0o755)
        (root / "a").chmod(0)
        if user == 0:  # whom no permission holds
            os.seteuid(65_534)
        try:
            names = [path.name for path in find_images(root, skipped=lambda path, why: told.append((path.name, why)))]
            with pytest.raises(InvalidParams, match="cannot be listed"):
                find_images(root / "a")
        finally:
            os.seteuid(user)
            (root / "a").chmod(0o755)
    assert (names, told) == (["2.png"], [("a", "Permission denied")])


def test_what_is_no_folder(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    with pytest.raises(InvalidParams, match=r"there is no folder '.*gone'; check the path"):
        find_images(tmp_path / "gone")
    with pytest.raises(InvalidParams, match="is no folder"):
        find_images(str(tmp_path / "1.png"))
    with pytest.raises(InvalidParams, match="cannot be listed"):
        find_images("no\0such")


def test_what_is_found_can_be_loaded(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b/c")
    assert [load(path).format for path in find_images(tmp_path)] == ["PNG", "PNG"]
