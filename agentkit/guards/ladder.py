"""How a finding becomes a verdict: a nudge, then a new plan without the loop, then a question or the end.

A rung is climbed only if the one before was not heeded: the model has gone on since it was told. What comes back
soon after it had stopped goes on at the next rung. Nothing is ruled out or ended that was not nudged before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentkit.guards.finding import Finding
from agentkit.protocols import AskUser, Go, HistoryItem, Nudge, Replan, Stop, Verdict

MEMORY = 12  # items for which a rung is remembered after its episode was over
_RUNGS = ("nudge", "replan", "ask")
_GRAVE = (Go, Nudge, Replan, AskUser, Stop)


def gravest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the gravest verdict; among equals the first, of none `Go`."""
    return max(verdicts, key=lambda verdict: _GRAVE.index(type(verdict)), default=Go())


def climb(finding: Finding | None, items: Sequence[HistoryItem]) -> Verdict:
    """Return the verdict on a finding in the recent items that it was made of."""
    if finding is None or finding.count < finding.nudge_at:
        return Go()
    last, rung = _heard(finding, items)
    name, episode, what = finding.detector, finding.episode, finding.what
    if last is None:
        return Nudge(text=f"{_capital(what)}. {finding.advice}", detector=name, episode=episode)
    if not any(item.kind in {"call", "text"} for item in items[last + 1 :]):
        return Go()  # it had no chance to heed that yet
    came_back = finding.lingers and last < finding.start
    if rung == 0 and finding.count < finding.block_at and not came_back:
        return Go()
    if rung == 0 and finding.calls:
        text = f"{_capital(what)}. Those calls are now ruled out. {finding.advice}"
        return Replan(ban=finding.calls, text=text, detector=name, episode=episode)
    question = f"I am not getting anywhere: {what}. How shall I go on?"
    return AskUser(question=question, detail=what, detector=name, episode=episode)


def _heard(finding: Finding, items: Sequence[HistoryItem]) -> tuple[int | None, int]:
    """Return where a guard last spoke about this, if it did, and how gravely at most.

    A word about something else said meanwhile counts as a nudge: whoever goes in circles in two ways at once
    has been told once.
    """
    last, rung = None, 0
    for n, item in enumerate(items):
        if item.kind != "nudge" or not item.episode:
            continue
        same = item.episode == finding.episode
        if n >= finding.start or (same and finding.lingers and n >= len(items) - MEMORY):
            last = n
            rung = max(rung, _RUNGS.index(item.rung)) if same else rung
    return last, rung


def _capital(text: str) -> str:
    """Begin a sentence with a capital letter, but leave a tool's name as it is."""
    return text[:1].upper() + text[1:] if text.startswith(("the ", "what ")) else text
