"""Search trees as they are drawn: whole, every state once, on any graph, and nothing in them is obeyed."""

import io
import json
import re
import sys
from html.parser import HTMLParser
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agentkit.cli.treeview.arranging import arranged
from agentkit.cli.treeview.page import page
from agentkit.cli.treeview.reading import read
from agentkit.cli.treeview.terminal import drawn
from agentkit.errors import UsageError
from agentkit.protocols import PlanBudget
from agentkit.testing import Walk
from agentkit_planners.best_first import BestFirstPlanner
from agentkit_planners.lds import LdsPlanner
from agentkit_planners.mcts.backup import proven
from agentkit_planners.mcts.policies import BayesRootPlanner, GumbelPlanner, PuctPlanner
from agentkit_planners.selector import AutoPlanner
from agentkit_planners.tree import Tree

NASTY = "[red]x[/red] <script>alert('1')</script> &amp; \"\x1b[2J\u202e"
SHOWN = "[red]x[/red] <script>alert('1')</script> &amp; \"\\u202e"
PLANNERS = (LdsPlanner, BestFirstPlanner, PuctPlanner, GumbelPlanner, BayesRootPlanner, AutoPlanner)


def act(child=-1, visits=0, quality=0.0, prior=0.25, reward=0.0):
    return {"child": child, "visits": visits, "quality": quality, "priors": prior, "reward": reward}


def printed(tree, **limits) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=10_000, highlight=False).print(drawn(read(tree), **limits))
    return out.getvalue().splitlines()


class Page(HTMLParser):
    """A page, read strictly: every element is closed by its own end tag, and none of them acts or loads anything."""

    VOID = frozenset({"meta", "input"})
    ALLOWED = re.compile(
        "html|head|meta|details|summary|title|style|body|header|h[12]|p|code|div|span|b|form|input|label|button|main|section|ul|li|a|d[ltd]"
    )
    ATTRIBUTES = re.compile(
        "lang|charset|open|name|content|http-equiv|class|id|tabindex|style|type|checked|for|href|autocomplete|aria-label"
    )

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, str]] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}  # by the class of what they stand in, or else its tag
        self.deepest = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        names = {name: value or "" for name, value in attrs}
        assert self.ALLOWED.fullmatch(tag)
        assert len(names) == len(attrs)
        assert [name for name in names if not self.ATTRIBUTES.fullmatch(name)] == []
        assert re.fullmatch(r"(--[a-z-]+: [01]\.\d+)?", names.get("style", ""))
        self.elements.append((tag, names))
        if tag not in self.VOID:
            self.open.append((tag, names.get("class") or tag))
            self.texts.setdefault(self.open[-1][1], []).append("")
            self.deepest = max(self.deepest, len(self.open))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data) -> None:
        if self.open:
            self.texts[self.open[-1][1]][-1] += data

    def of(self, kind: str) -> int:
        """How many list items are of a kind."""
        return sum(tag == "li" and kind in names.get("class", "").split() for tag, names in self.elements)


def read_page(tree) -> Page:
    """Return a tree's page: whatever it links to is on it, and it needs nothing from elsewhere."""
    text = page(read(tree), run_id="8c1e", task=NASTY)
    found = Page(text)
    ids = [names["id"] for _, names in found.elements if "id" in names]
    assert len(ids) == len(set(ids))
    assert [names["href"] for tag, names in found.elements if tag == "a" and names["href"][1:] not in ids] == []
    assert [names["for"] for tag, names in found.elements if tag == "label" and names["for"] not in ids] == []
    assert not re.search(r"url\(|@import|//", found.texts["style"][0])
    policy = [names["content"] for _, names in found.elements if names.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    return found


def in_a_row(plain_tree, steps: int):
    """A way of so many steps, each the only one."""
    nodes = [{"actions": {f"step {n}": act(n + 1, 1)}} for n in range(steps)]
    return plain_tree([*nodes, {"observation": "there"}])


# ── a small one ──


@pytest.fixture
def small(plain_tree):
    look = {"kind": "calls", "calls": [{"id": "c", "tool": "look", "arguments": {"at": "numbers.txt"}}]}
    root = {
        "look {}": act(1, 5, 0.83, 0.5),
        "ask": act(2, 2, 0.1),
        "write": act(-2, 1),
        "rm": act(-3),
        "fly": act(-4, 1),
    }
    seen = {"final 30": act(3, 3, 1.0, 0.9, 1.0), "wait": act(prior=0.1)}
    return plain_tree(
        [
            {"actions": root, "q": 0.6},
            {"actions": seen, "q": 0.8, "observation": "30\nthirty"},
            {"actions": {"look {}": act(1, 1, 0.8, 1.0)}, "opponent": True, "value": 0.4},
            {"exact": 0.0, "observation": "It is 30."},
        ],
        turn=2,
        steps={"look {}": look},
        effects={"look {}": "read", "write": "write"},
        found={"0": [1.0, True]},
        notes=["fly: ValueError: no wings"],
    )


def test_in_the_terminal(small) -> None:
    assert printed(small) == [
        "mcts, turn 2",
        'chosen  look(at="numbers.txt")',
        "why     worth 0.83 by its prior and 5 visits",
        "now  9×  q 0.60",
        '├── ▶ 5×  p 0.50  q 0.83         look(at="numbers.txt")  read  verified  #1  → 30 (+1 line)',
        "│   ├── ▶ 3×  p 0.90  = 1.00   final 30  end  → It is 30.",
        "│   └── · 0×  p 0.10  untried  wait",
        "├── ○ 2×  p 0.25  q 0.10         ask  somebody else moves",
        '│   └── ○ 1×  p 1.00  q 0.80  look(at="numbers.txt")  read  see #1',
        "├── ! 1×  p 0.25  only for real  write  write",
        "├── ✗ 1×  p 0.25  failed         fly",
        "└── · 0×  p 0.25  dropped        rm",
        "note    fly: ValueError: no wings",
        "spent   8 simulations, 1 model call, 6 steps tried, 420 tokens, 4 states met",
    ]


def test_on_a_page(small) -> None:
    found = read_page(small)
    assert found.texts["title"] == ["agentkit: the search of turn 2, run 8c1e"]
    assert found.texts["code"] == ['look(at="numbers.txt")']
    assert (found.texts["summary"], found.texts["note"]) == (["what went wrong: 1"], ["fly: ValueError: no wings"])
    look = 'look(at="numbers.txt")'
    assert found.texts["act"] == ["now", look, "final 30", "wait", "ask", look, "write", "fly", "rm"]
    assert [found.of(kind) for kind in ("way", "untried", "kept", "failed", "dropped")] == [3, 1, 1, 1, 1]
    details = dict(zip(found.texts["dt"], found.texts["dd"], strict=True))
    assert details["best way"] == "worth 1.0000, verified by a check"
    assert details["proven"] in {"worth 1.0000", "worth 0.0000"}
    assert details["its own value"].startswith("0.4000, ")
    assert "30\nthirty" in found.texts["dd"]
    assert details["only for real"].startswith("it cannot be tried without doing it")
    assert found.texts["ref"] == ["see #1"]
    assert found.texts["num"][1:4] == ["5× · q 0.83 · #1", "3× · = 1.00", "p 0.10 · untried"]
    assert found.texts["tag"] == ["write"]  # what only looks is not marked, but said
    assert [n for n, text in enumerate(found.texts["dt"]) if (text, found.texts["dd"][n]) == ("effect", "read")]


def test_one_that_was_cut_off_before_it_chose(small) -> None:
    kept = {name: value for name, value in small.items() if name not in {"strategy", "chosen", "why", "ending"}}
    lines = printed(kept)
    assert lines[1] == "chosen  nothing yet"
    assert "nothing is chosen yet" in lines[2]
    assert not any("▶" in line for line in lines)
    found = read_page(kept)
    assert found.texts["h1"] == ["nothing is chosen yet"]
    assert (found.of("way"), len(found.texts["act"])) == (0, 9)


def test_where_there_is_nothing_to_search(plain_tree) -> None:
    alone = plain_tree([{"actions": {"": act()}}], spent={}, why="there is nothing else that could be done")
    assert printed(alone)[1:] == [
        "chosen  (nothing)",
        "why     there is nothing else that could be done",
        "now  0×  unknown",
        "└── ▶ 0×  p 0.25  untried  (nothing)",
        "spent   1 state met",
    ]
    assert read_page(alone).texts["act"] == ["now", "(nothing)"]
    nowhere = plain_tree([{}], chosen=None)
    assert "now  0×  unknown  end" in printed(nowhere)
    assert read_page(nowhere).texts["act"] == ["now"]


# ── limits ──


def test_a_deep_one_is_cut_in_the_terminal_and_goes_on_further_down_on_the_page(plain_tree) -> None:
    steps = sys.getrecursionlimit() * 2
    deep = in_a_row(plain_tree, steps)
    assert len([line for line in printed(deep, depth=3) if "▶" in line]) == steps  # the chosen way is never cut
    lines = printed({**deep, "chosen": None}, depth=3)
    said = [line.partition("q 0.00  ")[2] for line in lines if "○" in line]
    assert said == ["step 0", "step 1", "step 2  … 1 below"]
    found = read_page(deep)
    begun = [text.removesuffix(", from further up") for text in found.texts["h2"]]
    assert found.texts["ref"] == [f"goes on below: {number}" for number in begun]
    assert found.of("way") == steps + 1 + len(begun)
    assert found.deepest < 256  # browsers nest 512


def test_a_wide_one_is_cut_in_the_terminal_and_folded_on_the_page(plain_tree) -> None:
    rows = {f"a{n}": act(-1 if n > 20 else n + 1, max(0, 20 - n)) for n in range(40)}
    wide = plain_tree([{"actions": rows}, *({} for _ in range(21))], chosen=39)
    lines = printed(wide, width=4)
    assert [line.split()[-1] for line in lines if "×  p" in line] == [
        "end",
        "end",
        "end",
        "a39",
    ]  # the chosen one stays
    assert lines[-2] == "└── … 36 more, 18 tried"
    found = read_page(wide)
    assert found.texts["act"][:3] == ["now", "a39", "a0"]
    assert len(found.texts["act"]) == 41
    assert "32 more" in found.texts["label"]


def test_beside_a_long_way_a_page_folds_more(plain_tree) -> None:
    def label_texts(steps: int) -> list[str]:
        way = [{"actions": {f"a{a}": act(n + 1 if not a else -1, 9 - a) for a in range(6)}} for n in range(steps)]
        return [text for text in read_page(plain_tree([*way, {}])).texts["label"] if "more" in text]

    assert label_texts(2) == []
    assert label_texts(10) == ["4 more"] * 9  # the root's are all there


def test_a_big_page_begins_folded_but_for_the_chosen_way(plain_tree) -> None:
    nodes, waiting = [], 1
    for _ in range(400):
        children = range(waiting, min(waiting + 3, 400))
        nodes.append({"actions": {f"to {child}": act(child, 1) for child in children}})
        waiting += len(children)
    big = plain_tree(nodes)
    found = read_page(big)
    assert len(found.texts["act"]) == 400
    folds = {names["id"]: "checked" in names for _, names in found.elements if names.get("class") == "t"}
    on_the_way = {f"t{edge[0]}" for edge in read(big).way}
    assert {fold for fold in on_the_way if not folds[fold]} == set()
    assert len(on_the_way) < sum(folds.values()) < len(folds) / 2


def test_many_notes_are_counted_in_the_terminal_and_folded_on_the_page(plain_tree) -> None:
    noted = plain_tree([{"actions": {"a": act()}}], notes=[f"note {n}" for n in range(9)])
    lines = printed(noted)
    assert [line for line in lines if line.startswith("note")][-2:] == ["note    note 4", "note    … 4 more"]
    found = read_page(noted)
    assert len(found.texts["note"]) == 9
    assert [names for tag, names in found.elements if tag == "details"] == [{}]


# ── graphs ──


def test_a_state_that_two_ways_lead_to_is_drawn_on_the_chosen_one(plain_tree) -> None:
    nodes = [
        {"actions": {"short": act(2, 9, 0.1), "long": act(1, 1, 0.9)}},
        {"actions": {"on": act(2, 1, 0.9)}},
        {"actions": {"last": act(3, 9, 1.0)}},
        {},
    ]
    lines = printed(plain_tree(nodes, chosen=1))
    assert [line.split()[-1] for line in lines if "▶" in line] == ["long", "#2", "end"]
    assert [line.split()[-3:] for line in lines if "short" in line] == [["short", "see", "#2"]]
    found = read_page(plain_tree(nodes, chosen=1))
    assert found.texts["act"] == ["now", "long", "on", "last", "short"]
    assert found.texts["ref"] == ["see #2"]


@pytest.mark.parametrize("back", [0, 1, 2])
def test_a_way_that_leads_back_is_drawn_once(plain_tree, back: int) -> None:
    nodes = [{"actions": {"a": act(1, 3)}}, {"actions": {"b": act(2, 2)}}, {"actions": {"c": act(back, 1)}}]
    lines = printed(plain_tree(nodes), depth=50)
    assert [line.split()[-1] for line in lines if line.rstrip().endswith("c") or "back to" in line] == [f"#{back}"]
    assert sum("×  p" in line for line in lines) == 3
    found = read_page(plain_tree(nodes))
    assert found.texts["ref"] == [f"back to #{back}"]
    assert found.texts["act"] == ["now", "a", "b", "c"]


def test_what_chance_decides_is_drawn_with_how_often(plain_tree) -> None:
    nodes = [
        {"actions": {"roll": act(-1, 5, 0.5)}},
        {"observation": "six", "actions": {"take": act()}},
        {"observation": "one"},
    ]
    chances = [[0, 0, [[2, 1, 0.0], [1, 3, 1.5], [0, 1, 0.0]]]]
    tree = plain_tree(nodes, chances=chances)
    assert printed(tree)[3:-1] == [
        "now  5×  q 0.00  #0",
        "└── ▶ 5×  p 0.25  q 0.50  roll",
        "    ├── 3 of 5  → six",
        "    │   └── · 0×  p 0.25  untried  take",
        "    ├── 1 of 5  end  → one",
        "    └── 1 of 5  back to #0",
    ]
    found = read_page(tree)
    assert found.texts["act"] == ["now", "roll", "3 of 5", "take", "1 of 5", "1 of 5"]
    assert found.texts["ref"] == ["back to #0"]
    assert ("chance", "#1 3×, #2 1×, #0 1×") in set(zip(found.texts["dt"], found.texts["dd"], strict=True))


def test_the_way_takes_what_is_proven_and_what_an_opponent_would(plain_tree) -> None:
    nodes = [
        {"actions": {"mine": act(1, 9, 0.2)}},
        {"actions": {"good for me": act(2, 4, 0.9), "bad for me": act(3, 4, 0.2)}, "opponent": True},
        {},
        {"actions": {"visited": act(4, 5, 0.1), "proven": act(5, 2, 0.7, reward=0.2)}, "exact": 0.7},
        {},
        {"exact": 0.5},
    ]
    lines = [line.strip(" │├└─").split("  ")[3] for line in printed(plain_tree(nodes)) if "▶" in line]
    assert lines == ["mine", "bad for me", "proven"]


@given(data=st.data())
def test_any_graph_is_drawn_whole_and_every_state_once(plain_tree, data) -> None:
    count = data.draw(st.integers(1, 8))
    child = st.integers(-4, count - 1)
    nodes = []
    for _ in range(count):
        acts = data.draw(st.lists(st.builds(act, child=child, visits=st.integers(0, 3)), max_size=4))
        nodes.append({"actions": {f"a{n}": found for n, found in enumerate(acts)}})
    first = len(nodes[0]["actions"])
    chances = []
    if first:
        chances = data.draw(st.sampled_from([[], [[0, 0, [[count - 1, 2, 0.0], [0, 1, 0.0]]]]]))
    tree = plain_tree(nodes, chances=chances, chosen=data.draw(st.integers(0, first - 1)) if first else None)
    reached, order = {0}, [0]
    search = read(tree)
    for number in order:
        for state in {
            outcome.state for branch in search.states[number].branches for outcome in branch.outcomes
        } - reached:
            reached.add(state)
            order.append(state)
    made = arranged(search)
    assert set(made.shown) == reached == set(made.home) | {0}
    assert all(made.above(0, number) for number in reached)
    lines = printed(tree, depth=99, width=99)
    actions = sum(len(search.states[number].branches) for number in reached)
    assert sum("×  p" in line for line in lines) == actions
    found = read_page(tree)
    outcomes = sum(len(branch.outcomes) for branch in search.states[0].branches if len(branch.outcomes) > 1)
    assert len(found.texts["act"]) == 1 + actions + outcomes
    for limits in ({"depth": 1, "width": 1}, {"depth": 2, "width": 2}):
        ways = [line for line in printed(tree, **limits) if "▶" in line]
        assert len(ways) == len(search.way)


# ── what others wrote ──


def test_what_stands_in_a_tree_is_shown_and_not_obeyed(plain_tree) -> None:
    step = {"kind": "calls", "calls": [{"id": "c", "tool": NASTY, "arguments": {NASTY: NASTY}}]}
    tree = plain_tree(
        [{"actions": {NASTY: act(1, 1), "call": act()}}, {"observation": f"{NASTY}\n{NASTY}"}],
        why=NASTY,
        strategy=NASTY,
        notes=[NASTY],
        ending=NASTY,
        steps={"call": step},
        effects={NASTY: NASTY},
        spent={NASTY: 1},
    )
    text = "\n".join(printed(tree))
    assert text.count(SHOWN) >= 8
    assert not {char for char in text if not char.isprintable()} - {"\n"}
    found = read_page(tree)  # which allows no element and no attribute that acts
    assert found.texts["h1"] + found.texts["code"] == ["", SHOWN]
    assert found.texts["act"][1] == SHOWN
    assert found.texts["note"] == [SHOWN]
    assert found.texts["tag"] == [SHOWN]
    assert f"{SHOWN}\n{SHOWN}" in found.texts["dd"]
    whole = [text for texts in found.texts.values() for text in texts]
    assert not {char for text in whole for char in text if not char.isprintable()} - {"\n"}


@pytest.mark.parametrize("make", PLANNERS)
def test_it_reads_what_the_planners_leave(make) -> None:
    walk = Walk(goal=3, choices=(1, -1, 2))
    plan = make().plan(walk, 0, evaluator=walk, budget=PlanBudget(simulations=20), rng=Random(7))
    assert plan.tree is not None
    plain = json.loads(json.dumps(plan.tree))
    search, tree = read({"turn": 1, **plain}), Tree.from_plain(plain)
    assert search.chosen is not None
    assert search.chosen.label == f"walk(by={int(plan.action.key)})"
    assert (search.strategy, search.why, search.simulations) == (plan.strategy, plan.why, plan.spent["simulations"])
    assert len(search.states) == len(tree.nodes)
    for state, node in zip(search.states, tree.nodes, strict=True):
        by_action = sorted(state.branches, key=lambda branch: branch.edge)
        assert [branch.proven for branch in by_action] == [proven(tree, node, n) for n in range(len(node.actions))]
        assert [branch.visits for branch in by_action] == node.visits
    assert sum("▶" in line for line in printed(plain, depth=99)) == len(search.way) >= 1
    assert len(read_page(plain).texts["act"]) == 1 + sum(len(node.actions) for node in tree.nodes)


@pytest.mark.parametrize(
    "broken",
    [
        {"version": 2},
        {"version": None},
        {"nodes": []},
        {"nodes": None},
        {"nodes": [{}]},
        {"chosen": 7},
        {"chosen": -1},
        {"chances": [[0, 0, [[99, 1, 0.0]]]]},
        {"chances": [7]},
        {"steps": {"look {}": {"calls": [{}]}}},
        {"spent": {"simulations": "many"}},
    ],
)
def test_another_form_is_refused_in_one_line(small, broken) -> None:
    with pytest.raises(UsageError, match=r"turn 2 has a form that cannot be drawn .* trees show --json` prints it"):
        read({**small, **broken})


@pytest.mark.parametrize("code", [4, -5])
def test_a_child_that_is_none_is_refused(plain_tree, code: int) -> None:
    with pytest.raises(UsageError, match=f"node 0 leads to {code}, of 2 nodes"):
        read(plain_tree([{"actions": {"a": act(code)}}, {}]))
