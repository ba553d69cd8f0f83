"""Scaling laws: what loss a model of N parameters reaches on D tokens, and what a compute budget is best spent on.

`fit` needs scipy and the plots need matplotlib, both of the extra `train`; published laws need neither.
"""

from agentkit_training.scaling.chinchilla import Chinchilla
from agentkit_training.scaling.data_constrained import DataConstrained
from agentkit_training.scaling.fitting import Fit, fit
from agentkit_training.scaling.kaplan import Kaplan
from agentkit_training.scaling.law import Law
from agentkit_training.scaling.published import PUBLISHED, published
from agentkit_training.scaling.runs import Run, read_runs
from agentkit_training.scaling.saving import load_fit, save_fit
from agentkit_training.scaling.using import Allocation, Prediction, allocate, predict

__all__ = [
    "PUBLISHED",
    "Allocation",
    "Chinchilla",
    "DataConstrained",
    "Fit",
    "Kaplan",
    "Law",
    "Prediction",
    "Run",
    "allocate",
    "fit",
    "load_fit",
    "predict",
    "published",
    "read_runs",
    "save_fit",
]
