"""The llama.cpp engine: the only place that imports `llama_cpp`.

Importing this package loads the library, about 0.3 s. `LlamaEngine` is what it is for; `Model` gives
metadata and the exact tokens of a text without a context.
"""

from agentkit.engine.llama.engine import LlamaEngine
from agentkit.engine.llama.model import Model

__all__ = ["LlamaEngine", "Model"]
