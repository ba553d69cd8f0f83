"""The job `double`: parameters doubled at the same tokens, and what a law said would come of it.

In L = E + A / N^alpha + B / D^beta, doubling N at the same D does no more than multiply A / N^alpha by 2^-alpha: E stays, and so
does B / D^beta. So losses fall towards a floor, and perplexity says nothing of how far one is from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams
from agentkit.jobs import Job, JobContext, JobPlan, write_atomic
from agentkit_training.scaling.chinchilla import Chinchilla
from agentkit_training.scaling.fitting import Fit
from agentkit_training.scaling.saving import load_fit
from agentkit_training.scaling.sweep.cells import Cell, cell_for, check_text
from agentkit_training.scaling.sweep.making import (
    MOST_WORKERS,
    Made,
    count,
    made_all,
    number,
    plan_for,
    runs_csv,
    seed_of,
)
from agentkit_training.scaling.sweep.pictures import plot_doubling
from agentkit_training.scaling.sweep.texts import Text, read_text
from agentkit_training.scaling.using import predict

__all__ = ["DOUBLE", "DOUBLINGS", "SMALLEST", "TOKENS", "Doubled", "cells_of", "compared"]

TOKENS, SMALLEST, DOUBLINGS = 1e6, 12_500, 5
MOST_DOUBLINGS = 12


@dataclass(frozen=True)
class Doubled:
    """One size of a doubling; losses in nats a token.

    Attributes:
        params: N.
        loss: measured on the text held out.
        perplexity: e^loss, a token.
        predicted: the loss by the law.
        interval: of the law's prediction, 95 %; None without a bootstrap.
        term: what is left of the measured loss over E + B / D^beta.
        predicted_term: A / N^alpha.
        factor: the measured term by that of the size before; None for the first, and where a term is not positive.
        predicted_factor: the same by the law: 2^-alpha, where N doubled to the parameter.
    """

    params: int
    loss: float
    perplexity: float
    predicted: float
    interval: tuple[float, float] | None
    term: float
    predicted_term: float
    factor: float | None
    predicted_factor: float | None


def plan(params: Mapping[str, Any]) -> JobPlan:
    """Return what a doubling would train and cost; probes this machine for a moment.

    Params: `law` (a file that `fit` or `sweep` wrote), `tokens` (D, 1e6), `smallest` (N, 12,500), `doublings` (5), `text`,
    `workers`, `seed`.

    Raises:
        InvalidParams: a value is off, the law has no irreducible loss, or the text is too short.
        UsageError: the law's file cannot be read.
        MissingDependency: the extra `train` is not installed.
    """
    text, law = read_text(params.get("text")), _law(params)
    return plan_for(
        cells_of(params, text), text, count(params, "workers", 1, MOST_WORKERS), {"law": law.law.constants()}
    )


def run(params: Mapping[str, Any], context: JobContext) -> Mapping[str, Any]:
    """Train every size that is not done, compare with the law, and return the figures."""
    text, found = read_text(params.get("text")), _law(params)
    cells = cells_of(params, text)
    made = made_all(cells, text, count(params, "workers", 1, MOST_WORKERS), context)
    if made is None:
        return {}
    rows = compared(found, made)
    law, tokens = _chinchilla(found), cells[0].tokens
    figures: dict[str, Any] = {
        "tokens": tokens,
        "irreducible": law.E,
        "floor": law.E + law.B * tokens**-law.beta,
        "predicted_factor": 2**-law.alpha,
        "factor": _mean_factor(rows),
        "mean_error": sum(row.predicted / row.loss - 1 for row in rows) / len(rows),
        "largest_error": max(abs(row.predicted / row.loss - 1) for row in rows),
        "rows": [asdict(row) for row in rows],
    }
    write_atomic(context.artifact_dir / "runs.csv", runs_csv(made))
    write_atomic(
        context.artifact_dir / "doubling.json", json.dumps({"law": law.constants(), **figures}, indent=1) + "\n"
    )
    plot_doubling(rows, law, tokens, context.artifact_dir / "doubling.png")
    if figures["factor"] is None:
        context.warn("a measured loss is below the law's E + B / D^beta: the law's floor is too high for these runs")
    for warning in {text for one in made for text in predict(found, one.cell.params, one.cell.tokens).warnings}:
        context.warn(warning)
    return figures


def compared(found: Fit, made: Sequence[Made]) -> list[Doubled]:
    """Return the sizes, the smallest first, beside what a law predicts for the same N and D."""
    law, rows = _chinchilla(found), list[Doubled]()
    for one in sorted(made, key=lambda one: one.cell.params):
        size, tokens = one.cell.params, one.cell.tokens
        said, before = predict(found, size, tokens), rows[-1] if rows else None
        term, predicted_term = one.loss - law.E - law.B * tokens**-law.beta, law.A * size**-law.alpha
        known = before is not None and before.term > 0 and term > 0
        rows.append(
            Doubled(
                params=size, loss=one.loss, perplexity=math.exp(one.loss), predicted=said.loss, interval=said.interval,
                term=term, predicted_term=predicted_term,
                factor=term / before.term if before is not None and known else None,
                predicted_factor=None if before is None else predicted_term / before.predicted_term,
            )
        )  # fmt: skip
    return rows


def _mean_factor(rows: Sequence[Doubled]) -> float | None:
    """Return what a doubling multiplied the measured term by, in the geometric mean."""
    first, last = rows[0], rows[-1]
    if first.term <= 0 or last.term <= 0:
        return None
    return float((last.term / first.term) ** (1 / math.log2(last.params / first.params)))


def cells_of(params: Mapping[str, Any], text: Text) -> list[Cell]:
    """Return the cells, the smallest first."""
    smallest, tokens = number(params, "smallest", SMALLEST), number(params, "tokens", TOKENS)
    doublings, seed = count(params, "doublings", DOUBLINGS, MOST_DOUBLINGS), seed_of(params)
    cells = [cell_for(smallest * 2**n, text, seed=seed, tokens=tokens) for n in range(doublings + 1)]
    check_text(text, cells)
    return cells


def _law(params: Mapping[str, Any]) -> Fit:
    if not isinstance(params.get("law"), str):
        raise InvalidParams("/law: is missing; give a file that `agentkit train scaling sweep` or `fit --out` wrote")
    found = load_fit(Path(params["law"]))
    _chinchilla(found)
    return found


def _chinchilla(found: Fit) -> Chinchilla:
    if not isinstance(found.law, Chinchilla):
        raise InvalidParams(
            f"/law: the {found.law.form} form has no irreducible loss by itself; fit the chinchilla form"
        )
    return found.law


DOUBLE = Job(name="scaling-double", home="agentkit_training.scaling.sweep.doubling:DOUBLE", plan=plan, run=run)
