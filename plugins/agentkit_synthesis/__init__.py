"""Data made to order, with labels that are right, and a measurement of whether it helped.

- `traces`, `tooluse`: conversations by program, every step and every call executed; `dataset` puts them into files.
- `images`: labelled images by diffusion, their labels judged.
- `quality`, `measure`: what a data set is worth, and whether a student of it is better.
- `stream`, `evaluation`: what the embedded model is trained on, and tested by; they need the standard library alone.

Importing this package loads nothing heavy.
"""

from contextlib import suppress
from importlib.util import find_spec

from agentkit.errors import ExtensionError
from agentkit.extensions import IMPORT_S, Plugin, in_time, installed
from agentkit.protocols import Tool
from agentkit_synthesis.settings import SynthesisSettings

NEEDS = ("torch", "diffusers", "transformers", "sklearn", "scipy", "datasketch", "PIL", "pyarrow", "matplotlib")


def _tools() -> tuple[Tool, ...]:
    """Return the plugin's tools; none where the extra is not installed, which `agentkit plugins` says."""
    if any(find_spec(name) is None for name in NEEDS):
        return ()
    from agentkit_synthesis.tools import tools_beside  # noqa: PLC0415  pydantic: 0.2 s

    return tools_beside(_others())


def _others() -> list[str]:
    """Return the names of the tools that other plugins give; one that fails is its own loading's to report."""
    names: list[str] = []
    for name, extension in installed("agentkit.plugins").items():
        if name == plugin.name:
            continue
        with suppress(ExtensionError):
            given = in_time(extension.load().tools, IMPORT_S, name)
            names += [tool.name for tool in given if isinstance(tool, Tool)]
    return names


plugin = Plugin(
    name="synthesis",
    tools=_tools,
    settings=SynthesisSettings,
    needs=NEEDS,
    extra="synth",
    description="labelled images, tool-use traces and explanations made to order, as jobs; and what they are worth",
)
