"""A full disk stops a run between two steps, says so, and the run goes on when there is room, with nothing done twice."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit import tool
from agentkit.agent import Agent
from agentkit.config import PolicySettings, Settings
from agentkit.errors import StoreError
from agentkit.store import SqlStore, open_store
from agentkit.testing import ScriptedEngine
from agentkit.types import Effect, Step, StopReason, ToolCall

STEPS = [Step(kind="calls", calls=(ToolCall(id=f"c{n}", tool="work", arguments={"n": n}),)) for n in (1, 2, 3)]
ALLOWED = replace(Settings(), policy=PolicySettings(allow_tools=("work",)))
END = Step(kind="final", text="all")


def agent(store: SqlStore, done: list[int], steps: list[Step], full_at: int = 0) -> Agent:
    """Return an agent whose tool fills the database up when it does the work of that number."""

    @tool(effect=Effect.WRITE, egress=False, idempotent=True)
    def work(n: int) -> str:
        """Work."""
        if n not in done:
            done.append(n)
        if n == full_at:
            pages = store._db.row("PRAGMA page_count")
            assert pages is not None
            store._db.row(f"PRAGMA max_page_count = {pages['page_count']}")
        return f"worked {n}: {os.urandom(20_000).hex()}"

    return Agent(ScriptedEngine([*steps, END]), [work], settings=ALLOWED, store=store, system="")


def test_a_full_database_stops_a_run_that_goes_on_with_room(tmp_path: Path) -> None:
    done: list[int] = []
    with closing(open_store(url=str(tmp_path / "a.db"))) as store:
        with pytest.raises(StoreError, match="the disk is full; free some space and go on with --resume"):
            agent(store, done, STEPS, full_at=2).run("work")
        assert done == [1, 2]  # the third was not begun
        store._db.row("PRAGMA max_page_count = 1000000")
        run = store.runs()[0]["run_id"]
        result = agent(store, done, [STEPS[2]]).resume(run)
        assert (result.stop_reason, result.answer) == (StopReason.DONE, "all")
        assert done == [1, 2, 3]
        assert {row.state for row in store.effects(run)} == {"done"}
        assert store._db.row("PRAGMA integrity_check") == {"integrity_check": "ok"}


LIMITED = """
import resource, sys
from agentkit.errors import StoreError
from agentkit.store import open_store
store = open_store(url=sys.argv[1])
store.start_run("r", "t", {})
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
n = 0
try:
    for n in range(10_000):
        store.append_event("r", n + 1, {"x": "y" * 4_000})
except StoreError as error:
    print(n)
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_a_limit_on_the_size_of_files_is_told_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), "600000"], capture_output=True, text=True, env=env, check=True
    )
    written, said = ran.stdout.splitlines()
    assert "free some space and go on with --resume" in said
    with closing(open_store(url=str(path))) as store:
        assert len(store.events("r")) == int(written) > 10
        store.end_run("r", {"stop_reason": "done"})
        assert store._db.row("PRAGMA integrity_check") == {"integrity_check": "ok"}


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = sys.platform == "linux" and (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True).returncode
        == 0
    )
    if not mounted:
        pytest.skip("mounting a small file system takes Linux and the right to mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # lazily: lock files stay open as long as the process


def fill(ballast: Path) -> None:
    """Write a file until there is no room."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4_096)):
            pass


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    ballast, done = small_disk / "ballast", list[int]()
    with closing(open_store(url=str(small_disk / "a.db"))) as store:
        store.start_run("first", "t", {})
        fill(ballast)
        with pytest.raises(StoreError, match="free some space and go on with --resume"):
            agent(store, done, STEPS).run("work")
        assert done == []  # there was no room to write down that it was begun
        ballast.unlink()
        result = agent(store, done, STEPS).run("work")
        assert (result.stop_reason, done) == (StopReason.DONE, [1, 2, 3])
        assert store._db.row("PRAGMA integrity_check") == {"integrity_check": "ok"}
