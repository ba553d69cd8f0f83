"""How long students will take: a step of each kind is timed on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from agentkit_synthesis.measure.cells import Cell
from agentkit_synthesis.measure.params import MeasureParams
from agentkit_synthesis.measure.pictured import Images
from agentkit_synthesis.measure.seeing import taught_cnn
from agentkit_synthesis.measure.speaking import BATCH, Exercise, taught
from agentkit_synthesis.measure.teaching import lesson_of
from agentkit_synthesis.measure.tokens import Tokenizer
from agentkit_synthesis.measure.told import EXPLAINED, LONGER, PLAIN, Traces

__all__ = ["costs_of"]

STEPS = 4  # timed, after one that is not
SVM_S = 1.0
SCORING_S = 20.0  # of a student of traces
PROBED = 100  # traces of a family


def costs_of(params: MeasureParams, source: Images | Traces, cells: Sequence[Cell]) -> float:
    """Return the seconds of all students, one after the other."""
    if isinstance(source, Images):
        nets = [cell for cell in cells if cell.student == "cnn"]
        if not nets:
            return SVM_S * len(cells)
        few = replace(lesson_of(source, nets[0], params.labels_seed), steps=STEPS + 1)
        step = _seconds(lambda: taught_cnn(replace(few, augment=True))) / (STEPS + 1)
        return sum(step * cell.steps if cell.student == "cnn" else SVM_S for cell in cells)
    problems = [one for several in source.train.values() for one in several[:PROBED]]
    words = Tokenizer([text for one in problems for text in (one.question, one.explained)])
    lengths = [[len(words.encode(text)) for text in (one.question, one.explained, one.bare)] for one in problems]
    asked, long, short = (int(np.mean(of)) for of in zip(*lengths, strict=True))
    explained, plain, ratio = _step(asked + long), _step(asked + short), (asked + long) / (asked + short)
    each = {EXPLAINED: explained, PLAIN: plain, LONGER: plain * ratio}
    return sum(SCORING_S + cell.steps * each[cell.arm] for cell in cells)


def _step(length: int) -> float:
    rows = [Exercise([4] * (length // 2), [5] * (length - length // 2))] * BATCH
    return _seconds(lambda: taught(rows, vocabulary=500, steps=STEPS + 1, seed=0)) / (STEPS + 1)


def _seconds(work: Callable[[], object]) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        work()
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    finally:
        torch.set_num_threads(before)
