"""The lexical ranker: deterministic, bounded, independent of order."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.tools import rank, shortlist, without_idle_jobs
from agentkit.tools.ranking import FLOOR, stem, words
from agentkit.types import ToolRules, ToolSpec


def spec(name: str, description: str = "", *arguments: str) -> ToolSpec:
    properties = {argument: {"type": "string"} for argument in arguments}
    return ToolSpec(name=name, description=description, parameters={"type": "object", "properties": properties})


BASICS = [
    spec("calculator", "Work out arithmetic, percentages, and sums.", "expression"),
    spec("read_file", "Read a text file.", "path"),
    spec("write_file", "Write text to a file.", "path", "content"),
    spec("list_files", "List the files in a folder.", "path"),
    spec("search_files", "Search files for a text.", "query", "path"),
    spec("run_command", "Run a shell command.", "command"),
    spec("fetch_url", "Fetch a web page.", "url"),
    spec("now", "Tell the current date and time.", "timezone"),
]


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("what files are in this folder?", "list_files"),
        ("what time is it", "now"),
        ("fetch the web page example.com", "fetch_url"),
        ("run the command ls", "run_command"),
        ("what are the percentages", "calculator"),
        ("searching for a text", "search_files"),
    ],
)
def test_the_tool_that_shares_the_words_is_first(query: str, best: str) -> None:
    scores = rank(query, BASICS)
    assert max(scores, key=lambda name: scores[name]) == best


def test_scores_are_log_shares() -> None:
    scores = rank("read a file", BASICS)
    assert math.fsum(math.exp(score) for score in scores.values()) == pytest.approx(len(BASICS))


def test_words_are_split_and_stemmed() -> None:
    assert words("getWeatherForecast list_HTTPServers") == ("weather", "forecast", "list", "http", "server")
    assert stem("files") == stem("file") == "fil"
    assert stem("searching") == stem("searched") == stem("searches") == stem("search") == "search"
    assert stem("running") == stem("run")
    assert stem("cities") == stem("city")
    assert stem("bus") == "bus"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("what is in notes/photo.txt", ("not", "photo", "txt", "#file")),
        ("what is in notes/photo.PNG?", ("#picture",)),  # its name is not about notes, nor a text's
        ("photos of 2.jpg, 3 of them", ("photo", "3", "#picture", "#")),
        ("I'd like to see it", ("see",)),
        ("would you like plums", ("plum",)),
        ("3 plums like it", ("3", "plum", "lik", "#")),
        ("what is in https://example.com/a.png", ("http", "#url", "#picture")),
        ("open https://example.com/", ("open", "http", "exampl", "com", "#url")),
    ],
)
def test_names_stand_for_their_kind_and_wishes_for_nothing(text: str, told: tuple[str, ...]) -> None:
    assert words(text) == told


def test_a_query_that_says_nothing_changes_nothing() -> None:
    assert set(rank("xyzzy the of", BASICS).values()) == {0.0}
    assert rank("anything", []) == {}


SPECS = st.lists(
    st.builds(spec, st.text("abc_", min_size=1, max_size=8), st.text("abc ", max_size=20)),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one.name,
)


@given(st.text("abc ", max_size=20), SPECS, st.randoms())
def test_scores_are_bounded_finite_and_the_same_in_any_order(query: str, specs: list[ToolSpec], rng: object) -> None:
    scores = rank(query, specs)
    assert set(scores) == {one.name for one in specs}
    for score in scores.values():
        assert FLOOR <= score <= math.log(len(specs)) + 1e-9
    turned = rank(query, specs[::-1])
    assert all(turned[name] == pytest.approx(score) for name, score in scores.items())
    assert rank(query, specs) == scores


@given(st.text("abc ", max_size=20), SPECS, st.integers(0, 10))
def test_a_shortlist_holds_the_best_in_the_given_order(query: str, specs: list[ToolSpec], n: int) -> None:
    kept = shortlist(query, specs, n)
    assert len(kept) == min(n, len(specs))
    assert [one for one in specs if one in kept] == kept
    scores = rank(query, specs)
    left = [scores[one.name] for one in specs if one not in kept]
    if kept and left:
        assert min(scores[one.name] for one in kept) >= max(left) - 1e-12


@pytest.mark.parametrize(
    ("request_text", "first"),
    [
        ("What is 15% of 200?", "calculator"),
        ("3 plus 4", "calculator"),
        ("what is inside notes/todo.md", "read_file"),
        ("open https://example.com/a.html", "fetch_url"),
        ("what day is it", "now"),
    ],
)
def test_keywords_stand_for_what_descriptions_lack(request_text: str, first: str) -> None:
    from agentkit_basics import tools

    specs = [tool.spec for tool in tools()]
    scores = rank(request_text, specs)
    assert max(scores, key=scores.__getitem__) == first
    bare = [replace(spec, rules=replace(spec.rules, keywords=())) for spec in specs]
    assert rank(request_text, bare)[first] < scores[first]


JOBS = [
    replace(spec(name, description, "data"), rules=ToolRules(cost=True))
    for name, description in (
        ("bake_model", "Bake a model."),
        ("freeze_model", "Freeze a model."),
        ("melt", "Melt it."),
    )
]


@pytest.mark.parametrize(
    ("query", "jobs"),
    [
        ("bake it, please", ["bake_model"]),
        ("I need a model", ["bake_model", "freeze_model"]),  # it may be either
        ("read the text file", []),
        ("read the file and melt", []),  # it is more about reading
        ("good morning", []),  # about nothing
    ],
)
def test_a_long_job_is_offered_to_who_speaks_of_it(query: str, jobs: list[str]) -> None:
    offered = without_idle_jobs(query, [*BASICS, *JOBS])
    assert [one.name for one in offered] == [*(one.name for one in BASICS), *jobs]
    assert without_idle_jobs(query, BASICS) == BASICS
    kept = without_idle_jobs(query, [*BASICS, *JOBS], frozenset({"melt"}))
    assert kept[-1].name == "melt"
