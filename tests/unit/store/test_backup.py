"""A copy of the database: whole, checked, and never half there."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from agentkit.errors import StoreError
from agentkit.store import open_store
from agentkit.store.backup import copy


def test_a_copy_taken_while_others_write_is_whole(tmp_path: Path) -> None:
    store = open_store(url=str(tmp_path / "a.db"))
    store.start_run("before", "t", {})
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            store.start_run(f"r{n}", "t", {"task": "x" * 5_000})
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copy(tmp_path / "a.db", tmp_path / "b.db")
    finally:
        stop.set()
        writer.join()
    store.close()
    with_copy = open_store(url=str(tmp_path / "b.db"))
    assert with_copy.run("before") is not None
    assert with_copy._db.row("PRAGMA integrity_check") == {"integrity_check": "ok"}
    with_copy.close()


def test_a_copy_of_a_damaged_file_is_refused_and_not_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = open_store(url=str(path))
    for n in range(200):
        store.start_run(f"r{n}", "t", {"task": "x" * 500})
    store.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(os.urandom(path.stat().st_size // 3))
    with pytest.raises(StoreError, match=r"b\.db: the copy failed .*sound database"):
        copy(path, tmp_path / "b.db")
    assert not (tmp_path / "b.db").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    open_store(url=str(tmp_path / "a.db")).close()
    with pytest.raises(StoreError, match=r"the copy failed .*check that its folder can be written"):
        copy(tmp_path / "a.db", tmp_path / "none" / "b.db")
