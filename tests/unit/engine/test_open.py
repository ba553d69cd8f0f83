"""`open_engine`: the name in the settings decides what is opened, and nothing heavy loads before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agentkit.config import EngineSettings
from agentkit.engine import open_engine
from agentkit.engine.llama import LlamaEngine
from agentkit.engine.remote import RemoteEngine
from agentkit.engine.scripted import ScriptedEngine
from agentkit.errors import ModelError


def test_a_path_opens_llama(tiny: Path) -> None:
    with open_engine(EngineSettings(model=str(tiny), context=512, threads=1)) as one:
        assert isinstance(one, LlamaEngine)
        assert one.capabilities.context == 512


def test_a_url_opens_a_server() -> None:
    engine = open_engine(EngineSettings(model="http://localhost:1/v1", remote_model="some-model"))
    assert isinstance(engine, RemoteEngine)
    engine.close()


def test_a_script_opens_a_scripted_engine(tmp_path: Path) -> None:
    script = tmp_path / "steps.json"
    script.write_text('[{"final": "done"}]', encoding="utf-8")
    assert isinstance(open_engine(EngineSettings(model=f"scripted:{script}")), ScriptedEngine)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ModelError):
        open_engine(EngineSettings(model="no-such-model"))


def test_importing_loads_nothing_heavy() -> None:
    heavy = {"llama_cpp", "llguidance", "numpy", "httpx", "langchain_core"}
    code = f"import sys, agentkit.engine, agentkit.engine.dialects.plain; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"


def test_a_server_is_told_the_context_that_was_set() -> None:
    engine = open_engine(EngineSettings(model="http://localhost:1/v1", remote_model="some-model", context=1234))
    assert engine.capabilities.context == 1234
    engine.close()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_keeps_its_name_and_shares_the_model(tiny: Path, tmp_path: Path) -> None:
    link = tmp_path / "model-00001-of-00001.gguf"  # as a cache of downloads has it
    link.symlink_to(tiny)
    with LlamaEngine(link, context=512, threads=1) as one, LlamaEngine(tiny, context=512, threads=1) as other:
        assert one._shared is other._shared
        assert one._shared is not None
        assert one._shared.model.path == link
