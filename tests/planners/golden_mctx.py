"""Records what mctx does on bandits, for test_bandits.py to compare with; run by hand where mctx and jax are installed.

python tests/planners/golden_mctx.py > tests/planners/mctx_golden.json
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import mctx
import numpy as np
from mctx._src.seq_halving import get_sequence_of_considered_visits

SCHEDULES = [(8, 24), (8, 2), (8, 13), (7, 24), (8, 47), (0, 5), (1, 5), (2, 9), (16, 64), (5, 31)]


def recorded(case: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return a case with the draws that mctx makes from `seed`, and what it then visits and chooses."""
    rewards, count = jnp.array(case["rewards"], jnp.float32), len(case["rewards"])
    root = mctx.RootFnOutput(
        prior_logits=jnp.array([case["logits"]], jnp.float32),
        value=jnp.array([case["value"]], jnp.float32),
        embedding=jnp.zeros([1], jnp.float32),
    )

    def step(params: Any, rng: Any, action: Any, embedding: Any) -> Any:
        reward = jnp.where(embedding == 0, rewards[action], 0.0)
        output = mctx.RecurrentFnOutput(
            reward=reward, discount=jnp.zeros_like(reward), prior_logits=jnp.zeros([1, count]), value=jnp.zeros([1])
        )
        return output, embedding + 1

    def transform(tree: Any, node: Any) -> Any:
        return mctx.qtransform_completed_by_mix_value(
            tree, node, value_scale=case["scale"], maxvisit_init=case["init"], rescale_values=True
        )

    key = jax.random.PRNGKey(seed)
    found = mctx.gumbel_muzero_policy(
        params=(), rng_key=key, root=root, recurrent_fn=step, num_simulations=case["simulations"],
        invalid_actions=None if case["invalid"] is None else jnp.array([case["invalid"]]),
        max_num_considered_actions=case["considered"], qtransform=transform, gumbel_scale=1.0,
    )  # fmt: skip
    draws = jax.random.gumbel(jax.random.split(key)[1], shape=(1, count), dtype=jnp.float32)
    visits = found.search_tree.summary().visit_counts[0]
    return {
        **case,
        "gumbel": [float(draw) for draw in draws[0]],
        "visits": [int(visit) for visit in visits],
        "action": int(found.action[0]),
        "weights": [float(weight) for weight in found.action_weights[0]],
    }


def main() -> None:
    """Print the record."""
    first: dict[str, Any] = {
        "rewards": [20.0, 3.0, -1.0, 10.0],
        "logits": [0.0, -1.0, 2.0, 3.0],
        "value": -5.0,
        "simulations": 17,
        "scale": 0.05,
        "init": 60,
        "considered": 16,
        "invalid": None,
    }
    cases = [(first, 0), ({**first, "invalid": [1, 0, 0, 1]}, 0), ({**first, "simulations": 1}, 0)]
    rng = np.random.default_rng(0)
    for _ in range(24):
        count = int(rng.integers(2, 9))
        cases.append(
            (
                {
                    "rewards": [float(np.float32(x)) for x in rng.normal(0, 3, count)],
                    "logits": [float(np.float32(x)) for x in rng.normal(0, 1.5, count)],
                    "value": float(np.float32(rng.normal())),
                    "simulations": int(rng.integers(1, 40)),
                    "scale": float(rng.choice([0.05, 0.1, 1.0])),
                    "init": float(rng.choice([10, 50])),
                    "considered": int(rng.choice([2, 4, 16])),
                    "invalid": None,
                },
                int(rng.integers(1000)),
            )
        )
    schedules = [
        {"actions": a, "simulations": n, "visits": [int(v) for v in get_sequence_of_considered_visits(a, n)]}
        for a, n in SCHEDULES
    ]
    found = {
        "source": f"mctx {version('mctx')}",
        "schedules": schedules,
        "policies": [recorded(*case) for case in cases],
    }
    json.dump(found, sys.stdout, indent=0)


if __name__ == "__main__":
    main()
