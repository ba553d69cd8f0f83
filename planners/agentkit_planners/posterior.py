"""What an action is worth, given its prior and the few times it was tried: the rule of the final choice.

A normal posterior with a prior mean that rises with the action's log-probability l, and with the weight of kappa visits:

    mu_a = (n_a Q_a + kappa (v0 + b (l_a - mean of l))) / (n_a + kappa),     sd_a = sqrt(noise / (n_a + kappa))

kappa = Var(noise of one value) / Var(Q given l); b is the slope of Q on l. `fit` takes both from trees that were searched
to the end; until that has been done, the constants below are a guess that trusts two visits as much as the prior.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from agentkit_planners.tree import COMMIT, DROPPED, Node

__all__ = ["Calibration", "best_action", "fit", "gradients", "posterior"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The constants of the posterior."""

    kappa: float = 2.0  # visits that the prior is worth, > 0
    slope: float = 0.1  # of Q on log-probability, reward a nat
    noise: float = 0.25  # variance of one value


def posterior(node: Node, calibration: Calibration) -> list[tuple[float, float]]:
    """Return (mean, standard deviation) of each action's worth to whoever moves in `node`, in the order of its actions."""
    logs = [math.log(prior) for prior in node.priors]
    middle = sum(prior * log for prior, log in zip(node.priors, logs, strict=True))
    kappa, sign = calibration.kappa, -1.0 if node.opponent else 1.0
    base, _ = node.mixed_value()
    found = []
    for log, visits, quality, below in zip(logs, node.visits, node.quality, node.child, strict=True):
        seen = 0 if below in (COMMIT, DROPPED) else visits
        prior = sign * base + calibration.slope * (log - middle)
        mean = (seen * sign * quality + kappa * prior) / (seen + kappa)
        found.append((mean, math.sqrt(calibration.noise / (seen + kappa))))
    return found


def gradients(node: Node, calibration: Calibration, pending: Sequence[int]) -> list[float]:
    """Return each action's knowledge gradient: the expected rise of the best posterior mean by one more visit.

        s (z Phi(z) + phi(z)),     z = -|mu_a - best of the other means| / s

    s is by how much a visit is expected to move mu_a: s^2 = noise / (n + kappa) - noise / (n + 1 + kappa).

    Args:
        node: the root.
        calibration: of the posterior.
        pending: visits under way, by action; they count as made.
    """
    means = [mean for mean, _ in posterior(node, calibration)]
    first, *rest = sorted(means, reverse=True)
    second = rest[0] if rest else first
    found = []
    for mean, visits, more in zip(means, node.visits, pending, strict=True):
        count = visits + more + calibration.kappa
        s = math.sqrt(max(calibration.noise / count - calibration.noise / (count + 1), 1e-300))
        z = -abs(mean - (second if mean == first else first)) / s
        found.append(s * (z * (1 + math.erf(z / math.sqrt(2))) / 2 + math.exp(-z * z / 2) / math.sqrt(2 * math.pi)))
    return found


def best_action(
    node: Node,
    calibration: Calibration,
    worth: Sequence[float | None],
    least: Mapping[int, float] = MappingProxyType({}),
) -> tuple[int, float]:
    """Return the action with the highest mean, and that mean; proven worths count as they are.

    An action that can only be tried for real is taken only if no other could still turn out to be better: if its mean is
    above the mean and one standard deviation of every other.

    Args:
        node: the root.
        calibration: of the posterior.
        worth: what each action is proven to be worth, None where nothing is.
        least: what actions are known to be worth at least, by a whole way that was found.
    """
    sign = -1.0 if node.opponent else 1.0
    means = [
        (sign * proof, 0.0) if proof is not None else (max(pair[0], least.get(a, pair[0])), pair[1])
        for a, (proof, pair) in enumerate(zip(worth, posterior(node, calibration), strict=True))
    ]
    free = [a for a, below in enumerate(node.child) if below not in (COMMIT, DROPPED)]
    committed = node.child.index(COMMIT) if COMMIT in node.child else None
    if not free:
        return committed or 0, means[committed or 0][0]
    best = max(free, key=lambda a: (means[a][0], -a))
    if committed is not None and means[committed][0] > max(means[a][0] + means[a][1] for a in free):
        return committed, means[committed][0]
    return best, means[best][0]


def fit(nodes: Iterable[Node], *, least_visits: int = 16, noise: float | None = None) -> Calibration:
    """Return the constants that nodes searched long enough show.

    Args:
        nodes: of logged trees; only actions with `least_visits` count, for only their Q is near what it converges to.
        least_visits: at least 2.
        noise: variance of one value, where it is known; None: that of a goal that is reached or not, at its greatest.

    Raises:
        ValueError: there are not two actions with that many visits in any node.
    """
    pairs: list[tuple[float, float]] = []
    for node in nodes:
        seen = [a for a, visits in enumerate(node.visits) if visits >= least_visits]
        if len(seen) < 2:
            continue
        logs = [math.log(node.priors[a]) for a in seen]
        values = [node.quality[a] for a in seen]
        mean_log, mean_value = sum(logs) / len(seen), sum(values) / len(seen)
        pairs += [(log - mean_log, value - mean_value) for log, value in zip(logs, values, strict=True)]
    if not pairs:
        raise ValueError(f"no node has two actions with {least_visits} visits; search longer, or give more trees")
    spread = sum(x * x for x, _ in pairs)
    slope = max(0.0, sum(x * y for x, y in pairs) / spread) if spread > 0 else 0.0
    residual = sum((y - slope * x) ** 2 for x, y in pairs) / len(pairs)
    assumed = Calibration().noise if noise is None else noise
    return Calibration(kappa=min(64.0, max(0.25, assumed / max(residual, 1e-9))), slope=slope, noise=assumed)
