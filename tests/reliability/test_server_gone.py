"""A Postgres server that goes away in the middle: one sentence, and the run goes on afterwards with nothing done twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from agentkit import tool
from agentkit.agent import Agent
from agentkit.cli.db import command
from agentkit.config import PolicySettings, Settings
from agentkit.errors import StoreError, UsageError
from agentkit.store import open_store
from agentkit.testing import ScriptedEngine
from agentkit.types import Effect, Step, StopReason, ToolCall
from benchmarks import databases
from tests.reliability.conftest import needs_postgres

ALLOWED = replace(Settings(), policy=PolicySettings(allow_tools=("work",)))
pytestmark = needs_postgres


@pytest.fixture
def url() -> Iterator[str]:
    with databases.postgres() as url:
        yield url


def cut(url: str) -> None:
    """End all other connections to the database, as a server that is restarted does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_run_stops_with_a_sentence_and_goes_on(url: str) -> None:
    done: list[int] = []

    @tool(effect=Effect.WRITE, egress=False, idempotent=True)
    def work(n: int) -> str:
        """Work."""
        if n not in done:
            done.append(n)
            if n == 2:
                cut(url)
        return f"worked {n}"

    steps = [Step(kind="calls", calls=(ToolCall(id=f"c{n}", tool="work", arguments={"n": n}),)) for n in (1, 2, 3)]
    with closing(open_store(url=url)) as store:
        agent = Agent(
            ScriptedEngine([*steps, Step(kind="final", text="all")]), [work], settings=ALLOWED, store=store, system=""
        )
        result = agent.run("work")
        assert result.stop_reason is StopReason.ERROR
        assert "check store.url and the server, then go on with --resume" in result.detail
        assert "\n" not in result.detail
    with closing(open_store(url=url)) as store:
        agent = Agent(
            ScriptedEngine([steps[2], Step(kind="final", text="all")]), [work], settings=ALLOWED, store=store, system=""
        )
        resumed = agent.resume(result.run_id)
        assert (resumed.stop_reason, resumed.answer) == (StopReason.DONE, "all")
        assert done == [1, 2, 3]
        assert {row.state for row in store.effects(result.run_id)} == {"done"}


def test_the_same_store_serves_again_once_the_server_is_back(url: str) -> None:
    with closing(open_store(url=url)) as store:
        store.start_run("r", "t", {})
        cut(url)
        with pytest.raises(StoreError, match=r"check store\.url and the server"):
            store.run("r")
        assert store.run("r") is not None
        assert store.checkpointer().get_tuple({"configurable": {"thread_id": "t"}}) is None
        cut(url)
        with pytest.raises(StoreError, match=r"check store\.url and the server"):
            store.checkpointer().get_tuple({"configurable": {"thread_id": "t"}})
        assert store.checkpointer().get_tuple({"configurable": {"thread_id": "t"}}) is None


def test_a_conversation_that_was_taken_over_meanwhile_is_not_driven_on(url: str) -> None:
    with closing(open_store(url=url)) as one, closing(open_store(url=url)) as two:
        one.start_run("r", "t", {})
        with one.lease("t", "r"):
            with pytest.raises(UsageError, match=r"another run is at work in thread 't': run 'r' is active in pid \d+"):
                two.lease("t", "r").__enter__()
            cut(url)
            with pytest.raises(StoreError):
                two.run("r")
            with two.lease("t", "r"):
                with pytest.raises(StoreError):
                    one.run("r")  # the cut
                with pytest.raises(StoreError, match="another process has taken thread 't' over"):
                    one.append_event("r", 1, {})


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(StoreError, match=r"^postgresql://127\.0\.0\.1:1/d: .*check store\.url and the server") as told:
        open_store(url="postgresql://me:secret@127.0.0.1:1/d")
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_newer_schema_is_refused(url: str) -> None:
    open_store(url=url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO agentkit.version VALUES (999)")
    with pytest.raises(StoreError, match=r"newer agentkit \(schema 999"):
        open_store(url=url)


def test_the_commands_say_the_right_thing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTKIT_STORE__URL", url)
    with closing(open_store(url=url)) as store:
        for run, reason in (("finished", "done"), ("stopped", "cancelled")):
            store.start_run(run, run, {"task": "x" * 100_000})
            store.end_run(run, {"stop_reason": reason})

    def said(*words: str) -> dict[str, Any]:
        result = CliRunner().invoke(command, [*words, "--json"])
        assert result.exit_code == 0, result.output
        data: dict[str, Any] = json.loads(result.stdout)["data"]
        return data

    where = said("path")
    assert where["path"].startswith("postgresql://127.0.0.1:")
    assert "@" not in where["path"]
    assert where["bytes"] > 0
    assert said("prune", "--older-than", "0h", "--dry-run")["runs"] == 1
    assert said("prune", "--older-than", "0h")["runs"] == 1
    assert said("prune", "--older-than", "0h", "--unfinished")["runs"] == 1
    refused = CliRunner().invoke(command, ["backup", "x.db"])
    assert isinstance(refused.exception, UsageError)
    assert "pg_dump --schema=agentkit" in str(refused.exception)
