"""The SQLite store: what it promises, and one clear sentence for what cannot be."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from agentkit.config import StoreSettings
from agentkit.errors import StoreError
from agentkit.protocols import EffectRow, Store
from agentkit.store import SqliteStore, checkpointer, open_store
from agentkit.store.packing import MAX_INLINE_CHARS


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    store = SqliteStore(tmp_path / "deep" / "down" / "a.db", clock=clock)
    yield store
    store.close()


def effect(effect_id: str = "e1", **changes: object) -> EffectRow:
    row = {"run_id": "r1", "tool": "write_file", "args_digest": "d", "state": "intent", "attempt": 1}
    return EffectRow(effect_id=effect_id, **{**row, **changes})  # type: ignore[arg-type]


def test_it_is_a_store(store: SqliteStore) -> None:
    assert isinstance(store, Store)


def test_a_run_comes_back_with_what_both_ends_wrote(store: SqliteStore) -> None:
    store.start_run("r1", "t1", {"task": "add\n  the numbers", "model": "sprout", "seed": 7})
    assert store.run("r1")["state"] == "running"
    store.end_run("r1", {"stop_reason": "done", "answer": "30", "steps": [{"tool": "calculator"}]})
    run = store.run("r1")
    assert (run["task"], run["seed"], run["answer"], run["state"]) == ("add\n  the numbers", 7, "30", "ended")
    assert run["stop_reason"] == "done"
    assert run["steps"] == [{"tool": "calculator"}]
    assert run["ended_at"] > run["started_at"]
    assert store.run("r2") is None


def test_a_run_id_is_taken_once_and_only_a_known_run_ends(store: SqliteStore) -> None:
    store.start_run("r1", "t1", {})
    with pytest.raises(StoreError, match="'r1' exists already"):
        store.start_run("r1", "t1", {})
    with pytest.raises(StoreError, match="'r9' is not in"):
        store.end_run("r9", {})


def test_runs_and_threads_are_newest_first(store: SqliteStore) -> None:
    for n, thread in enumerate(["a", "b", "a", "c"]):
        store.start_run(f"r{n}", thread, {"task": f"task {n}"})
    assert [run["run_id"] for run in store.runs(limit=3)] == ["r3", "r2", "r1"]
    assert [run["run_id"] for run in store.runs(thread_id="a")] == ["r2", "r0"]
    threads = store.threads()
    assert [(t["thread_id"], t["runs"], t["task"]) for t in threads] == [
        ("c", 1, "task 3"),
        ("a", 2, "task 0"),
        ("b", 1, "task 1"),
    ]


def test_events_keep_their_numbers(store: SqliteStore) -> None:
    assert store.next_seq("r1") == 1
    store.append_event("r1", 1, {"type": "run_started", "seq": 1})
    store.append_event("r1", 4, {"type": "message", "seq": 4, "text": "\udc80\x00 ünï"})
    assert store.next_seq("r1") == 5
    assert [event["seq"] for event in store.events("r1")] == [1, 4]
    assert store.events("r1")[1]["text"] == "\udc80\x00 ünï"
    with pytest.raises(StoreError, match="another process is driving"):
        store.append_event("r1", 4, {"type": "message"})


def test_intent_is_new_once_then_counted(store: SqliteStore) -> None:
    row = effect()
    assert store.intend(row) is row
    assert store.intend(row).attempt == 2
    assert store.intend(row).attempt == 3
    store.complete("e1", '{"outcome": "done"}')
    there = store.intend(row)
    assert (there.state, there.attempt, there.result) == ("done", 3, '{"outcome": "done"}')


def test_the_first_result_of_an_effect_stays(store: SqliteStore) -> None:
    store.intend(effect())
    store.complete("e1", "first")
    store.complete("e1", "second")
    store.mark_unknown("e1")
    assert [(row.state, row.result) for row in store.effects("r1")] == [("done", "first")]
    with pytest.raises(StoreError, match="never intended"):
        store.complete("e9", "x")


def test_an_unknown_outcome_stays_unknown_until_somebody_knows(store: SqliteStore) -> None:
    store.intend(effect())
    store.mark_unknown("e1")
    assert store.intend(effect()).state == "unknown"
    store.complete("e1", "found out")
    assert store.intend(effect()).state == "done"


def test_an_approval_is_resolved_once(store: SqliteStore) -> None:
    first = store.request_approval({"id": "a1", "run_id": "r1", "tool": "run_command", "arguments": {"x": 1}})
    assert store.request_approval({"id": "a1", "run_id": "r1", "tool": "other"}) == first == "a1"
    other = store.request_approval({"run_id": "r2"})
    assert {row["id"] for row in store.approvals(state="pending")} == {"a1", other}
    assert store.resolve_approval("a1", "approved", "ann") is True
    assert store.resolve_approval("a1", "denied", "bob") is False
    row = store.approval("a1")
    assert (row["state"], row["resolved_by"], row["tool"], row["arguments"]) == (
        "approved",
        "ann",
        "run_command",
        {"x": 1},
    )
    with pytest.raises(StoreError, match="'maybe': unknown"):
        store.resolve_approval("a1", "maybe", "ann")


def test_an_approval_expires_and_that_is_not_a_denial(store: SqliteStore, clock: Clock) -> None:
    store.request_approval({"id": "a1", "run_id": "r1", "expires_at": clock.now + 100})
    assert store.approval("a1")["state"] == "pending"
    clock.now += 200
    assert store.resolve_approval("a1", "approved", "ann") is False
    assert store.approval("a1")["state"] == "expired"


def test_large_rows_come_back_whole_and_are_not_in_the_row(store: SqliteStore) -> None:
    text = "0123456789" * MAX_INLINE_CHARS
    store.start_run("r1", "t1", {"task": text})
    store.append_event("r1", 1, {"type": "message", "text": text})
    store.intend(effect())
    store.complete("e1", text)
    store.save_tree("r1", 2, {"nodes": text})
    assert store.run("r1")["task"] == text
    assert store.events("r1")[0]["text"] == text
    assert store.effects("r1")[0].result == text
    assert store.trees("r1") == [{"turn": 2, "nodes": text}]
    assert len(store.threads()[0]["task"]) == 200
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT MAX(LENGTH(row)) FROM runs").fetchone()[0] < 100
    db.close()


def test_feedback_and_checks_are_kept(store: SqliteStore) -> None:
    store.add_note("checks", "r1", {"command": "make test", "ok": True})
    store.add_note("feedback", "r1", {"rating": 1})
    assert store.notes("checks", "r1")[0]["ok"] is True
    assert store.notes("feedback", "r1")[0]["rating"] == 1
    assert store.notes("feedback", "r2") == []


def test_what_was_learned_is_kept_by_name_and_replaced(store: SqliteStore) -> None:
    assert store.learned("a") is None
    store.save_learned("a", {"good": 1})
    store.save_learned("b", {"good": 2})
    store.save_learned("a", {"good": 3, "text": "ü\n"})
    assert store.learned("a") == {"good": 3, "text": "ü\n"}
    assert store.learned("b") == {"good": 2}
    store.prune(older_than_s=-1)
    assert store.learned("a") is not None, "it belongs to no run"


def test_prune_takes_old_runs_whole_but_not_those_that_wait(store: SqliteStore, clock: Clock) -> None:
    saver = checkpointer(store)
    for run, thread in (("old", "t1"), ("waiting", "t2"), ("old2", "t3")):
        store.start_run(run, thread, {"task": "x" * MAX_INLINE_CHARS})
        store.append_event(run, 1, {"type": "message"})
        saver.put_writes(
            {"configurable": {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": "1"}}, [("a", 1)], "t"
        )
        store.end_run(run, {"stop_reason": "done"})
    store.intend(effect(run_id="old"))
    store.request_approval({"run_id": "waiting"})
    clock.now += 1_000
    store.start_run("new", "t3", {})
    assert store.prune(older_than_s=500) == 2
    assert [run["run_id"] for run in store.runs()] == ["new", "waiting"]
    assert store.events("old") == []
    assert store.effects("old") == []
    db = sqlite3.connect(store.path)
    assert {row[0] for row in db.execute("SELECT thread_id FROM writes")} == {"t2", "t3"}
    assert {row[0] for row in db.execute("SELECT run_id FROM blobs")} == {"waiting"}
    db.close()


def test_threads_of_one_process_share_it(store: SqliteStore) -> None:
    def work(n: int) -> None:
        for k in range(20):
            store.append_event(f"r{n}", store.next_seq(f"r{n}"), {"k": k})
            store.events(f"r{n}")

    workers = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [[event["k"] for event in store.events(f"r{n}")] for n in range(6)] == [list(range(20))] * 6


def test_processes_share_the_file(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom agentkit.store import open_store, checkpointer\nfrom agentkit.protocols import EffectRow\n"
        "store = open_store(url=sys.argv[1])\n"
        "for n in range(15):\n"
        "    run = f'{sys.argv[2]}-{n}'\n"
        "    store.start_run(run, 't', {})\n"
        "    row = EffectRow(effect_id=f'e{n}', run_id=run, tool='x', args_digest='', state='intent', attempt=1)\n"
        "    print(store.intend(row) is row)\n"
        "    store.end_run(run, {})\n"
        "store.close()\n"
    )
    path = str(tmp_path / "shared.db")
    processes = [
        subprocess.Popen([sys.executable, "-c", script, path, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for n in range(4)
    ]
    outputs = [process.communicate(timeout=100) for process in processes]
    assert [err.decode() for _, err in outputs] == [""] * 4
    firsts = sum(out.decode().count("True") for out, _ in outputs)
    assert firsts == 15  # each effect was new for exactly one process
    store = open_store(url=path)
    assert len(store.runs(limit=100)) == 60
    assert all(run["state"] == "ended" for run in store.runs(limit=100))
    assert store._db.row("PRAGMA integrity_check") == {"integrity_check": "ok"}
    store.close()


def test_a_kill_after_intent_leaves_the_intent(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\nfrom agentkit.store import open_store\nfrom agentkit.protocols import EffectRow\n"
        "store = open_store(url=sys.argv[1])\n"
        "store.intend(EffectRow(effect_id='e', run_id='r', tool='x', args_digest='', state='intent', attempt=1))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = str(tmp_path / "killed.db")
    assert subprocess.run([sys.executable, "-c", script, path]).returncode == -9
    store = open_store(url=path)
    assert store.effects("r")[0].state == "intent"
    store.close()


def test_the_settings_of_the_connection(store: SqliteStore) -> None:
    pragma = {name: store._db.row(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "busy_timeout")}
    assert pragma == {
        "journal_mode": {"journal_mode": "wal"},
        "synchronous": {"synchronous": 2},
        "busy_timeout": {"timeout": 30_000},
    }


def test_a_failed_write_leaves_nothing(store: SqliteStore) -> None:
    def fail_half_way() -> None:
        with store._db.write() as db:
            db.execute("INSERT INTO events (run_id, seq, event) VALUES ('r', 1, '{}')")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert store.events("r") == []
    store.append_event("r", 1, {})


# bad input: one sentence each


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("version https://git-lfs.github.com/spec/v1\n" * 100)
    with pytest.raises(StoreError, match=r"a\.db: file is not a database; it is not a SQLite file; move it away"):
        open_store(url=str(path))
    assert path.read_text().startswith("version")


def test_a_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 999")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer agentkit .schema 999"):
        open_store(url=str(path))
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"its folder cannot be made or written .*AGENTKIT_HOME"):
        open_store(url=str(tmp_path / "file" / "a.db"))
    with pytest.raises(StoreError, match="unable to open database file; its folder cannot be written"):
        open_store(url=str(tmp_path))


def test_locked_by_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = SqliteStore(path, busy_timeout_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked; another program holds it"):
        store.start_run("r", "t", {})
    other.close()
    store.start_run("r", "t", {})
    store.close()


def test_a_full_disk_says_so_and_loses_nothing(store: SqliteStore) -> None:
    store.start_run("r", "t", {})
    pages = store._db.row("PRAGMA page_count")["page_count"]
    store._db.row(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for n in range(100):
            store.save_tree("r", n, {"x": [time.time() + k for k in range(1_000)]})

    with pytest.raises(StoreError, match="the disk is full; free some space and go on with --resume"):
        fill()
    store._db.row("PRAGMA max_page_count = 1000000")
    store.end_run("r", {"stop_reason": "done"})
    assert store._db.row("PRAGMA integrity_check") == {"integrity_check": "ok"}


def test_a_closed_store_says_so(store: SqliteStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="it was closed"):
        store.runs()


def test_another_database_by_url_is_refused() -> None:
    with pytest.raises(StoreError, match="'mysql://' is no database"):
        open_store(StoreSettings(url="mysql://localhost/agentkit"))


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "home"))
    for store, path in (
        (open_store(), tmp_path / "home" / "agentkit.db"),
        (open_store(url=f"sqlite:///{tmp_path}/u.db"), tmp_path / "u.db"),
        (open_store(StoreSettings(url=str(tmp_path / "s.db"))), tmp_path / "s.db"),
        (open_store(url=":memory:"), None),
    ):
        assert store.path == path
        store.start_run("r", "t", {})
        store.close()


def test_opening_again_imports_nothing_heavy(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    open_store(url=path).close()
    code = (
        "import sys\nfrom agentkit.store import open_store\nopen_store(url=sys.argv[1]).close()\n"
        "print(sorted({'sqlite_utils', 'langgraph', 'langchain_core', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
