"""A search as it is printed: the reason first, then the tree, then what it cost and what went wrong.

A line is one action: how it went (▶ the chosen way, ○ tried, · not tried, ! only for real, ✗ failed), visits, prior,
quality (`=` where it is proven), the action itself, its effect, and what it led to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from agentkit.cli.lines import fold, visible
from agentkit.cli.treeview.arranging import Arrangement, arranged
from agentkit.cli.treeview.reading import COMMIT, DEAD, Branch, Outcome, Search, State

__all__ = ["DEPTH", "WIDTH", "drawn"]

DEPTH, WIDTH = 4, 6  # what is printed if nothing else is asked for
LABEL, SEEN = 100, 60  # characters of an action, and of what it led to
NOTES = 5
_MARKS = {COMMIT: ("!", "yellow"), DEAD: ("✗", "red")}


def drawn(search: Search, *, depth: int = DEPTH, width: int = WIDTH) -> RenderableType:
    """Return the search as rich draws it: the chosen way, and `width` actions a state as far as `depth` steps."""
    return Group(*_head(search), _tree(search, arranged(search, depth=depth, width=width)), *_foot(search))


def _head(search: Search) -> Iterator[Text]:
    chosen = search.chosen
    yield Text.assemble((search.strategy, "bold"), f", turn {search.turn}")
    yield Text.assemble(
        ("chosen  ", "dim"), (chosen.label if chosen else "nothing yet", "bold green" if chosen else "")
    )
    yield Text.assemble(("why     ", "dim"), search.why)


def _foot(search: Search) -> Iterator[Text]:
    for note in search.notes[:NOTES]:
        yield Text.assemble(("note    ", "dim"), (note, "yellow"))
    if len(search.notes) > NOTES:
        yield Text.assemble(("note    ", "dim"), f"… {len(search.notes) - NOTES} more")
    yield Text.assemble(("spent   ", "dim"), search.spending)


def _tree(search: Search, made: Arrangement) -> Tree:
    """Return the tree, without recursion: it may be as deep as it likes."""
    root = Tree(_root(search, made), guide_style="dim")
    places = {0: root}
    for number, branches in made.shown.items():  # a state comes after the one it is drawn below
        place = places[number]
        columns = _columns(branches)
        for branch, column in zip(branches, columns, strict=True):
            place_of_branch = place.add(_line(search, made, branch, column))
            for outcome in branch.outcomes:
                if made.home.get(outcome.state) == branch.edge:
                    places[outcome.state] = place_of_branch
            if len(branch.outcomes) > 1:
                _by_chance(search, made, branch, place_of_branch, places)
        if branches and made.left_out[number]:
            place.add(Text(_more(made.left_out[number]), style="dim"))
    return root


def _by_chance(search: Search, made: Arrangement, branch: Branch, place: Tree, places: dict[int, Tree]) -> None:
    """Add a line for each state that chance has led to."""
    total = sum(outcome.count for outcome in branch.outcomes)
    for outcome in branch.outcomes:
        line = Text(f"{outcome.count} of {total}")
        line.append_text(_led_to(search, made, branch, outcome))
        below = place.add(line)
        if made.home.get(outcome.state) == branch.edge:
            places[outcome.state] = below


def _root(search: Search, made: Arrangement) -> Text:
    root = search.states[0]
    return _one_line(Text.assemble(("now", "bold"), f"  {root.visits}×  {root.worth}", (_about(root, made), "magenta")))


def _columns(branches: Sequence[Branch]) -> list[str]:
    """Return the figures of each branch, aligned."""
    visits = [f"{branch.visits}×" for branch in branches]
    worth = [branch.worth for branch in branches]
    widths = [max(map(len, column), default=0) for column in (visits, worth)]
    return [
        f"{seen.rjust(widths[0])}  p {branch.prior:.2f}  {known.ljust(widths[1])}"
        for branch, seen, known in zip(branches, visits, worth, strict=True)
    ]


def _line(search: Search, made: Arrangement, branch: Branch, figures: str) -> Text:
    on_way = branch.edge in made.way
    mark, style = ("▶", "bold green") if on_way else _MARKS.get(branch.code or 0, ("○" if branch.known else "·", ""))
    tried = branch.known or on_way
    text = Text.assemble((f"{mark} ", style), (f"{figures}  ", "" if tried else "dim"))
    text.append(_cut(branch.label, LABEL), style="bold green" if on_way else "" if tried else "dim")
    if branch.effect:
        text.append(f"  {branch.effect}", style="cyan")
    if branch.best is not None and branch.best[1]:
        text.append("  verified", style="green")
    if len(branch.outcomes) == 1:
        text.append_text(_led_to(search, made, branch, branch.outcomes[0]))
    return _one_line(text)


def _led_to(search: Search, made: Arrangement, branch: Branch, outcome: Outcome) -> Text:
    """Return what is said of the state that a branch led to."""
    state = search.states[outcome.state]
    if made.home.get(state.number) != branch.edge:
        back = made.above(state.number, branch.edge[0])
        return Text(f"  {'back to' if back else 'see'} #{state.number}", style="magenta")
    text = Text.assemble((_about(state, made), "magenta"))
    if state.observation.strip():
        text.append(f"  → {visible(fold(state.observation, limit=SEEN))}", style="dim")
    if left_out := made.left_out[state.number] if not made.shown[state.number] else ():
        text.append(f"  … {len(left_out)} below", style="dim")
    return _one_line(text)


def _about(state: State, made: Arrangement) -> str:
    """Return what is to be known of a state beside what was observed."""
    number = [f"#{state.number}"] if state.number in made.referred else []
    return "".join(f"  {word}" for word in [*number, *state.about])


def _more(left_out: Sequence[Branch]) -> str:
    tried = sum(branch.known for branch in left_out)
    return f"… {len(left_out)} more" + (f", {tried} tried" if tried else "")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
