"""`agentkit trees` and /plan, over trees that lie in the database."""

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from agentkit.cli.repl import slash
from agentkit.errors import UsageError
from agentkit.store.sql import SqliteStore


def act(child=-1, visits=0, quality=0.0):
    return {"child": child, "visits": visits, "quality": quality, "priors": 0.5}


@pytest.fixture
def tree(plain_tree):
    actions = {"look": act(1, 5, 0.8), "leap": act(-1)}
    return plain_tree([{"actions": actions}, {"observation": "seen", "actions": {"final yes": act()}}])


@pytest.fixture
def fill(tree):
    """Put runs into a store: one with trees of two turns, one older without any."""

    def write(store: SqliteStore) -> None:
        store.start_run("0dd0", "old", {"task": "the old one", "planner": "direct"})
        store.append_event("0dd0", 1, {"type": "plan", "strategy": "direct", "why": "the model's own choice"})
        store.start_run("8c1e77", "talk", {"task": "look <there>", "planner": "auto"})
        store.save_tree("8c1e77", 1, tree)
        store.save_tree("8c1e77", 3, {**tree, "why": "it is proven", "chosen": 1})
        store.append_event("8c1e77", 1, {"type": "plan", "strategy": "mcts", "why": "it is proven"})
        store.start_run("e3e3", "empty", {"task": "nothing yet"})

    return write


@pytest.fixture
def program(agentkit, fill):
    """The program, in a home that has these runs."""
    store = SqliteStore(agentkit.home / "agentkit.db")
    fill(store)
    store.close()
    return agentkit


def test_list(program) -> None:
    rows = program("trees", "--json").document["data"]
    assert [(row["run_id"], row["turn"], row["chosen"]) for row in rows] == [
        ("8c1e77", 1, "look"),
        ("8c1e77", 3, "leap"),
    ]
    assert {row["simulations"] for row in rows} == {8}
    assert program("trees", "list", "8c1e", "--json").document["data"] == rows
    shown = program("trees").out.splitlines()
    assert shown[0].split() == ["run", "id", "turn", "strategy", "simulations", "chosen", "why"]
    assert shown[2].split()[:5] == ["8c1e77", "3", "mcts", "8", "leap"]
    assert shown[2].endswith("it is proven")
    assert len(program("trees", "list", "--limit", "1").out.splitlines()) == 2


def test_list_of_a_run_without_says_why(program, agentkit) -> None:
    ran = program("trees", "list", "0dd0")
    assert (ran.code, ran.out) == (0, "")
    assert "planned by 'direct', the model's own choice" in ran.one_line()
    assert 'run.planner = "auto"' in ran.one_line()


def test_list_without_any(agentkit) -> None:
    ran = agentkit("trees")
    assert (ran.code, ran.out) == (0, "")
    assert 'run.planner = "auto"' in ran.one_line()
    assert agentkit("trees", "--json").document["data"] == []


def test_show(program) -> None:
    ran = program("trees", "show", "8c1e")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[:3] == ["mcts, turn 3", "chosen  leap", "why     it is proven"]
    assert lines[4] == "├── ○ 5×  p 0.50  q 0.80   look  → seen"
    assert [line for line in lines if "▶" in line] == ["└── ▶ 0×  p 0.50  untried  leap"]
    assert "\x1b" not in ran.out
    first = program("trees", "show", "8c1e", "--turn", "1", "--depth", "1", "--width", "1").out.splitlines()
    assert first[4:6] == ["├── ▶ 5×  p 0.50  q 0.80  look  → seen  … 1 below", "└── … 1 more"]


def test_show_as_json_is_the_raw_tree(program, tree) -> None:
    ran = program("trees", "show", "8c1e", "--turn", "1", "--json")
    assert ran.document["data"] == {"run_id": "8c1e77", "turn": 1, **json.loads(json.dumps(tree))}
    assert ran.document["command"] == "trees show"


def test_show_as_a_page(program) -> None:
    ran = program("trees", "show", "8c1e", "--html", "tree.html")
    assert (ran.code, ran.out, ran.one_line()) == (0, "", "wrote tree.html")
    text = (program.work / "tree.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "look &lt;there&gt;" in text
    assert "the search of turn 3, run 8c1e77</title>" in text
    assert program("trees", "show", "8c1e", "--html", "-").out == text
    both = program("trees", "show", "8c1e", "--html", "x.html", "--json")
    assert (both.code, both.document["error"]["kind"]) == (2, "UsageError")
    assert not (program.work / "x.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "there is no run 'nothing'; `agentkit runs list` shows them"),
        (("0dd0",), "run 0dd0 has no search tree: planned by 'direct', the model's own choice; trees are made with"),
        (("e3e3",), "run e3e3 has no search tree: it has planned nothing yet; trees are made with"),
        (("8c1e", "--turn", "2"), "run 8c1e77 has no search tree of turn 2; --turn can be 1, 3"),
        (("8c1e", "--html", "x.html", "--depth", "2"), "leave out the other options"),
        (("8c1e", "--html", "no/such/folder/x.html"), "cannot be written"),
        (("8c1e", "--depth", "0"), "--depth"),
    ],
)
def test_errors_say_what_and_what_to_do(program, words, said) -> None:
    ran = program("trees", "show", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.one_line()
    assert not (program.work / "x.html").exists()


def test_a_tree_of_another_form_is_listed_and_printed_and_not_drawn(agentkit) -> None:
    store = SqliteStore(agentkit.home / "agentkit.db")
    store.start_run("f00d", "talk", {})
    store.save_tree("f00d", 1, {"strategy": "theirs", "why": "a hunch", "oracle": [1, 2]})
    store.close()
    row = agentkit("trees", "--json").document["data"][0]
    assert (row["strategy"], row["why"], row["simulations"]) == ("theirs", "a hunch", None)
    assert agentkit("trees", "show", "f00d", "--json").document["data"]["oracle"] == [1, 2]
    ran = agentkit("trees", "show", "f00d")
    assert (ran.code, ran.out) == (2, "")
    assert "cannot be drawn" in ran.one_line()


# ── in the chat ──


@pytest.fixture
def typed(fill):
    """Type a slash command in a conversation; return what it prints."""
    store = SqliteStore(None)
    fill(store)

    def line(text: str, thread: str) -> list[str]:
        out = io.StringIO()
        console = Console(file=out, width=500, highlight=False)
        slash.dispatch(SimpleNamespace(agent=SimpleNamespace(store=store), console=console, thread_id=thread), text)
        return out.getvalue().splitlines()

    yield SimpleNamespace(line=line, store=store)
    store.close()


def test_plan_shows_the_last_tree_of_the_last_run(typed, tree) -> None:
    assert typed.line("/plan", "talk")[:3] == ["mcts, turn 3", "chosen  leap", "why     it is proven"]
    assert typed.line("/plan 1", "talk")[:2] == ["mcts, turn 1", "chosen  look"]
    assert not any("was not searched" in line for line in typed.line("/plan", "talk"))
    typed.store.append_event("8c1e77", 2, {"type": "plan", "strategy": "direct", "why": "nothing else"})
    assert typed.line("/plan", "talk")[-1] == "the last step was not searched: planned by 'direct', nothing else"
    assert slash.words(SimpleNamespace(agent=SimpleNamespace(store=typed.store), thread_id="talk"))["/plan"]() == (
        "1",
        "3",
    )


def test_plan_says_that_there_was_no_search_and_why(typed) -> None:
    (line,) = typed.line("/plan", "old")
    assert line.startswith("no search: planned by 'direct', the model's own choice; trees are made with run.planner")
    with pytest.raises(UsageError, match="nothing has been planned in this conversation"):
        typed.line("/plan", "new")
    with pytest.raises(UsageError, match="no search tree of turn 2; --turn can be 1, 3"):
        typed.line("/plan 2", "talk")
    with pytest.raises(UsageError, match="the number of a turn, not soon"):
        typed.line("/plan soon", "talk")


def test_export_writes_rows_for_training(agentkit, tmp_path) -> None:
    """What a search over a real run found: prompts with messages, nothing of the check, one row each."""
    from tests.unit.graph.test_lookahead import run, which

    work = tmp_path / "desk"
    work.mkdir()
    (work / "a.txt").write_text("nothing of use")
    (work / "b.txt").write_text("the number is 42")
    agentkit.home.mkdir(parents=True, exist_ok=True)
    store = SqliteStore(agentkit.home / "agentkit.db")
    result, *_ = run(which, work, planner="lds", check="grep -q 42 # known to the user alone", store=store)
    assert result.ok
    store.close()
    for kind, keys in {
        "pairs": {"prompt", "chosen", "rejected", "logprob_chosen", "logprob_rejected", "split", "tools"},
        "policies": {"prompt", "completions", "policy"},
        "values": {"prompt", "value", "variance"},
    }.items():
        done = agentkit("trees", "export", "--kind", kind)
        rows = [json.loads(line) for line in done.out.splitlines()]
        assert rows
        for row in rows:
            assert keys <= set(row)
            assert all(message["role"] in {"system", "user", "assistant", "tool"} for message in row["prompt"])
            assert "known to the user alone" not in json.dumps(row)
    out = tmp_path / "pairs.jsonl"
    agentkit("trees", "export", result.run_id[:6], "-o", str(out))
    (pair, *_) = [json.loads(line) for line in out.read_text().splitlines()]
    assert json.loads(pair["chosen"][0]["tool_calls"][0]["function"]["arguments"]) == {"name": "b.txt"}
    assert pair["chosen"] != pair["rejected"]


def test_export_of_a_run_that_is_not_there(program) -> None:
    done = program("trees", "export", "ffff")
    assert done.code == 2
    assert "trees list" in done.err
