"""Canonical calls and outcomes, budgets, degeneration; and properties that hold for any history."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.guards import (
    Budgets,
    DegenerationWatch,
    call_class,
    default_guards,
    outcome_class,
    output_digest,
    recorded,
    repeated_suffix,
)
from agentkit.guards.canonical import error_fingerprint, is_infrastructure
from agentkit.protocols import AskUser, Go, Guard, HistoryItem, Nudge, Replan, Spent, Stop
from agentkit.types import Done, Effect, Failed, StopReason, ToolCall, ToolRules, ToolSpec

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.text(max_size=4), JSON, max_size=4)


def item(tool: str, arguments: dict[str, Any], text: str, failed: bool = False, polls: bool = False) -> HistoryItem:
    outcome = Failed(text=text) if failed else Done(text=text)
    call = ToolCall(id="", tool=tool, arguments=arguments)
    rules = ToolRules(effect=Effect.READ, polls=polls)
    return recorded([], call, outcome, ToolSpec(name=tool, description="", parameters={}, rules=rules))


HISTORIES = st.lists(
    st.builds(item, st.sampled_from("ab"), ARGUMENTS, st.text(max_size=20), st.booleans(), st.booleans())
    | st.just(HistoryItem(kind="user"))
    | st.just(HistoryItem(kind="nudge", text="stop that"))
    | st.builds(lambda text: HistoryItem(kind="text", text=text), st.text(max_size=20)),
    max_size=30,
)


def cls(**arguments: Any) -> str:
    return call_class(ToolCall(id="", tool="t", arguments=arguments))


# canonical


@given(ARGUMENTS)
def test_the_order_of_arguments_does_not_matter(arguments: dict[str, Any]) -> None:
    backwards = dict(reversed(arguments.items()))
    assert cls(x=arguments) == cls(x=backwards)


@given(ARGUMENTS)
def test_an_absent_argument_is_a_null_one(arguments: dict[str, Any]) -> None:
    assert cls(**{f"k{k}": v for k, v in arguments.items()}, other=None) == cls(
        **{f"k{k}": v for k, v in arguments.items()}
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [("a  b\n", "a b"), ("./a/../b/c", "b/c"), ("a//b", "a/b"), ("caf\u0065\u0301", "caf\u00e9"), (1.0, 1)],
)
def test_equal_arguments(one: Any, other: Any) -> None:
    assert cls(x=one) == cls(x=other)


@pytest.mark.parametrize(
    ("one", "other"), [("a", "b"), ("http://h//x", "http://h/x"), (1, "1"), (True, 1), ("a/b", "a/B")]
)
def test_different_arguments(one: Any, other: Any) -> None:
    assert cls(x=one) != cls(x=other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("built in 1.25s", "built in 0.9 s"),
        ("\x1b[31mred\x1b[0m alert", "red alert"),
        ("started pid 4711 at 10:02:03", "started pid 12 at 11:59:59"),
        ("wrote /tmp/abc123/out.log done", "wrote /tmp/zzz/other.log done"),
        ("listening on localhost:8123", "listening on localhost:9001"),
        ("id 123e4567-e89b-12d3-a456-426614174000 created", "id 99999999-e89b-12d3-a456-426614174000 created"),
        ("2026-01-02T10:00:00Z all fine", "2026-03-04 11:11:11.5 all fine"),
        ("object at 0x7f00dead is here", "object at 0x7f00beef is here"),
    ],
)
def test_outputs_that_differ_only_by_themselves(one: str, other: str) -> None:
    assert output_digest(one) == output_digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("3 rows", "4 rows"), ("10:00:01", "10:00:02"), ("5s", "6s"), ("done 10%", "done 20%"), ("", "x")],
)
def test_outputs_that_differ(one: str, other: str) -> None:
    assert output_digest(one) != output_digest(other)


def test_a_failure_is_not_a_success_with_the_same_text() -> None:
    assert outcome_class(Done(text="x")) != outcome_class(Failed(text="x"))


def test_the_digest_of_the_whole_output_decides() -> None:
    assert outcome_class(Done(text="the same head"), "a") != outcome_class(Done(text="the same head"), "b")


def test_error_fingerprints_forget_what_was_named() -> None:
    one = Failed(text="line 12: cannot open '/home/ann/a.txt' (id 9f86d081)")
    other = Failed(text="line 99: cannot open '/srv/b.txt' (id 60303ae2)")
    assert error_fingerprint(one) == error_fingerprint(other)
    assert error_fingerprint(one) != error_fingerprint(Failed(text="permission denied"))


def test_what_counts_as_infrastructure() -> None:
    assert is_infrastructure(Failed(text="x", kind="timeout"))
    assert is_infrastructure(Failed(text="HTTP 503 from server"))
    assert not is_infrastructure(Failed(text="404 not found"))
    assert not is_infrastructure(Failed(text="try again later", kind="denied"))


# budgets


@pytest.mark.parametrize(
    ("spent", "words"),
    [
        (Spent(model_calls=24, max_model_calls=24), "24 model calls"),
        (Spent(tool_calls=5, max_tool_calls=4), "4 tool calls"),
        (Spent(tokens=100_001, max_tokens=100_000), "tokens"),
        (Spent(seconds=12.5, max_seconds=12.5), "12.5 seconds"),
        (Spent(model_calls=0, max_model_calls=0), "0 model calls"),
    ],
)
def test_a_used_up_budget_stops(spent: Spent, words: str) -> None:
    verdict = Budgets().check((), spent)
    assert isinstance(verdict, Stop)
    assert (verdict.reason, verdict.detector) == (StopReason.BUDGET, "budgets")
    assert words in verdict.detail
    assert "raise it with" in verdict.detail


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_budget_stops_exactly_at_its_limit(used: int, limit: int) -> None:
    stopped = isinstance(Budgets().check((), Spent(tool_calls=used, max_tool_calls=limit)), Stop)
    assert stopped == (used >= limit)
    assert Budgets().check((), Spent(tool_calls=used)) == Go()


# all guards


def test_the_guards_are_guards_with_names_of_their_own() -> None:
    guards = default_guards()
    assert all(isinstance(guard, Guard) for guard in guards)
    assert len({guard.name for guard in guards}) == len(guards)


@settings(max_examples=60, deadline=None)
@given(HISTORIES)
def test_a_guard_is_a_function_of_the_history(history: list[HistoryItem]) -> None:
    for guard in default_guards():
        verdict = guard.check(history, Spent())
        assert verdict == guard.check(tuple(history), Spent())
        assert isinstance(verdict, Go | Nudge | Replan | AskUser)


@settings(max_examples=60, deadline=None)
@given(HISTORIES, HISTORIES)
def test_what_came_before_the_user_spoke_does_not_count(before: list[HistoryItem], after: list[HistoryItem]) -> None:
    spoke = HistoryItem(kind="user")
    for guard in default_guards():
        assert guard.check([*before, spoke, *after], Spent()) == guard.check([spoke, *after], Spent())


@settings(max_examples=60, deadline=None)
@given(HISTORIES)
def test_nothing_is_stopped_without_a_nudge_before(history: list[HistoryItem]) -> None:
    silent = [item for item in history if item.kind != "nudge"] * 6
    assert all(isinstance(guard.check(silent, Spent()), Go | Nudge) for guard in default_guards())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["running", "waiting"]), max_size=60))
def test_polling_is_never_a_loop(states: list[str]) -> None:
    history = [item("job_status", {"id": 1}, state, polls=True) for state in states]
    assert all(guard.check(history, Spent()) == Go() for guard in default_guards())


@pytest.mark.parametrize("varied", [True, False])
def test_a_step_is_recorded_and_judged_in_about_a_millisecond(varied: bool) -> None:
    history: list[HistoryItem] = []
    guards, spec = (
        default_guards(),
        ToolSpec(name="search", description="", parameters={}, rules=ToolRules(effect=Effect.READ)),
    )
    taken: list[float] = []
    for n in range(200):
        query = f"what is known of the matter of the {n if varied else 'same'} and of all that came of it afterwards"
        call = ToolCall(id="", tool="search", arguments={"query": query})
        started = time.perf_counter()
        history.append(recorded(history, call, Done(text=f"text {n} " * 60 if varied else "the same"), spec))
        for guard in guards:
            guard.check(history, Spent())
        taken.append(time.perf_counter() - started)
    assert sorted(taken)[len(taken) // 2] < 0.005  # loose, for busy machines; python -m benchmarks.loops measures it


# degeneration


@settings(deadline=None)
@given(st.text(min_size=1, max_size=20), st.integers(2, 8), st.text(max_size=50))
def test_a_repeated_unit_is_found(unit: str, repeats: int, before: str) -> None:
    found = repeated_suffix(before + unit * repeats, max_period=20, repeats=repeats)
    assert found is not None
    assert found <= len(unit)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=60), st.integers(2, 5))
def test_what_is_found_is_there(tokens: list[int], repeats: int) -> None:
    period = repeated_suffix(tokens, max_period=10, repeats=repeats)
    if period is not None:
        assert tokens[-period * repeats :] == tokens[-period:] * repeats


def feed(text: str, size: int = 3, *, arguments: bool = False) -> int | None:
    """Return after how many characters the watch barked."""
    watch = DegenerationWatch(arguments=arguments)
    return next((n + size for n in range(0, len(text), size) if watch.feed(text[n : n + size])), None)


def test_speech_in_a_rut_is_seen_while_it_is_written() -> None:
    start = "The sum of the numbers is 30. "
    seen = feed(start + "I hope this helps. " * 50)
    assert seen is not None
    assert seen < len(start) + 19 * 8


@pytest.mark.parametrize(
    "text",
    [
        "a plain answer with words in it, " + " ".join(str(n) for n in range(300)),
        "-" * 400,
        "=" * 80 + "\n" + "=" * 80,
        "| a | b |\n" * 60,
        "```\n" + "x = 0\n" * 60 + "```\ndone",
        "\n".join(f"- item {n} of the list" for n in range(60)),
        "ha ha ha ha ha ha ha ha",
    ],
)
def test_tables_rules_code_and_lists_are_left_alone(text: str) -> None:
    assert feed(text) is None


def test_arguments_may_hold_rows_that_speech_may_not() -> None:
    rows = "0, 0, 0, 0 and " * 40
    assert feed(rows) is not None
    assert feed(rows, arguments=True) is None
    assert feed(rows * 4, arguments=True) is not None
