"""Train small language models, write them as GGUF and quantise them.

Importing this package loads nothing heavy: torch, tokenizers, gguf and llama_cpp are imported by
the modules that use them, each reached late. `agentkit_training.scaling` fits scaling laws and needs none of them.
"""

from importlib.util import find_spec

from agentkit.extensions import Plugin
from agentkit.protocols import Tool

NEEDS = ("torch", "tokenizers", "gguf", "safetensors", "transformers", "trl", "peft", "datasets")


def _tools() -> tuple[Tool, ...]:
    """Return the plugin's tools; none where the extra is not installed, which `agentkit plugins` says."""
    if any(find_spec(name) is None for name in NEEDS):
        return ()
    from agentkit_training.tools import TOOLS  # noqa: PLC0415  pydantic: 0.2 s

    return TOOLS


plugin = Plugin(
    name="training",
    tools=_tools,
    needs=NEEDS,
    extra="train",
    description="fine-tuning, evaluation, export and quantisation of models, as jobs",
)
