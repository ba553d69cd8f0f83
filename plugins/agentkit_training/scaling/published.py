"""Laws with the constants that papers report. They hold for the papers' own models and data."""

from __future__ import annotations

import math

from agentkit.errors import UsageError
from agentkit_training.scaling.chinchilla import Chinchilla
from agentkit_training.scaling.data_constrained import DataConstrained
from agentkit_training.scaling.kaplan import Kaplan
from agentkit_training.scaling.law import Law

__all__ = ["PUBLISHED", "published"]

PUBLISHED: dict[str, Law] = {
    # Besiroglu et al. 2024, "Chinchilla scaling: a replication attempt" (Epoch), the corrected fit.
    "epoch": Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658),
    # Hoffmann et al. 2022, as printed. The rounding matters: at their own budget it asks for 93 tokens a parameter.
    "hoffmann": Chinchilla(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
    # Kaplan et al. 2020, table 2, the fit of equation 1.5.
    "kaplan": Kaplan(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103),
    # Muennighoff et al. 2023, from the authors' code; they tie alpha and beta.
    "muennighoff": DataConstrained(
        E=math.exp(0.6254804),
        A=math.exp(6.255414),
        B=math.exp(7.3049974),
        alpha=0.3526596,
        beta=0.3526596,
        R_D=15.387756,
        R_N=5.309743,
    ),
}


def published(name: str) -> Law:
    """Return a published law by name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in PUBLISHED:
        raise UsageError(
            f"no published law '{name}'; there are: {', '.join(PUBLISHED)}; a fit is a file such as fit.json"
        )
    return PUBLISHED[name]
