"""An approval is resolved once, whoever is quickest; and not after its time."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from agentkit.store import open_store

RIVAL = """
    import sys, time
    from agentkit.store import open_store
    store = open_store(url=sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    won = [n for n in range(20) if store.resolve_approval(f"a{n}", sys.argv[2], sys.argv[3])]
    print(",".join(map(str, won)), flush=True)
"""


def test_rival_processes_resolve_each_approval_exactly_once(tmp_path: Path) -> None:
    database, code = tmp_path / "x.db", tmp_path / "rival.py"
    code.write_text(textwrap.dedent(RIVAL))
    store = open_store(url=str(database))
    for n in range(20):
        store.request_approval({"id": f"a{n}", "run_id": "r", "tool": "wipe"})
    rivals = [
        subprocess.Popen(
            [sys.executable, str(code), str(database), state, f"rival-{n}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for n, state in enumerate(("approved", "denied", "approved", "cancelled"))
    ]  # fmt: skip
    for rival in rivals:
        assert rival.stdout is not None
        assert rival.stdout.readline().strip() == "ready"
    for rival in rivals:
        assert rival.stdin is not None
        rival.stdin.write("go\n")
        rival.stdin.flush()
    won: dict[int, list[int]] = {}
    for n, rival in enumerate(rivals):
        out, _ = rival.communicate(timeout=60)
        assert rival.returncode == 0
        won[n] = [int(one) for one in out.strip().split(",") if one]
    assert sorted(one for ones in won.values() for one in ones) == list(range(20))
    winner = {one: n for n, ones in won.items() for one in ones}
    for row in store.approvals():
        n = winner[int(row["id"][1:])]
        assert (row["state"], row["resolved_by"]) == (("approved", "denied", "approved", "cancelled")[n], f"rival-{n}")
    store.close()


def test_what_is_past_its_time_can_be_neither_approved_nor_denied(tmp_path: Path) -> None:
    store = open_store(url=str(tmp_path / "x.db"))
    store.request_approval({"id": "a", "run_id": "r", "tool": "wipe", "expires_at": time.time() - 1})
    assert not store.resolve_approval("a", "approved", "me")
    assert not store.resolve_approval("a", "denied", "me")
    row = store.approval("a")
    assert row is not None
    assert (row["state"], row["resolved_by"]) == ("expired", None)
    store.close()
