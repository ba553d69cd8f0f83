"""One row: a task in a world of its own, done by an oracle, kept if its goal holds and it replays.

Guarantees: the same options, seed and index give the same row in every process; every row that is given has been verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from agentkit_synthesis.dataset.rows import Rejected, split_of
from agentkit_synthesis.stream import SYSTEMS
from agentkit_synthesis.tooluse.checking import verify
from agentkit_synthesis.tooluse.domains import DOMAINS
from agentkit_synthesis.tooluse.families import POLICIES
from agentkit_synthesis.tooluse.scene import GaveUp, Scene
from agentkit_synthesis.tooluse.values import FAMILIES, Domain, Family
from agentkit_synthesis.tooluse.world import World

__all__ = ["SHARES", "made_of", "make"]

SHARES: Mapping[Family, float] = {
    "single": 0.24, "multi_step": 0.22, "parallel": 0.14, "recovery": 0.14, "ask": 0.1, "decline": 0.08, "untrusted": 0.08,
}  # fmt: skip
ATTEMPTS = 12  # draws that make no task, before a row is given up
MOST_TOOLS = 14


def make(options: Mapping[str, Any], seed: int, index: int) -> Mapping[str, Any] | Rejected:
    """Return row `index`, or why it was rejected.

    Args:
        options: `families`: family -> weight, all by default; `domains`: names, all by default; `distractors`: most tools
            beside those needed, 8 by default; `test_share`: of the problems, 0.1 by default.
        seed: of the data set.
        index: of the row.
    """
    id = f"tools-{seed}-{index}"
    shares = options.get("families") or SHARES
    family: Family = Random(f"{id}/family").choices(FAMILIES, [shares.get(one, 0.0) for one in FAMILIES])[0]
    for attempt in range(ATTEMPTS):
        rng = Random(f"{id}/task/{attempt}")
        try:
            row = made_of(id, family, _domains(rng, options.get("domains") or list(DOMAINS)), rng, options)
        except GaveUp:
            continue
        wrong = verify(row)
        return Rejected(_counted(wrong[0])) if wrong else {**row, "verified": True}
    return Rejected(f"no task for {family}")


def made_of(
    id: str, family: Family, domains: Sequence[Domain], rng: Random, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a row, not verified yet.

    Raises:
        GaveUp: this draw makes no task.
    """
    scene = Scene(World(id, domains), rng)
    POLICIES[family](scene)
    goal = dict(scene.goal)
    busy, present, absent = goal.pop("busy", {}), goal.pop("with", []), goal.pop("without", [])
    tools = _tools(scene, [*scene.needed, *present], absent, rng, int(options.get("distractors", 8)))
    system = [{"role": "system", "content": rng.choice(SYSTEMS)}] if rng.random() < 0.25 else []
    return {
        "id": id,
        "family": family,
        "split": split_of(scene.problem, float(options.get("test_share", 0.1))),
        "messages": [*system, *scene.messages],
        "tools": tools,
        "world": {
            "domains": [domain.key for domain in domains],
            "edits": scene.world.edits,
            "busy": busy,
            "needed": scene.needed,
            "distractors": len(tools) - len(scene.needed),
        },
        "goal": goal,
        "hash": scene.problem,
    }


def _domains(rng: Random, known: Sequence[str]) -> list[Domain]:
    """Return the domain that the task is about, and others whose tools stand beside."""
    main = rng.choice(list(known))
    others = [key for key in DOMAINS if key != main]
    return [DOMAINS[key] for key in [main, *rng.sample(others, min(len(others), rng.choice((0, 1, 1, 2))))]]


def _tools(scene: Scene, needed: Sequence[str], absent: Sequence[str], rng: Random, most: int) -> list[dict[str, Any]]:
    """Return the tools of the conversation, in any order: those needed, and distractors."""
    gone = {f"{scene.domain.key}.{key}" for key in absent}
    here = {face.name: face for key, face in scene.world.faces.items() if key not in gone}
    others = [name for name in here if name not in needed]
    count = min(rng.randint(0 if needed else 1, max(most, 1)), len(others), MOST_TOOLS - len(needed))
    names = [*dict.fromkeys(needed), *rng.sample(others, count)]
    rng.shuffle(names)
    return [here[name].schema() for name in names]


def _counted(reason: str) -> str:
    """Return a reason without what only this row has, so that equal ones can be counted."""
    for mark in (": ", " '", ", not ", "="):
        reason = reason.split(mark)[0]
    return reason
