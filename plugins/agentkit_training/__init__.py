"""Train small language models, write them as GGUF and quantise them.

Importing this package loads nothing heavy: torch, tokenizers, gguf and llama_cpp are imported by
the modules that use them, each reached late. `agentkit_training.scaling` fits scaling laws and needs none of them.
"""

from agentkit.extensions import Plugin

plugin = Plugin(
    name="training",
    needs=("torch", "tokenizers", "gguf", "safetensors"),
    extra="train",
    description="what scripts/build_sprout.py trains the embedded model with; no tools yet",
)
