"""The weight of the lexical ranker's prior, fitted on the dev split.

One pass suffices for all weights: an engine reports its own log-probability of every tool where a tool was
chosen, and the prior is added to just that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.messages import user_message
from agentkit.protocols import Engine, Reply, Request
from agentkit.tools import rank
from agentkit.types import Task
from agentkit_synthesis.evaluation import EvalCase, evaluation_set
from benchmarks.answering import as_shipped

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
UNFITTED = 1.0  # for a model whose file names none
TOKENS = 4  # the kind of step and the tool take two


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Right tools at one weight."""

    weight: float
    all: float
    seen: float
    unseen: float


def grid(engine: Engine, seed: int, n: int, weights: Sequence[float] = WEIGHTS) -> list[Share]:
    """Return the share of right tools on the dev split at each weight."""
    cases = evaluation_set(seed, n, split="dev")
    known = [
        (case, opinions(engine, case), rank(case.request, [as_shipped(spec) for spec in case.tools])) for case in cases
    ]
    found = []
    for weight in weights:
        right = [(case.seen, _chosen(own, prior, weight) == case.expect[0]["tool"]) for case, own, prior in known]
        found.append(
            Share(
                weight=weight,
                all=_mean([hit for _, hit in right]),
                seen=_mean([hit for seen, hit in right if seen]),
                unseen=_mean([hit for seen, hit in right if not seen]),
            )
        )
    return found


def best(shares: Sequence[Share]) -> float:
    """Return the weight with most right tools; of equals the smallest."""
    return max(shares, key=lambda share: (round(share.all, 6), -share.weight)).weight


def opinions(engine: Engine, case: EvalCase) -> dict[str, float]:
    """Return the model's own log-probability of each tool; empty where it calls none."""
    tools = [as_shipped(spec) for spec in case.tools]
    request = Request(messages=[user_message(Task.of(case.request))], tools=tools, max_tokens=TOKENS)
    last = [delta for delta in engine.stream(request) if isinstance(delta, Reply)][-1]
    return dict(last.tool_logprobs)


def _chosen(own: dict[str, float], prior: dict[str, float], weight: float) -> str | None:
    if not own:
        return None
    return max(own, key=lambda name: own[name] + weight * prior.get(name, 0.0))


def _mean(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0
