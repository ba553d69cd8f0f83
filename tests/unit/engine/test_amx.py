"""AMX: a build that crashes with it is found out once, and loaded without."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit.engine.llama import amx, model
from agentkit.engine.llama.library import C, system_info


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[int], list[Path]]]:
    """A build that has AMX, and children that end as told; the list holds what was started."""
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path))
    monkeypatch.setattr(amx, "system_info", lambda: "CPU : AVX512 = 1 | AMX_INT8 = 1 | REPACK = 1")
    amx.works.cache_clear()
    started: list[Path] = []

    def ending(status: int) -> list[Path]:
        def tried(path: Path) -> int | None:
            started.append(path)
            return status if status <= 0 else None

        monkeypatch.setattr(amx, "_tried", tried)
        return started

    yield ending
    amx.works.cache_clear()


def test_a_build_without_amx_is_not_tried(monkeypatch: pytest.MonkeyPatch, children: Any) -> None:
    started = children(-11)
    monkeypatch.setattr(amx, "system_info", lambda: "CPU : AVX2 = 1")
    assert amx.works(Path("m.gguf"))
    assert not started


@pytest.mark.parametrize(("status", "works"), [(0, True), (-11, False), (-4, False)])
def test_the_verdict_is_remembered_by_later_processes(children: Any, status: int, works: bool) -> None:
    started = children(status)
    assert amx.works(Path("m.gguf")) is works
    amx.works.cache_clear()  # as another process finds it
    assert amx.works(Path("another.gguf")) is works
    assert len(started) == 1


def test_a_file_that_cannot_be_loaded_says_nothing_of_amx(children: Any) -> None:
    started = children(1)
    assert not amx.works(Path("broken.gguf"))
    assert not amx.works(Path("other.gguf"))
    assert len(started) == 2


def test_a_crash_is_said_with_the_mend(children: Any, caplog: pytest.LogCaptureFixture) -> None:
    children(-11)
    with caplog.at_level(logging.WARNING, "agentkit.llama"):
        amx.works(Path("m.gguf"))
    assert "signal 11" in caplog.text
    assert "-mno-amx-tile" in caplog.text


@pytest.mark.parametrize("works", [True, False])
def test_weights_are_laid_out_accordingly(monkeypatch: pytest.MonkeyPatch, tiny: Path, works: bool) -> None:
    seen: list[bool] = []
    load = C.llama_model_load_from_file

    def loading(path: bytes, params: Any) -> Any:
        seen.append(bool(params.use_extra_bufts))
        return load(path, params)

    monkeypatch.setattr(model.C, "llama_model_load_from_file", loading)
    monkeypatch.setattr(amx, "works", lambda path: works)
    with model.Model(tiny, gpu_layers="none"):
        pass
    assert seen == [works]


def test_this_very_build_can_be_tried(tiny: Path) -> None:
    status = amx._tried(tiny)
    assert status is not None
    if "AMX_INT8 = 1" not in system_info():
        assert status == 0
