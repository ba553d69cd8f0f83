"""From students' scores to what a measurement says: means, differences, and labels saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agentkit_synthesis.measure.cells import Cell
from agentkit_synthesis.measure.equal import labels_saved
from agentkit_synthesis.measure.intervals import difference, mean
from agentkit_synthesis.measure.told import EXPLAINED, LONGER, PLAIN

__all__ = ["Result", "results_of_images", "results_of_traces"]

Result = Mapping[str, Any]
HELPED = ("real + synthetic", "real, augmented", "real + synthetic, augmented")


def results_of_images(cells: Sequence[Cell], results: Sequence[Result]) -> dict[str, Any]:
    """Return the figures of each student of images.

    Returns:
        For each student `rows` (arm, labels, accuracy with interval), `differences` to real labels alone at the same number of
        labels, paired by seed, and `saved`.
    """
    return {student: _of_student([(cell, result) for cell, result in zip(cells, results, strict=True) if cell.student == student]) for student in dict.fromkeys(cell.student for cell in cells)}  # fmt: skip


def _of_student(found: Sequence[tuple[Cell, Result]]) -> dict[str, Any]:
    groups: dict[tuple[str, float], list[tuple[Cell, Result]]] = {}
    for cell, result in found:
        groups.setdefault((cell.arm, cell.share), []).append((cell, result))
    scores = {group: [result["score"] for _, result in sorted(several, key=lambda one: one[0].seed)] for group, several in groups.items()}  # fmt: skip
    labels = {share: several[0][1]["labels"] for (_, share), several in groups.items()}
    rows = [
        {
            "arm": arm,
            "share": share,
            "labels": labels[share],
            "images": groups[arm, share][0][1]["images"],
            **mean(values),
        }
        for (arm, share), values in scores.items()
    ]
    differences = [
        {"arm": arm, "share": share, "labels": labels[share], **difference(values, scores["real", share])}
        for (arm, share), values in scores.items()
        if arm in HELPED
    ]
    curve = sorted(share for arm, share in scores if arm == "real")
    counts = [labels[share] for share in curve]
    alone = np.array([scores["real", share] for share in curve])
    saved = [
        {"arm": arm, "share": share, **labels_saved(counts, alone, labels[share], np.array(values))}
        for (arm, share), values in scores.items()
        if arm in HELPED
    ]
    return {"rows": rows, "differences": differences, "saved": saved}


def results_of_traces(cells: Sequence[Cell], results: Sequence[Result]) -> dict[str, Any]:
    """Return the figures of each family, and of all together: the mean over families, by seed."""
    scores: dict[tuple[str, str], list[float]] = {}
    about: dict[str, Result] = {}
    for cell, result in sorted(zip(cells, results, strict=True), key=lambda one: one[0].seed):
        scores.setdefault((cell.family, cell.arm), []).append(result["score"])
        if cell.arm == EXPLAINED:
            about[cell.family] = result
    told = []
    for family in about:
        by_arm = {arm: scores[family, arm] for arm in (EXPLAINED, PLAIN, LONGER)}
        told.append(
            {
                "family": family,
                **{name: about[family][name] for name in ("rows", "of", "left_out", "weights")},
                **_compared(by_arm),
            }
        )
    seeds = len(next(iter(scores.values())))
    whole = {arm: [float(np.mean([scores[family, arm][n] for family in about])) for n in range(seeds)] for arm in (EXPLAINED, PLAIN, LONGER)}  # fmt: skip
    return {"families": told, "all": _compared(whole)}


def _compared(by_arm: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    return {
        "explained": mean(by_arm[EXPLAINED]),
        "answers": mean(by_arm[PLAIN]),
        "answers_as_many_tokens": mean(by_arm[LONGER]),
        "gain": difference(by_arm[EXPLAINED], by_arm[PLAIN]),
        "gain_at_equal_tokens": difference(by_arm[EXPLAINED], by_arm[LONGER]),
    }
