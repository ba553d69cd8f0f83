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


def results_of_images(cells: Sequence[Cell], results: Sequence[Result], generator_labels: int) -> dict[str, Any]:
    """Return the figures of each student of images.

    Args:
        cells, results: the students and what they came to, in the same order.
        generator_labels: real labels that the generator saw; with synthetic images at least so many labels are used.

    Returns:
        For each student `rows` (arm, labels, accuracy with interval), `differences` to real labels alone at the same number of
        labels, paired by seed, and `saved`.
    """
    return {student: _of_student([(cell, result) for cell, result in zip(cells, results, strict=True) if cell.student == student], generator_labels) for student in dict.fromkeys(cell.student for cell in cells)}  # fmt: skip


def _of_student(found: Sequence[tuple[Cell, Result]], generator_labels: int) -> dict[str, Any]:
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
    saved = []
    for (arm, share), values in scores.items():
        if arm in HELPED:
            used = max(labels[share], generator_labels) if "synthetic" in arm else labels[share]
            told = labels_saved(counts, alone, used, np.array(values))
            saved.append({"arm": arm, "share": share, **told, "mixed_in": labels[share]})
    return {"rows": rows, "differences": differences, "saved": saved}


def results_of_traces(cells: Sequence[Cell], results: Sequence[Result]) -> dict[str, Any]:
    """Return the figures of each family, and of all together: the mean over families, by seed."""
    found = sorted(zip(cells, results, strict=True), key=lambda one: one[0].seed)
    of = results[0]["of"]
    scores = {family: {arm: [result["right"][family] / count for cell, result in found if cell.arm == arm] for arm in (EXPLAINED, PLAIN, LONGER)} for family, count in of.items()}  # fmt: skip
    whole = {arm: [float(np.mean(several)) for several in zip(*(by_arm[arm] for by_arm in scores.values()), strict=True)] for arm in (EXPLAINED, PLAIN, LONGER)}  # fmt: skip
    about = {
        cell.arm: {name: result[name] for name in ("rows", "steps_taken", "tokens", "weights")}
        for cell, result in found
    }
    return {
        "families": [{"family": family, "of": of[family], **_compared(by_arm)} for family, by_arm in scores.items()],
        "all": _compared(whole),
        "students": about,
    }


def _compared(by_arm: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    return {
        "explained": mean(by_arm[EXPLAINED]),
        "answers": mean(by_arm[PLAIN]),
        "answers_as_many_tokens": mean(by_arm[LONGER]),
        "gain": difference(by_arm[EXPLAINED], by_arm[PLAIN]),
        "gain_at_equal_tokens": difference(by_arm[EXPLAINED], by_arm[LONGER]),
    }
