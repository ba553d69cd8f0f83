"""A search as one page that can be clicked through: no script, nothing loaded, the same offline in ten years.

The root is on the left, the chosen way runs along the top. What is below a box folds away; what is known of an action
shows when the pointer is on its box, or when it is tapped. Very deep trees go on further down the page, since browsers
nest elements only so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from string import Template

from agentkit.cli.lines import fold, visible
from agentkit.cli.treeview.arranging import arranged
from agentkit.cli.treeview.reading import ABOUT, COMMIT, DEAD, DROPPED, UNTRIED, Branch, Outcome, Search, State

__all__ = ["page"]

OPEN = 32  # boxes that are unfolded at first; the chosen way is, however many that takes
BESIDE = 8  # branches of a state that are not behind "more"
ALONG = 20  # the same, of all states of the chosen way below the root
FEW = 3  # notes that are not folded away
DEEP = 60  # levels that are nested
HARMLESS = frozenset({"", "pure", "read"})  # effects that a box does not show
_CLASSES = {UNTRIED: "untried", COMMIT: "kept", DROPPED: "dropped", DEAD: "failed"}
_LEGEND = (("×", "visits"), ("p", "prior"), ("q", "quality: reward and what follows"), ("=", "the same, proven"))


def page(search: Search, *, run_id: str = "", task: str = "") -> str:
    """Return the HTML of a search, whole in one text."""
    template = Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    title = f"agentkit: the search of turn {search.turn}{f', run {run_id}' if run_id else ''}"
    return template.substitute(
        title=_text(title), head="\n".join(_head(search, run_id, task)), body="\n".join(_Drawing(search).sections())
    )


def _head(search: Search, run_id: str, task: str) -> Iterator[str]:
    chosen = search.chosen
    yield f"<h1><code>{_text(chosen.label)}</code></h1>" if chosen else "<h1>nothing is chosen yet</h1>"
    yield f"<p>{_text(search.why)}</p>"
    if task:
        yield f'<p class="faint">Task: {_text(fold(task, limit=400))}</p>'
    facts = [search.strategy, f"turn {search.turn}", f"run {run_id}" if run_id else "", search.spending]
    yield f'<p class="faint">{_text(" · ".join(filter(None, facts)))}</p>'
    if search.notes:
        few = " open" if len(search.notes) <= FEW else ""
        yield f"<details{few}><summary>what went wrong: {len(search.notes)}</summary>"
        yield from (f'<p class="note">{_text(note)}</p>' for note in search.notes)
        yield "</details>"
    legend = "".join(f"<span><b>{sign}</b> {what}</span>" for sign, what in _LEGEND)
    yield f'<div class="legend">{legend}<span>thick lines: visited more; bars: worth more</span></div>'


class _Drawing:
    """The boxes of a search, written from the root outwards."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.made = arranged(search)
        self.through = {edge[0] for edge in self.made.way}
        self.most = max((branch.quality for state in search.states for branch in state.branches), default=1.0)
        self.open = self._opened()
        self.later = [0]  # states that a section of their own begins with

    def sections(self) -> Iterator[str]:
        """Yield the root with what is below it, then whatever was too deep for that."""
        for number in self.later:  # grows while it is walked along
            state = self.search.states[number]
            heading = f"<h2>#{number}, from further up</h2>" if number else ""
            kind = "way" if number in self.through else ""
            yield f'<section id="s{number}" class="{kind}">{heading}<ul><li class="{kind}">'
            card, name = _card(_of_state(state)), f"#{number}" if number else "now"
            yield self._box(name, _now(state), card, state.quality)
            yield from self._below(number, 0)
            yield "</li></ul></section>"

    def _opened(self) -> set[int]:
        """Return the states that are unfolded at first: those of the chosen way, and others while there is room."""
        boxes = {number: min(len(branches), self._beside(number)) for number, branches in self.made.shown.items()}
        found = {number for number in self.through if number in boxes} | {0}
        room = OPEN - sum(boxes[number] for number in found)
        for number, count in boxes.items():  # level by level
            if number not in found and self.made.home[number][0] in found and count <= room:
                found.add(number)
                room -= count
        return found

    def _beside(self, number: int) -> int:
        """Return how many branches of a state are not behind "more": fewer on a long way, so that the first stay in sight."""
        on_the_way = number and number in self.through
        return max(2, min(BESIDE, ALONG // len(self.through))) if on_the_way else BESIDE

    def _below(self, number: int, level: int) -> Iterator[str]:
        """Yield the branches of a state, behind what folds them."""
        branches = sorted(self.made.shown.get(number, ()), key=lambda branch: branch.edge not in self.made.way)
        if not branches:
            return
        if level >= DEEP:
            self.later.append(number)
            yield f'<a class="ref" href="#s{number}">goes on below: #{number}</a>'
            return
        yield _fold(f"t{number}", str(len(branches)), opened=number in self.open)
        yield '<ul class="on">'
        room = self._beside(number)
        room = room if len(branches) > room + 1 else len(branches)  # "1 more" would take as much
        for branch in branches[:room]:
            yield from self._branch(branch, level)
        if rest := branches[room:]:
            yield f'<li class="others">{_fold(f"m{number}", f"{len(rest)} more", opened=False)}<ul class="rest">'
            for branch in rest:
                yield from self._branch(branch, level)
            yield "</ul></li>"
        yield "</ul>"

    def _branch(self, branch: Branch, level: int) -> Iterator[str]:
        """Yield an action, and what it led to."""
        outcomes = branch.outcomes
        only = outcomes[0] if len(outcomes) == 1 else None
        state = self.search.states[only.state] if only else None
        home = state is not None and self.made.home.get(state.number) == branch.edge
        kinds = [
            "way" if branch.edge in self.made.way else "",
            _CLASSES[branch.code] if branch.code is not None else "",
        ]
        total = self.search.states[branch.edge[0]].visits
        share = branch.visits / total if total else 0.0
        mark = f' id="n{state.number}"' if state is not None and home else ""
        number = f" · #{state.number}" if state is not None and home and state.number in self.made.referred else ""
        yield f'<li{mark} class="{" ".join(filter(None, kinds))}" style="--share: {_part(share)}">'
        card = _card([*_of_branch(branch, total), *(_of_state(state) if state else ())], branch.whole)
        yield self._box(branch.label, _figures(branch, number), card, branch.quality if branch.known else 0.0)
        if only is not None:
            yield from self._after(branch, only, level)
        elif outcomes:
            yield from self._by_chance(branch, level)
        yield "</li>"

    def _by_chance(self, branch: Branch, level: int) -> Iterator[str]:
        """Yield the states that chance has led to, each with what is below it."""
        total = sum(outcome.count for outcome in branch.outcomes)
        name = "c{}-{}".format(*branch.edge)
        yield _fold(name, str(len(branch.outcomes)), opened=branch.edge[0] in self.open)
        yield '<ul class="on">'
        for outcome in branch.outcomes:
            state = self.search.states[outcome.state]
            mark = f' id="n{state.number}"' if self.made.home.get(state.number) == branch.edge else ""
            yield f'<li{mark} class="chance" style="--share: {_part(outcome.count / total if total else 0.0)}">'
            card = _card(_of_state(state))
            yield self._box(f"{outcome.count} of {total}", _now(state), card, state.quality)
            yield from self._after(branch, outcome, level + 1)
            yield "</li>"
        yield "</ul>"

    def _after(self, branch: Branch, outcome: Outcome, level: int) -> Iterator[str]:
        """Yield what is below a state where it is drawn, and elsewhere a link to there."""
        number = outcome.state
        if self.made.home.get(number) == branch.edge:
            yield from self._below(number, level + 1)
            return
        word = "back to" if self.made.above(number, branch.edge[0]) else "see"
        yield f'<a class="ref" href="#{f"n{number}" if number else "s0"}">{word} #{number}</a>'

    def _box(self, label: str, figures: str, card: str, worth: float) -> str:
        part = _part(worth / max(1.0, self.most))
        return (
            f'<div class="box" tabindex="0" style="--good-part: {part}"><span class="act">{_text(label)}</span>'
            f'<span class="num">{figures}</span>{card}</div>'
        )


def _now(state: State) -> str:
    return f"{state.visits}× · {state.worth}"


def _figures(branch: Branch, number: str) -> str:
    tag = f'<b class="tag">{_text(branch.effect)}</b> ' if branch.effect not in HARMLESS else ""
    likely = f"{branch.visits}×" if branch.known else f"p {branch.prior:.2f}"
    return f"{tag}{likely} · {branch.worth}{number}"


def _of_branch(branch: Branch, total: int) -> Iterator[tuple[str, str]]:
    yield "visits", f"{branch.visits} of {total}"
    yield "prior", f"{branch.prior:.4f}"
    if branch.known:
        yield "quality", f"{branch.quality:.4f}, of it {branch.reward:.4f} for the step itself"
    if branch.proven is not None:
        yield "proven", f"worth {branch.proven:.4f}"
    if branch.best is not None:
        total_reward, verified = branch.best
        yield "best way", f"worth {total_reward:.4f}, {'verified by a check' if verified else 'not verified'}"
    if branch.effect:
        yield "effect", branch.effect
    if branch.code is not None:
        yield branch.worth, ABOUT[branch.code]
    if len(branch.outcomes) > 1:
        yield "chance", ", ".join(f"#{outcome.state} {outcome.count}×" for outcome in branch.outcomes)


def _of_state(state: State) -> Iterator[tuple[str, str]]:
    if state.observation.strip():
        yield "observed", "\n".join(visible(line) for line in state.observation.strip().splitlines())
    yield "state", f"#{state.number}, {state.visits} visit{'s' * (state.visits != 1)}, worth {state.quality:.4f}"
    if state.value is not None:
        yield "its own value", f"{state.value:.4f}, before anything below it was tried"
    if state.exact is not None:
        yield "state proven", f"worth {state.exact:.4f}"
    if state.opponent:
        yield "moves", "somebody else, who wants the least"
    if not state.branches:
        yield "end", "there is nothing that could be done here"
    if not state.wide:
        yield "others", "no other step was asked for: the model's own came first"


def _card(facts: Iterator[tuple[str, str]] | Sequence[tuple[str, str]], action: str = "") -> str:
    """Return all that is known, to be shown on demand."""
    head = f"<p>{_text(action)}</p>" if action else ""
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f'<div class="card">{head}<dl>{rows}</dl></div>'


def _fold(name: str, label: str, *, opened: bool) -> str:
    """Return what folds and unfolds the list after it."""
    box = f'<input class="t" type="checkbox" id="{name}" aria-label="unfold {label}"{" checked" if opened else ""}>'
    return f'{box}<label for="{name}">{label}</label>'


def _text(text: str) -> str:
    """Return text as HTML, with what would not be seen written as escapes."""
    return escape(visible(text))


def _part(share: float) -> str:
    """Return a number for CSS, between 0 and 1."""
    return f"{min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0:.3f}"
