"""Data made to order, with labels that are right, and a measurement of whether it helped.

- `traces`, `tooluse`: conversations by program, every step and every call executed; `dataset` puts them into files.
- `images`: labelled images by diffusion, their labels judged.
- `quality`, `measure`: what a data set is worth, and whether a student of it is better.
- `stream`, `evaluation`: what the embedded model is trained on, and tested by; they need the standard library alone.

Importing this package loads nothing heavy.
"""

from importlib.util import find_spec

from agentkit.extensions import OWN, Plugin, installed
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
    """Return the names of the tools that agentkit's other plugins give; no stranger's code is run to ask for more."""
    found = {
        name: one for name, one in installed("agentkit.plugins").items() if one.dist == OWN and name != plugin.name
    }
    return [tool.name for extension in found.values() for tool in extension.load().tools()]


plugin = Plugin(
    name="synthesis",
    tools=_tools,
    settings=SynthesisSettings,
    needs=NEEDS,
    extra="synth",
    description="labelled images, tool-use traces and explanations made to order, as jobs; and what they are worth",
)
