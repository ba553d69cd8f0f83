"""A fit as a JSON document, whole, so that predictions from the file have the intervals of the fit itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentkit.errors import UsageError
from agentkit_training.scaling.doubts import Extrapolation
from agentkit_training.scaling.families import FAMILIES
from agentkit_training.scaling.fitting import LEVEL, Fit
from agentkit_training.scaling.runs import Run

__all__ = ["load_fit", "save_fit", "summary"]

VERSION = 1


def summary(fit: Fit) -> dict[str, Any]:
    """Return all of a fit but the bootstrap samples, as JSON holds it."""
    return {
        "form": fit.law.form,
        "constants": {name: asdict(estimate) for name, estimate in fit.estimates().items()},
        "level": LEVEL,
        "covariance": fit.covariance(),
        "objective": fit.objective,
        "delta": fit.delta,
        "seed": fit.seed,
        "bootstrap": len(fit.samples),
        "runs": [{**asdict(run), "residual": residual} for run, residual in zip(fit.runs, fit.residuals, strict=True)],
        "dropped": [asdict(run) for run in fit.dropped],
        "extrapolation": asdict(fit.extrapolation) if fit.extrapolation else None,
        "warnings": list(fit.warnings),
    }


def save_fit(fit: Fit, path: Path) -> None:
    """Write a fit to `path`.

    Raises:
        UsageError: it cannot be written.
    """
    text = json.dumps({"agentkit_scaling_fit": VERSION, **summary(fit), "samples": fit.samples}, indent=1)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); name another file") from error


def load_fit(path: Path) -> Fit:
    """Return what `save_fit` wrote.

    Raises:
        UsageError: the file cannot be read, or is not such a file.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); name a file that `fit --out` wrote") from error
    except ValueError as error:
        raise UsageError(f"{path}: is not JSON ({error}); name a file that `fit --out` wrote") from error
    if not isinstance(found, dict) or found.get("agentkit_scaling_fit") != VERSION:
        raise UsageError(f"{path}: is not a fit of this version; name a file that `fit --out` wrote")
    try:
        return _fit(found)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: is a damaged fit ({error!r}); fit the runs again") from error


def _fit(found: dict[str, Any]) -> Fit:
    rows = [dict(row) for row in found["runs"]]
    residuals = tuple(row.pop("residual") for row in rows)
    ahead = found["extrapolation"]
    return Fit(
        law=FAMILIES[found["form"]].law(**{name: item["value"] for name, item in found["constants"].items()}),
        runs=tuple(Run(**row) for row in rows),
        dropped=tuple(Run(**row) for row in found["dropped"]),
        residuals=residuals,
        objective=found["objective"],
        delta=found["delta"],
        seed=found["seed"],
        samples=tuple(tuple(sample) for sample in found["samples"]),
        extrapolation=Extrapolation(**ahead) if ahead else None,
        warnings=tuple(found["warnings"]),
    )
