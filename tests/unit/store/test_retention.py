"""What is forgotten, and when; what is never forgotten without being asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.config import StoreSettings
from agentkit.errors import ConfigError
from agentkit.store import SqliteStore, open_store

DAY = 86_400.0


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "a.db", clock=clock)
    yield store
    store.close()


def ids(store: SqliteStore) -> set[str]:
    return {run["run_id"] for run in store.runs()}


def put(store: SqliteStore, run: str, reason: str | None, thread: str | None = None) -> None:
    store.start_run(run, thread or f"thread of {run}", {})
    if reason is not None:
        store.end_run(run, {"stop_reason": reason})


@pytest.mark.parametrize("reason", [None, "cancelled", "model", "error", "needs_input"])
def test_what_can_still_go_on_stays_until_asked_for(store: SqliteStore, clock: Clock, reason: str | None) -> None:
    put(store, "done", "done")
    put(store, "open", reason)
    clock.now += 1_000
    assert store.prune(older_than_s=500) == 1
    assert ids(store) == {"open"}
    assert store.prune(older_than_s=500, unfinished=True) == 1
    assert ids(store) == set()


def test_a_run_that_its_conversation_has_left_behind_cannot_go_on(store: SqliteStore, clock: Clock) -> None:
    put(store, "stopped", "cancelled", "t")
    clock.now += 1
    put(store, "later", "done", "t")
    clock.now += 1_000
    assert store.prune(older_than_s=500) == 2


def test_a_run_that_waits_for_an_approval_stays_in_any_case(store: SqliteStore, clock: Clock) -> None:
    put(store, "waiting", "needs_input")
    approval = store.request_approval({"run_id": "waiting"})
    clock.now += 1_000
    assert store.prune(older_than_s=500, unfinished=True) == 0
    store.resolve_approval(approval, "approved", "me")
    assert store.prune(older_than_s=500) == 0  # approved, and not yet gone on with
    assert store.prune(older_than_s=500, unfinished=True) == 1


def test_a_run_that_a_process_is_at_work_on_stays_in_any_case(store: SqliteStore, clock: Clock) -> None:
    put(store, "r", None, "t")
    clock.now += 1_000
    with store.lease("t", "r"):
        assert store.prune(older_than_s=500, unfinished=True) == 0
    assert store.prune(older_than_s=500, unfinished=True) == 1


def test_a_dry_run_counts_and_deletes_nothing(store: SqliteStore, clock: Clock) -> None:
    put(store, "r", "done")
    clock.now += 1_000
    assert store.prune(older_than_s=500, dry_run=True) == 1
    assert ids(store) == {"r"}


def test_days_to_keep_are_kept_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with_age = SqliteStore(path, clock=lambda: time.time() - 3 * DAY)
    put(with_age, "old", "done")
    put(with_age, "old and open", "cancelled")
    with_age.close()
    for days, left in ((None, {"old", "old and open"}), (4, {"old", "old and open"}), (2, {"old and open"})):
        store = open_store(StoreSettings(url=str(path), keep_days=days))
        assert ids(store) == left  # type: ignore[arg-type]
        store.close()


def test_less_than_no_days_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"store\.keep_days: -1 is no age; give 0 or more days"):
        open_store(StoreSettings(url=str(tmp_path / "a.db"), keep_days=-1))
    assert not (tmp_path / "a.db").exists()
