"""Values are earned over runs: heuristics, the learned head and the model's own word, measured, kept, and used or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.agent import Agent
from agentkit.config import PlannerSettings, Settings
from agentkit.events import Event
from agentkit.graph.head import LEAST, MOST, Head
from agentkit.protocols import Request, Score
from agentkit.store import open_store
from agentkit.trust import ENOUGH, EarnedValues, Record, ValueSource
from agentkit.types import Progress, Step, Task
from tests.unit.graph.test_lookahead import TOOLS, Thinking, call, final

vectors = st.lists(st.floats(-1, 1, width=16), min_size=6, max_size=6)


def examples(count: int, seed: int, *, apart: float) -> tuple[list[list[float]], list[bool]]:
    """Vectors about one of two middles, `apart` standard deviations from each other."""
    rng = np.random.default_rng(seed)
    good = [bool(n % 2) for n in range(count)]
    return [list(rng.normal(apart * is_good, 1.0, 8) / 10) for is_good in good], good


def test_a_head_tells_apart_what_is_apart() -> None:
    head = Head()
    head.learn(*examples(120, 1, apart=2.0))
    rows, good = examples(200, 2, apart=2.0)
    right = [(value > 0.5) == is_good for value, is_good in zip(head.values(rows), good, strict=True)]
    assert sum(right) / len(right) >= 0.95


def test_a_head_that_learnt_noise_knows_nothing() -> None:
    head = Head()
    head.learn(*examples(120, 1, apart=0.0))
    rows, good = examples(400, 2, apart=0.0)
    right = [(value > 0.5) == is_good for value, is_good in zip(head.values(rows), good, strict=True)]
    assert 0.4 <= sum(right) / len(right) <= 0.6


def test_the_threshold_does_not_move_with_how_many_there_are_of_a_kind() -> None:
    rows, good = examples(200, 1, apart=2.0)
    rare = [n for n, is_good in enumerate(good) if not is_good or n < 20]
    head = Head()
    head.learn([rows[n] for n in rare], [good[n] for n in rare])
    tested, truth = examples(400, 2, apart=2.0)
    values = head.values(tested)
    found = [value > 0.5 for value, is_good in zip(values, truth, strict=True) if is_good]
    assert sum(found) / len(found) >= 0.85


@given(st.lists(vectors, min_size=1, max_size=30), st.data())
def test_a_head_survives_being_kept_and_stays_in_range(rows: list[list[float]], data: st.DataObject) -> None:
    good = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    head = Head()
    head.learn(rows, good)
    again = Head.from_plain(head.to_plain())
    assert again.values(rows) == pytest.approx(head.values(rows), abs=0.02)
    assert all(0.0 <= value <= 1.0 for value in head.values(rows))
    if min(sum(good), len(good) - sum(good)) < LEAST:
        assert set(head.values(rows)) == {0.5}


@settings(max_examples=20)
@given(st.integers(1, 3 * MOST))
def test_a_head_keeps_the_newest_examples(count: int) -> None:
    head = Head()
    head.learn([[float(n)] for n in range(count)], [True] * count)
    assert len(head.good) == min(count, MOST)
    assert head.good[-1][0] == count - 1


def which(said: str, request: Request) -> Sequence[tuple[Step, float]]:
    """Four files; the model likes the wrong ones better, and answers with what it read last."""
    if said.startswith("find"):
        looks = [(call("look", name=f"{name}.txt"), -0.5 - n) for n, name in enumerate("cdab")]
        return [*looks, (final("I do not know"), -9.0)]
    return [(final(f"it says: {said}"), -0.1), (final("I do not know"), -2.0)]


class Minded(Thinking):
    """Has a word on whether a way leads anywhere, and embeddings, both made to be right or wrong."""

    def __init__(self, yes: Callable[[str], float], *, embeds: bool = False) -> None:
        super().__init__(which)
        self._yes = yes
        self.asked = 0
        if embeds:
            self._capabilities = _with(self._capabilities, embeds=True)

    def score(self, request: Request, candidates: Sequence[Step]) -> list[Score]:
        if [step.text for step in candidates] != ["yes", "no"]:
            return super().score(request, candidates)
        self.asked += 1
        yes = self._yes(str(request.messages[-2].content))
        return [Score(logprob=float(np.log(max(p, 1e-9))), tokens=1) for p in (yes, 1 - yes)]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        found = [[1.0, 0.0] if "42" in text or "look" not in text else [0.0, 1.0] for text in texts]
        rng = np.random.default_rng(self.asked)
        return [[x + float(rng.normal(0, 0.01)) for x in row] for row in found]


def _with(capabilities: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(capabilities, **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    for name in "abcd":
        (work / f"{name}.txt").write_text("the number is 42" if name == "b" else "nothing of use")
    return work


def knows(progress: Progress) -> float:
    return float(not progress.steps or any("42" in step.result for step in progress.steps))


def contrary(progress: Progress) -> float:
    return 1.0 - knows(progress)


def loud(progress: Progress) -> float:
    return 9.0 * knows(progress) - 4.0


def raises(progress: Progress) -> float:
    raise RuntimeError("no idea")


def runs(
    count: int, folder: Path, store: Any, *, planner: str = "mcts", engine: Thinking | None = None, **given: Any
) -> list[Mapping[str, Any]]:
    """Do the same task again and again; return the last run's plans."""
    plans: list[Mapping[str, Any]] = []
    limits = Settings(planner=PlannerSettings(width=5, simulations=60, tokens=None))
    for _ in range(count):
        events: list[Event] = []
        agent = Agent(engine or Minded(lambda said: 0.5), TOOLS, settings=limits, store=store, planner=planner, workspace=folder, **given)  # fmt: skip
        assert agent.run(Task.of("find the number", check="grep -q 42"), on_event=events.append).ok
        plans = [event.data for event in events if event.type == "plan"]
    return plans


def record(store: Any, name: str) -> Record:
    return Record(**(store.learned(f"record of {name}") or {}))


def test_a_heuristic_that_is_right_is_used_and_one_that_is_wrong_is_not(folder: Path) -> None:
    with closing(open_store(url=":memory:")) as store:
        first = runs(
            1, folder, store, heuristics={"knows": knows, "contrary": contrary, "raises": raises, "loud": loud}
        )
        assert first[0]["values"].startswith("no values")
        last = runs(
            12, folder, store, heuristics={"knows": knows, "contrary": contrary, "raises": raises, "loud": loud}
        )
        assert record(store, "knows").accuracy == record(store, "loud").accuracy == 1.0
        assert record(store, "contrary").accuracy == 0.0
        assert record(store, "raises").accuracy == 0.0
        assert last[0]["values"] == "values by knows, right in 100%"


def test_the_model_s_own_word_is_asked_in_the_shadow_and_refused(folder: Path) -> None:
    with closing(open_store(url=":memory:")) as store:
        engine = Minded(lambda said: 0.9)  # always sure
        last = runs(12, folder, store, engine=engine, heuristics={})
        assert engine.asked > 0
        assert record(store, "word/thinking").accuracy == 0.5
        assert last[0]["values"].startswith("no values: word/thinking 50%")


def test_a_head_learns_over_runs(folder: Path) -> None:
    with closing(open_store(url=":memory:")) as store:
        engine = Minded(lambda said: 0.5, embeds=True)
        last = runs(16, folder, store, engine=engine, heuristics={})
        assert record(store, "head/thinking").accuracy >= 0.9
        assert last[0]["values"].startswith("values by head/thinking")


def test_who_does_not_go_by_values_does_not_pay_for_them(folder: Path) -> None:
    with closing(open_store(url=":memory:")) as store:
        engine = Minded(lambda said: 0.5)
        plans = runs(2, folder, store, engine=engine, planner="auto", heuristics={"knows": knows})
        assert engine.asked == 0
        assert store.learned("record of knows") is None
        assert "values" not in plans[0]


def test_a_settled_source_is_not_asked_again_and_one_that_learns_fades() -> None:
    class Kept:
        def __init__(self) -> None:
            self.counts: dict[str, Mapping[str, int]] = {}

        def load(self, name: str) -> Mapping[str, int] | None:
            return self.counts.get(name)

        def save(self, name: str, counts: Mapping[str, int]) -> None:
            self.counts[name] = counts

    asked = {"plain": 0, "learns": 0}

    def said(name: str, states: Sequence[bool]) -> list[tuple[float, float]]:
        asked[name] += len(states)
        return [(float(state), 0.0) for state in states]

    taught: list[bool] = []
    sources = [
        ValueSource(name="plain", kind="heuristic", values=lambda states: said("plain", states)),
        ValueSource(name="learns", kind="head", values=lambda states: said("learns", states), learn=lambda proven: taught.extend(state for state, _ in proven)),
    ]  # fmt: skip

    class Plain:
        def learn(self, proven: object) -> None: ...

    kept = Kept()
    evaluator: EarnedValues[bool] = EarnedValues(evaluator=Plain(), sources=sources, memory=kept)  # type: ignore[arg-type]
    proven = [(True, 1.0), (False, 0.0)] * 4
    for _ in range(ENOUGH // 2):
        evaluator.learn(proven)
    assert asked["plain"] == 2 * ENOUGH
    assert asked["learns"] == 8 * ENOUGH // 2
    assert len(taught) == asked["learns"]
    assert max(kept.counts["learns"].values()) <= ENOUGH
    again: EarnedValues[bool] = EarnedValues(evaluator=Plain(), sources=sources, memory=kept)  # type: ignore[arg-type]
    assert again.trusted() is sources[0]
    assert again.why() == "values by plain, right in 100%"
