"""Several processes on one database; more of them is `python -m benchmarks.crowd`."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from agentkit.store import open_store
from benchmarks import crowd
from benchmarks.crowd_member import member


def test_nothing_is_lost_locked_or_damaged(kind: str) -> None:
    rows = {row.id.removesuffix(f"-{kind}"): row for row in crowd.measure(kind, processes=4, runs=6)}
    assert {name: row.value for name, row in rows.items() if row.target is not None} == {
        "store-crowd-lost": 0, "store-crowd-locked": 0, "store-crowd-errors": 0, "store-crowd-damage": 0
    }  # fmt: skip
    assert rows["store-crowd-lost"].n == 24


def test_a_lost_run_is_seen(tmp_path: Path) -> None:
    url = str(tmp_path / "a.db")
    member(url, 0, 2, str(tmp_path / "report-0"))
    said = [json.loads(line) for line in (tmp_path / "report-0").read_text().splitlines()]
    assert crowd.lost_runs(url, said, 2) == 0
    with closing(open_store(url=url)) as store, store._db.write() as db:  # type: ignore[attr-defined]
        db.execute("DELETE FROM effects WHERE run_id = ?", (said[0]["run_id"],))
    assert crowd.lost_runs(url, said, 2) == 1
