"""The contract of stores."""
# ruff: noqa: D102  a test's name says what it holds

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from agentkit.protocols import EffectRow, Store
from agentkit.testing.running import in_threads


class StoreContract:
    """What every store promises. `make` returns an empty store; it is closed after each test."""

    def make(self) -> Store:
        """Return a fresh, empty store."""
        raise NotImplementedError

    @contextmanager
    def _store(self) -> Iterator[Store]:
        store = self.make()
        try:
            yield store
        finally:
            store.close()

    def test_a_run_comes_back_with_both_its_ends(self) -> None:
        with self._store() as store:
            assert isinstance(store, Store)
            assert store.run("r") is None
            store.start_run("r", "t", {"task": "a task", "model": "m"})
            store.end_run("r", {"stop_reason": "done", "answer": "5 \U0001f331"})
            run = store.run("r")
            assert run is not None
            assert (run["run_id"], run["thread_id"], run["task"]) == ("r", "t", "a task")
            assert (run["stop_reason"], run["answer"]) == ("done", "5 \U0001f331")

    def test_runs_and_threads_come_newest_first(self) -> None:
        with self._store() as store:
            for n, thread in enumerate("aba"):
                store.start_run(f"r{n}", thread, {"task": f"task {n}"})
                time.sleep(0.002)
            assert [run["run_id"] for run in store.runs()] == ["r2", "r1", "r0"]
            assert [run["run_id"] for run in store.runs(limit=1)] == ["r2"]
            assert [run["run_id"] for run in store.runs(thread_id="b")] == ["r1"]
            assert [thread["thread_id"] for thread in store.threads()] == ["a", "b"]

    def test_events_are_kept_in_order(self) -> None:
        with self._store() as store:
            store.start_run("r", "t", {})
            assert store.next_seq("r") == 1
            for seq in (1, 2, 3):
                store.append_event("r", seq, {"type": "text_delta", "seq": seq})
            assert store.next_seq("r") == 4
            assert [event["seq"] for event in store.events("r")] == [1, 2, 3]

    def test_an_effect_is_intended_once(self) -> None:
        row = EffectRow(effect_id="e", run_id="r", tool="t", args_digest="d", state="intent", attempt=1)
        with self._store() as store:
            store.start_run("r", "t", {})
            assert store.intend(row).state == "intent"
            store.complete("e", '{"text": "done"}')
            again = store.intend(replace(row, attempt=2))
            assert (again.state, again.result) == ("done", '{"text": "done"}')
            store.intend(replace(row, effect_id="f"))
            store.mark_unknown("f")
            assert store.intend(replace(row, effect_id="f")).state == "unknown"

    def test_an_approval_is_resolved_once(self) -> None:
        with self._store() as store:
            store.start_run("r", "t", {})
            approval = store.request_approval({"run_id": "r", "thread_id": "t", "tool": "delete", "arguments": {}})
            assert [row["id"] for row in store.approvals(state="pending")] == [approval]
            assert store.resolve_approval(approval, "approved", "me")
            assert not store.resolve_approval(approval, "denied", "you")
            assert store.approvals(state="pending") == []
            assert [row["state"] for row in store.approvals()] == ["approved"]
            known = store.approval(approval)
            assert known is not None
            assert (known["state"], known["tool"]) == ("approved", "delete")
            assert store.approval("nothing") is None

    def test_several_threads_may_write(self) -> None:
        with self._store() as store:
            store.start_run("r", "t", {})

            def write(start: int) -> None:
                for seq in range(start, start + 20):
                    store.append_event("r", seq, {"seq": seq})

            in_threads([partial(write, start) for start in (1, 21, 41)])
            assert [event["seq"] for event in store.events("r")] == list(range(1, 61))

    def test_a_tree_can_be_kept_and_closing_twice_is_closing_once(self) -> None:
        store = self.make()
        store.start_run("r", "t", {})
        store.save_tree("r", 1, {"nodes": [1, 2]})
        store.close()
        store.close()
