"""What is particular to Postgres; the contract of stores and the kill matrix hold it to the rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from agentkit.errors import MissingDependency, StoreError, UsageError
from agentkit.protocols import EffectRow
from agentkit.store import checkpointer, open_store
from benchmarks import databases

needs_server = pytest.mark.skipif(databases.server() is None, reason=databases.MISSING)


@pytest.fixture
def url() -> Iterator[str]:
    with databases.postgres() as url:
        yield url


@needs_server
def test_one_run_at_a_time_and_the_old_one_is_fenced_off(url: str) -> None:
    row = EffectRow(effect_id="e", run_id="r", tool="work", args_digest="d", state="intent", attempt=1)
    with closing(open_store(url=url)) as here, closing(open_store(url=url)) as there:
        here.start_run("r", "t", {})
        with here.lease("t", "r") as first:
            active = pytest.raises(UsageError, match="run 'r' is active in pid")
            with active, there.lease("t", "r"):
                raise AssertionError("two have it")
        with pytest.raises(UsageError), here.lease("t", "r"), here.lease("t", "r"):
            raise AssertionError("one has it twice")
        with there.lease("t", "r") as second:
            assert second > first
        with pytest.raises(StoreError, match="taken over by another process"):
            here.intend(replace(row, lease_epoch=first))
        assert here.effects("r") == []


@needs_server
def test_a_connection_that_ends_gives_its_leases_back(url: str) -> None:
    with closing(open_store(url=url)) as there:
        here = open_store(url=url)
        lease = here.lease("t", "r")
        lease.__enter__()
        here.close()
        with there.lease("t", "r") as epoch:
            assert epoch == 2


@needs_server
def test_what_postgres_cannot_hold_is_kept_all_the_same(url: str) -> None:
    odd = "a\0b \ud800 \U0001f331"
    with closing(open_store(url=url)) as store:
        store.start_run("r", "t", {"task": odd, "model": odd})
        store.append_event("r", 1, {"type": odd, "text": odd})
        assert store.events("r")[0]["text"] == odd
        run = store.run("r")
        assert run is not None
        assert run["task"] == odd


@needs_server
def test_prune_takes_checkpoints_along(url: str) -> None:
    with closing(open_store(url=url)) as store:
        checkpointer(store)
        store.start_run("r", "t", {})
        store.end_run("r", {"stop_reason": "done"})
        assert store.prune(older_than_s=-10) == 1
        assert store.runs() == []
        assert store.remove_thread("t") == 0


@needs_server
def test_a_newer_schema_is_refused(url: str) -> None:
    store = open_store(url=url)
    with store._db.write() as db:
        db.execute("INSERT INTO version VALUES (999)")
    store.close()
    with pytest.raises(StoreError, match=r"newer agentkit .schema 999"):
        open_store(url=url)


@needs_server
def test_many_may_make_the_tables_at_once(url: str) -> None:
    code = (
        "import sys; from agentkit.store import checkpointer, open_store\n"
        "store = open_store(url=sys.argv[1]); checkpointer(store); store.close()"
    )
    made = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=100)[1] for process in made] == [""] * 4


def test_a_server_that_is_not_there_is_one_sentence_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match=r"postgresql://127\.0\.0\.1:9/x: .*check store\.url and the server") as told:
        open_store(url="postgresql://me:secret@127.0.0.1:9/x")
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "agentkit.store.postgres", raising=False)
    with pytest.raises(MissingDependency, match=r"pip install 'agentkit-local\[postgres\]'"):
        open_store(url="postgresql://localhost/x")
    monkeypatch.delitem(sys.modules, "agentkit.store.postgres", raising=False)


def test_nothing_of_postgres_is_imported_unasked() -> None:
    code = "import sys, agentkit.store; agentkit.store.open_store(url=':memory:'); print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
