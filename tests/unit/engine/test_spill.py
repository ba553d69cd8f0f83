"""Spilled states: found again by what they hold, within budgets, and never in the way when a disk is."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.engine.llama.spill import LEFTOVER_S, MAX_ENTRIES, STALE_S, WORTH_TOKENS, Spill

KB = 1024
ROOM = 64 * KB
PLENTY = WORTH_TOKENS + 8


def tokens(start: int, count: int = PLENTY) -> np.ndarray:
    """Tokens that no other start begins with."""
    return np.arange(start * 1000, start * 1000 + count, dtype=np.int32)


def state(fill: int, size: int = KB) -> np.ndarray:
    return np.full(size, fill % 256, np.uint8)


def fill_of(spill: Spill, start: int, key: object = ()) -> int | None:
    """What the state found for a prompt is filled with."""
    found = spill.longest(key, tokens(start).tolist())
    if found is None:
        return None
    held, data = found
    assert held.tolist() == tokens(start, len(held)).tolist()
    assert len(set(data.tolist())) == 1
    return int(data[0])


def on_disk(folder: Path, *, ram: int = 0, disk: int = ROOM, fingerprint: str = "one") -> Spill:
    return Spill(ram_bytes=ram, folder=folder, disk_bytes=disk, fingerprint=fingerprint)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond `limit` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_ram_keeps_to_its_budget_and_the_longest_not_used_goes() -> None:
    spill = Spill(ram_bytes=3 * KB)
    for n in range(3):
        assert spill.put((), tokens(n), state(n))
    assert fill_of(spill, 0) == 0  # used: now 1 is the oldest
    assert spill.put((), tokens(3), state(3))
    assert [fill_of(spill, n) for n in range(4)] == [0, None, 2, 3]
    assert len(spill) == 3


@settings(deadline=None, max_examples=100)
@given(sizes=st.lists(st.integers(1, 12), max_size=20), budget=st.integers(0, 30))
def test_ram_never_holds_more_than_its_budget_nor_less_than_it_could(sizes: list[int], budget: int) -> None:
    spill, kept = Spill(ram_bytes=budget), list[tuple[int, int]]()
    for n, size in enumerate(sizes):
        fits = size <= budget
        assert spill.put((), tokens(n), state(n, size)) is fits
        kept += [(n, size)] if fits else []
        while sum(size for _, size in kept) > budget:
            kept.pop(0)
    assert [n for n in range(len(sizes)) if fill_of(spill, n) is not None] == [n for n, _ in kept]


def test_what_is_larger_than_every_budget_is_refused_and_costs_no_other() -> None:
    spill = Spill(ram_bytes=2 * KB)
    spill.put((), tokens(0), state(0))
    assert not spill.put((), tokens(1), state(1, 3 * KB))
    assert (fill_of(spill, 0), fill_of(spill, 1)) == (0, None)


def test_there_are_never_more_than_so_many() -> None:
    spill = Spill(ram_bytes=1 << 20)
    for n in range(MAX_ENTRIES + 3):
        spill.put((), tokens(n), state(n, 1))
    assert len(spill) == MAX_ENTRIES
    assert [fill_of(spill, n) for n in (2, 3)] == [None, 3]


def test_a_beginning_is_not_kept_beside_what_goes_on_from_it() -> None:
    spill = Spill(ram_bytes=ROOM)
    assert spill.put((), tokens(0, 40), state(1))
    assert spill.put((), tokens(0, 60), state(2))
    assert (len(spill), fill_of(spill, 0)) == (1, 2)
    assert not spill.put((), tokens(0, 50), state(3))  # in there already
    assert not spill.put((), tokens(0, 60), state(4))
    assert (len(spill), fill_of(spill, 0)) == (1, 2)
    assert spill.put("other", tokens(0, 50), state(5))
    assert (len(spill), fill_of(spill, 0)) == (2, 2)


def test_the_longest_common_beginning_is_found_and_only_if_it_is_worth_it() -> None:
    spill = Spill(ram_bytes=ROOM)
    short, long = np.append(tokens(0, 50), 7).astype(np.int32), np.append(tokens(0, 90), 8).astype(np.int32)
    spill.put((), long, state(2))
    spill.put((), short, state(1))
    asked = tokens(0, 100).tolist()
    assert _length(spill, asked) == 91
    assert _length(spill, asked[:50]) in (51, 91)
    assert _length(spill, asked, beyond=90 - WORTH_TOKENS) == 91
    assert _length(spill, asked, beyond=90 - WORTH_TOKENS + 1) is None
    assert _length(spill, asked[:WORTH_TOKENS]) is not None
    assert _length(spill, asked[: WORTH_TOKENS - 1]) is None
    assert _length(spill, [9, *asked]) is None
    assert _length(spill, []) is None


def _length(spill: Spill, asked: list[int], *, beyond: int = 0) -> int | None:
    found = spill.longest((), asked, beyond=beyond)
    return None if found is None else len(found[0])


@pytest.mark.parametrize("ram", [ROOM, 0])
def test_what_was_read_under_other_adapters_is_not_found(tmp_path: Path, ram: int) -> None:
    spill = on_disk(tmp_path, ram=ram)
    one, half = (("style", 1.0),), (("style", 0.5),)
    for fill, key in enumerate([(), one, half]):
        assert spill.put(key, tokens(0), state(fill))
    assert [fill_of(spill, 0, key) for key in ((), one, half, (("style", 2.0),))] == [0, 1, 2, None]


def test_a_folder_brings_states_back_to_the_next_process(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    first = on_disk(folder, ram=KB)
    data = np.random.default_rng(0).integers(0, 256, KB).astype(np.uint8)
    assert first.put("key", tokens(0), data)
    assert not files(folder)  # RAM first
    assert first.put((), tokens(1), state(1))
    assert len(files(folder)) == 1
    assert folder.stat().st_mode & 0o077 == 0
    found = on_disk(folder).longest("key", tokens(0).tolist())
    assert found is not None
    assert found[0].tolist() == tokens(0).tolist()
    assert np.array_equal(found[1], data)
    assert found[1].dtype == np.uint8
    assert fill_of(on_disk(folder), 1) is None  # it was in RAM


def test_another_fingerprint_sees_nothing_and_spoils_nothing(tmp_path: Path) -> None:
    on_disk(tmp_path).put((), tokens(0), state(1))
    other = on_disk(tmp_path, fingerprint="two")
    assert (len(other), fill_of(other, 0)) == (0, None)
    assert other.put((), tokens(0), state(2))
    assert (fill_of(on_disk(tmp_path), 0), fill_of(on_disk(tmp_path, fingerprint="two"), 0)) == (1, 2)


def test_disk_keeps_to_its_budget_in_bytes_of_files(tmp_path: Path) -> None:
    budget = 12 * KB
    spill = on_disk(tmp_path, disk=budget)
    for n in range(20):
        assert spill.put((), tokens(n), state(n))
        assert sum(path.stat().st_size for path in files(tmp_path)) <= budget
    assert fill_of(spill, 19) == 19
    assert fill_of(spill, 0) is None
    assert len(files(tmp_path)) == len(spill) >= 4


def test_a_smaller_budget_is_kept_from_the_opening_on(tmp_path: Path) -> None:
    large = on_disk(tmp_path)
    for n in range(8):
        large.put((), tokens(n), state(n))
    for age, path in enumerate(files(tmp_path)):
        os.utime(path, (1000 + age, 1000 + age))
    newest = files(tmp_path)[-1]
    small = on_disk(tmp_path, disk=4 * KB)
    assert 1 <= len(small) == len(files(tmp_path)) < 8
    assert newest in files(tmp_path)
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 4 * KB


def test_what_disk_has_no_room_for_is_said_to_be_gone(tmp_path: Path) -> None:
    spill = on_disk(tmp_path, disk=KB)
    assert not spill.put((), tokens(0), state(0))  # the file is larger than the state
    assert (len(spill), files(tmp_path)) == (0, [])


def damage_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def damage_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    at = data.rindex(bytes([1]) * 100)  # inside the state: the headers are whole
    data[at : at + 50] = bytes(50)
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    path.write_bytes(b"not a zip file at all" * 99)


def other_archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, weights=np.zeros(3))


def pickled(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, fingerprint=np.array(["one", None], object), key=np.array("()"))


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone"))


DAMAGES = [damage_end, damage_middle, empty, foreign, other_archive, pickled, folder_instead, dangling]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("is_open", [True, False])
def test_a_damaged_file_is_passed_over(tmp_path: Path, damage: object, is_open: bool) -> None:
    assert callable(damage)
    spill = on_disk(tmp_path)
    spill.put((), tokens(0), state(1))
    (path,) = files(tmp_path)
    spill.put((), tokens(1), state(2))
    damage(path)
    spill = spill if is_open else on_disk(tmp_path)
    assert [fill_of(spill, 0), fill_of(spill, 1)] == [None, 2]
    assert len(spill) == 1


def test_behind_a_damaged_file_the_next_best_is_found(tmp_path: Path) -> None:
    spill = on_disk(tmp_path)
    spill.put((), np.append(tokens(0, 60), 7).astype(np.int32), state(1))
    (best,) = files(tmp_path)
    spill.put((), np.append(tokens(0, 50), 8).astype(np.int32), state(2))
    damage_end(best)
    assert _length(spill, tokens(0, 60).tolist()) == 51


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "x.kv.npz").write_text("not ours")
    spill = on_disk(tmp_path, disk=5 * KB)
    for n in range(9):
        spill.put((), tokens(n), state(n))
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "x.kv.npz").read_text() == "not ours"


def aged(path: Path, seconds: float) -> Path:
    """Have a file look as if it had last been used so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_what_nobody_will_take_over_is_deleted(tmp_path: Path) -> None:
    on_disk(tmp_path, fingerprint="old model").put((), tokens(0), state(1))
    (stale,) = files(tmp_path)
    on_disk(tmp_path, fingerprint="other model").put((), tokens(1), state(1))
    (recent,) = set(files(tmp_path)) - {stale}
    on_disk(tmp_path).put((), tokens(2), state(1))
    (own,) = set(files(tmp_path)) - {stale, recent}
    damaged = tmp_path / f"{'0' * 32}.kv.npz"
    leftover, writing = tmp_path / f".{'a' * 16}.tmp", tmp_path / f".{'b' * 16}.tmp"
    kept = [tmp_path / "x.kv.npz", tmp_path / ".mine.tmp", tmp_path / "notes.txt"]
    for path in (damaged, leftover, writing, *kept):
        path.write_text("anything")
    for path in (stale, own, damaged, *kept):
        aged(path, STALE_S + 60)
    aged(recent, STALE_S - 600)
    aged(leftover, LEFTOVER_S + 60)
    aged(writing, LEFTOVER_S - 600)  # another process may still be at it
    assert fill_of(on_disk(tmp_path), 2) == 1
    assert set(files(tmp_path)) == {recent, own, writing, *kept}


def test_what_is_brought_back_counts_as_used_for_the_next_process(tmp_path: Path) -> None:
    first = on_disk(tmp_path, disk=ROOM)
    for n in range(3):
        first.put((), tokens(n), state(n))
        aged(max(files(tmp_path), key=lambda path: path.stat().st_mtime), 1000 - n)
    assert fill_of(on_disk(tmp_path), 0) == 0
    size = max(path.stat().st_size for path in files(tmp_path))
    small = on_disk(tmp_path, disk=size)  # for one
    assert [fill_of(small, n) for n in range(3)] == [0, None, None]


def test_an_entry_can_be_forgotten(tmp_path: Path) -> None:
    spill = on_disk(tmp_path)
    spill.put((), tokens(0), state(1))
    spill.forget("other", tokens(0))
    spill.forget((), tokens(0, PLENTY + 1))
    assert fill_of(spill, 0) == 1
    spill.forget((), tokens(0))
    assert (fill_of(spill, 0), files(tmp_path)) == (None, [])


def test_a_full_disk_costs_nothing_but_speed(tmp_path: Path) -> None:
    spill = on_disk(tmp_path, ram=2 * KB)
    with full_disk(600):
        for n in range(5):
            assert spill.put((), tokens(n), state(n))
        assert not spill.put((), tokens(9), state(9, 3 * KB))
    assert [fill_of(spill, n) for n in range(5)] == [None, None, None, 3, 4]
    assert files(tmp_path) == []  # nothing half written stays
    spill.put((), tokens(5), state(5))
    assert (fill_of(spill, 3), len(files(tmp_path))) == (3, 1)  # there is room again


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_folder_that_cannot_be_had_costs_nothing_but_speed(tmp_path: Path, when: str) -> None:
    folder = tmp_path / "cache"
    if when == "before":
        folder.write_text("a file")
        spill = on_disk(folder, ram=KB)
    else:
        spill = on_disk(folder, ram=KB)
        folder.rmdir()
        folder.write_text("a file")
    for n in range(3):
        assert spill.put((), tokens(n), state(n))
    assert [fill_of(spill, n) for n in range(3)] == [None, None, 2]
    assert folder.read_text() == "a file"


def test_what_another_process_deletes_is_only_gone(tmp_path: Path) -> None:
    one, two = on_disk(tmp_path, disk=9 * KB), on_disk(tmp_path, disk=9 * KB)
    for n in range(3):
        one.put((), tokens(n), state(n))
    two = on_disk(tmp_path, disk=9 * KB)
    for path in files(tmp_path):
        path.unlink()
    assert fill_of(one, 1) is None
    for n in range(3, 12):  # drops those that are gone as well
        assert one.put((), tokens(n), state(n))
        assert two.put((), tokens(n), state(n))
    assert (fill_of(one, 11), fill_of(two, 11)) == (11, 11)


def test_a_file_that_goes_while_the_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = on_disk(tmp_path)
    for n in range(3):
        first.put((), tokens(n), state(n))
    listed = Path.glob

    def glob(folder: Path, pattern: str) -> Iterator[Path]:
        found = sorted(listed(folder, pattern))
        found[0].unlink()
        return iter(found)

    monkeypatch.setattr(Path, "glob", glob)
    assert len(on_disk(tmp_path)) == 2
