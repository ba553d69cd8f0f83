"""The LangGraph saver: sync and async, all or nothing, and only known types."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import ormsgpack
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from agentkit.errors import StoreError
from agentkit.store import SqliteStore, checkpointer, open_store
from agentkit.types import Effect, Failed, ToolCall, Usage


class State(TypedDict):
    n: int
    kept: Any


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = open_store(url=str(tmp_path / "a.db"))
    yield store
    store.close()


def graph(store: SqliteStore, kept: Any = None) -> Any:
    builder = StateGraph(State)
    builder.add_node("count", lambda state: {"n": state["n"] + 1, "kept": kept})
    builder.add_node("ask", lambda state: {"n": state["n"] + interrupt("how many?")})
    builder.add_edge(START, "count")
    builder.add_edge("count", "ask")
    builder.add_edge("ask", END)
    return builder.compile(checkpointer=checkpointer(store))


CONFIG = {"configurable": {"thread_id": "t1"}}


def test_it_is_one_saver(store: SqliteStore) -> None:
    assert checkpointer(store) is checkpointer(store)
    with pytest.raises(StoreError, match="offers no checkpointer"):
        checkpointer(object())  # type: ignore[arg-type]


def test_a_graph_goes_on_in_another_process_of_the_same_file(store: SqliteStore) -> None:
    graph(store).invoke({"n": 1, "kept": None}, CONFIG, durability="sync")
    other = open_store(url=str(store.path))
    assert graph(other).invoke(Command(resume=10), CONFIG)["n"] == 12
    other.close()


def test_sync_and_async_are_one_thing(store: SqliteStore) -> None:
    async def go() -> Any:
        machine = graph(store)
        await machine.ainvoke({"n": 1, "kept": None}, CONFIG)
        states = [state async for state in machine.aget_state_history(CONFIG)]
        assert len(states) == 3
        return await machine.ainvoke(Command(resume=5), CONFIG)

    assert asyncio.run(go())["n"] == 7
    assert graph(store).get_state(CONFIG).values["n"] == 7


def test_what_a_run_holds_comes_back(store: SqliteStore) -> None:
    kept = [
        ToolCall(id="1", tool="calculator", arguments={"expression": "1+1"}),
        Failed(text="no", kind="timeout"),
        Usage(prompt=3, seconds=0.5),
        Effect.READ,
        AIMessage(content="hi", additional_kwargs={"agentkit": {"kind": "final"}}),
        {"path": Path("a/b")},
    ]
    graph(store, kept).invoke({"n": 1, "kept": None}, CONFIG)
    other = open_store(url=str(store.path))
    assert graph(other).get_state(CONFIG).values["kept"] == kept
    other.close()


class Stranger:
    """A type nobody allowed."""

    made = 0

    def __init__(self, word: str = "") -> None:
        Stranger.made += 1
        self.word = word


def test_a_type_that_is_not_on_the_list_is_not_revived(store: SqliteStore) -> None:
    payload = ormsgpack.packb(
        ormsgpack.Ext(0, ormsgpack.packb((Stranger.__module__, "Stranger", "boo")))  # a constructor call
    )
    found = checkpointer(store).serde.loads_typed(("msgpack", payload))
    assert Stranger.made == 0
    assert not isinstance(found, Stranger)
    with pytest.raises(NotImplementedError):
        checkpointer(store).serde.loads_typed(("pickle", b"cos\nsystem\n(S'true'\ntR."))


def test_a_failed_write_of_the_saver_leaves_nothing(store: SqliteStore) -> None:
    saver: Any = checkpointer(store)

    def fail_half_way() -> None:
        with saver.cursor() as cursor:
            cursor.execute(
                "INSERT INTO writes (thread_id, checkpoint_id, task_id, idx, channel) VALUES ('t','c','k',0,'x')"
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert store._db.rows("SELECT * FROM writes") == []


def test_threads_can_be_copied_pruned_and_deleted(store: SqliteStore) -> None:
    async def go() -> None:
        saver = checkpointer(store)
        graph(store).invoke({"n": 1, "kept": None}, CONFIG)
        await saver.acopy_thread("t1", "t2")
        assert len(list(saver.list({"configurable": {"thread_id": "t2"}}))) == 3
        await saver.aprune(["t2"])
        assert len([found async for found in saver.alist({"configurable": {"thread_id": "t2"}})]) == 1
        assert graph(store).invoke(Command(resume=1), {"configurable": {"thread_id": "t2"}})["n"] == 3
        await saver.adelete_thread("t1")
        assert await saver.aget_tuple(CONFIG) is None

    asyncio.run(go())
