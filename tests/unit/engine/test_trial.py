"""A model not seen before is loaded in a child first: what ends the child is an error, and the parent lives."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit.config import EngineSettings
from agentkit.engine import open_engine, trial
from agentkit.errors import ModelError, ModelFileError

SETTINGS = EngineSettings()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTKIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "cache" / "models"


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put other code in the place of the child's."""

    def put(code: str) -> None:
        (tmp_path / "a_child.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(trial, "MODULE", "a_child")

    return put


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF and so on")
    return path


def test_a_good_model_is_tried_once(tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.try_model(tiny, SETTINGS)
    (verdict,) = cache.glob("*.json")
    assert json.loads(verdict.read_text())["path"] == str(tiny)
    monkeypatch.setattr(trial, "_child", lambda *_: pytest.fail("it was tried before"))
    trial.try_model(tiny, SETTINGS)


def test_another_file_or_another_way_is_tried_again(file: Path) -> None:
    first = trial.fingerprint(file, SETTINGS)
    assert trial.fingerprint(file, SETTINGS) == first
    assert trial.fingerprint(file, replace(SETTINGS, context=77)) != first
    file.write_bytes(b"GGUF and so off")
    assert trial.fingerprint(file, SETTINGS) != first


def test_an_abort_is_an_error_with_the_signal_and_the_last_words(child, file: Path, cache: Path) -> None:
    child(
        "import os, sys\nsys.stderr.write('llama_load: x\\nggml.c:1: GGML_ASSERT(n > 0) failed\\n')\nsys.stderr.flush()\nos.abort()"
    )
    with pytest.raises(ModelFileError, match=r"signal 6, SIGABRT.*GGML_ASSERT\(n > 0\) failed"):
        trial.try_model(file, SETTINGS)
    assert not list(cache.glob("*")), "it is tried again next time"


def test_an_abort_of_ggml_itself_is_an_error(child, file: Path) -> None:
    child("import llama_cpp, ctypes, glob, os\n"
          "here = os.path.dirname(llama_cpp.__file__)\n"
          "lib = ctypes.CDLL(glob.glob(here + '/lib/libggml-base*')[0])\n"
          "lib.ggml_abort(b'model.cpp', 7, b'GGML_ASSERT(%s) failed', b'n_embd')\n")  # fmt: skip
    with pytest.raises(ModelFileError, match=r"SIGABRT.*model\.cpp:7: GGML_ASSERT\(n_embd\) failed"):
        trial.try_model(file, SETTINGS)


def test_a_kill_for_want_of_memory_is_said_to_be_one(child, file: Path) -> None:
    child("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ModelError, match=r"signal 9.*memory.*smaller"):
        trial.try_model(file, SETTINGS)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux limits the address space")
def test_too_little_memory_is_an_error(child, file: Path) -> None:
    child("import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\n"
          "import agentkit.engine.llama.trial as t\nt._load = lambda *_: bytearray(1 << 30)\n"
          "raise SystemExit(t.main(['model.gguf', '{}']))")  # fmt: skip
    with pytest.raises(ModelError, match="not enough memory to load it"):
        trial.try_model(file, SETTINGS)


def test_a_child_that_hangs_is_ended(child, file: Path, tmp_path: Path) -> None:
    child(f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")
    began = time.monotonic()
    with pytest.raises(ModelError, match="not loaded within 2 s"):
        trial.try_model(file, SETTINGS, timeout_s=2)
    assert time.monotonic() - began < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGCONT)


def test_what_the_child_refuses_is_refused_in_its_words(tiny: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight"))
    with pytest.raises(ModelFileError, match=r"broken\.gguf: llama\.cpp cannot load it"):
        trial.try_model(broken, SETTINGS)


def test_sprout_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []
    monkeypatch.setattr(trial, "try_model", lambda path, settings: tried.append(path))
    open_engine(SETTINGS).close()
    assert tried == []


def test_it_can_be_switched_off(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []
    monkeypatch.setattr(trial, "try_model", lambda path, settings: tried.append(path))
    for on in (False, True):
        open_engine(replace(SETTINGS, model=str(tiny), trial=on)).close()
        assert tried == [tiny] * on


def test_a_cache_that_cannot_be_written_is_no_matter(child, file: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "cache").write_text("in the way")
    child(f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\nprint('{{\"ok\": true}}')")
    for _ in range(2):
        trial.try_model(file, SETTINGS)
    assert (tmp_path / "runs").read_text() == "xx", "nothing was remembered, so it is tried each time"
