"""The engine's numbers: those of transformers on the same weights, and the same with shared prefixes as alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit.engine.llama import Model
from benchmarks import sharing

REFERENCE, SHARED = 1e-3, 1e-2  # nats


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # whatever the version that is installed warns of
def test_log_probabilities_are_those_of_transformers() -> None:
    pytest.importorskip("torch", reason="the train extra is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    from benchmarks import parity

    exact, usual = parity.reference(["stretched positions"])
    assert exact.n == 600
    assert exact.value <= REFERENCE
    assert usual.value > REFERENCE  # the comparison can fail


def test_shared_prefixes_give_what_each_gives_alone(tiny: Path) -> None:
    with Model(tiny) as model:
        found = sharing.differences(model, sharing.SETTINGS["exact"], rounds=30)
        assert found.greatest <= SHARED
        assert found.places > 1000
        assert found.spilled > 10
        assert found.restored >= 1
        usual = sharing.differences(model, sharing.SETTINGS["default"], rounds=5)
        assert usual.greatest > found.greatest  # the comparison can fail
