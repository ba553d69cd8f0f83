"""SQLite's manners: turns to write, a check after an unclean end, no network file systems, a full disk."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agentkit.errors import StoreError
from agentkit.protocols import EffectRow
from agentkit.store import SqliteStore, locks, open_store, sqlite

unix = pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
ROW = EffectRow(effect_id="e", run_id="r", tool="work", args_digest="d", state="intent", attempt=1)
DYING = """
import os, signal, sys
from agentkit.store import open_store
store = open_store(url=sys.argv[1])
store.start_run("r", "t", {"task": "x" * 20_000})
store.save_tree("r", 1, {"x": list(range(6_000))})
os.kill(os.getpid(), signal.SIGKILL)
"""


def die(path: Path) -> None:
    """Leave a database as a killed process leaves it."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", DYING, str(path)], env=env).returncode == -9
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record when a file is looked over."""
    made: list[str] = []
    check = sqlite.SqliteDatabase._check

    def recorded(self: sqlite.SqliteDatabase) -> None:
        made.append(self.name)
        check(self)

    monkeypatch.setattr(sqlite.SqliteDatabase, "_check", recorded)
    return made


@unix
def test_a_file_that_was_not_closed_is_looked_over_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, made = tmp_path / "a.db", checks(monkeypatch)
    die(path)
    first = open_store(url=str(path))
    second = open_store(url=str(path))  # somebody has it open: no sign of anything
    assert made == [str(path)]
    assert first.run("r") is not None
    first.close()
    second.close()
    open_store(url=str(path)).close()
    assert made == [str(path)]


@unix
def test_damage_is_one_sentence_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = open_store(url=str(path))
    for n in range(200):
        store.start_run(f"r{n}", "t", {"task": "x" * 500})
    store.close()
    size = path.stat().st_size
    die(path)
    with path.open("r+b") as file:
        file.seek(size // 3)
        file.write(os.urandom(size // 3))
    path.with_name("a.db-wal").write_bytes(b"not what SQLite wrote")
    with pytest.raises(StoreError, match=r"a\.db: .*damaged.*restore a backup.*\.recover` on a copy") as told:
        open_store(url=str(path))
    assert "\n" not in str(told.value)


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "file_system", lambda folder: "nfs4")
    with pytest.raises(StoreError, match=r"network file system \(nfs4\).*Postgres"):
        open_store(url=str(tmp_path / "a.db"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says so")
def test_the_kind_of_a_file_system() -> None:
    assert sqlite.file_system(Path("/proc/self")) == "proc"
    assert sqlite.file_system(Path("/")) not in {"", "proc"}


@unix
def test_writers_take_turns_where_sqlite_is_not_to_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_IS_SOUND", (99,))
    one, two = (SqliteStore(tmp_path / "a.db", busy_timeout_s=0.3) for _ in range(2))
    inside, go = threading.Event(), threading.Event()

    def hold() -> None:
        with one._db.write():
            inside.set()
            go.wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(5)
    with pytest.raises(StoreError, match="database is locked"):
        two.start_run("r", "t", {})
    go.set()
    holder.join()
    two.start_run("r", "t", {})
    one.close()
    two.close()
    assert not locks._users


def test_a_sound_sqlite_needs_no_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_IS_SOUND", (0,))
    taken: list[object] = []
    monkeypatch.setattr(locks, "take", lambda *args, **options: taken.append(args) or True)
    store = SqliteStore(tmp_path / "a.db")
    store.start_run("r", "t", {})
    store.close()
    assert taken == []


def test_room_is_kept_back_for_what_has_happened(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db")
    store.start_run("r", "t", {})
    store.intend(ROW)
    spare = tmp_path / "a.db.room"
    assert spare.stat().st_size == sqlite.ROOM
    pages = store._db.row("PRAGMA page_count")["page_count"]
    store._db.row(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="the disk is full"):
        store.complete("e", "x" * 60_000 + os.urandom(30_000).hex())
    assert not spare.exists()  # given up for it, and it did not help: that limit is not the disk's
    store._db.row("PRAGMA max_page_count = 1000000")
    store.complete("e", "done")
    assert store.effects("r", state="done")[0].result == "done"
    store.close()


FULL = """
import resource, sys
from agentkit.errors import StoreError
from agentkit.store import open_store
from agentkit.protocols import EffectRow
store = open_store(url=sys.argv[1])
store.start_run("r", "t", {})
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    store.intend(EffectRow(effect_id="e", run_id="r", tool="work", args_digest="d", state="intent", attempt=1))
except StoreError as error:
    print(error)
print(len(store.effects("r")))
"""


@unix
def test_no_effect_begins_without_room_to_write_it_down(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "a.db")], capture_output=True, text=True, env=env, check=True
    )
    told, left = done.stdout.splitlines()
    assert "no room to write down what an effect does" in told
    assert "--resume" in told
    assert left == "0"
    assert not (tmp_path / "a.db.room").exists()


def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    whole = sqlite.schema.MIGRATIONS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite.schema, "MIGRATIONS", whole[:1])
        old = sqlite.SqliteDatabase(path)
        old.connection.execute(
            "INSERT INTO runs (run_id, thread_id, state, started_at, row) VALUES ('r','t','x',1,'{}')"
        )
        old.close()
    store = open_store(url=str(path))
    assert store.run("r")["recoveries"] is None
    assert store.recovered("r") == 1
    store.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(whole),)


def test_whoever_was_taken_over_from_does_nothing_more(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db")
    store.start_run("r", "t", {})
    with store.lease("t", "r") as first:
        pass
    with store.lease("t", "r") as second:
        assert second == first + 1
    from dataclasses import replace

    with pytest.raises(StoreError, match=r"taken over by another process \(epoch 2, here 1\); 'work' was not begun"):
        store.intend(replace(ROW, lease_epoch=first))
    assert store.effects("r") == []
    assert store.intend(replace(ROW, lease_epoch=second)).state == "intent"
    store.close()
