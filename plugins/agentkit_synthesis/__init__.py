"""Tool-use conversations for the embedded model: endless, reproducible, executed against small worlds.

`stream.conversations` feeds training, `evaluation.evaluation_set` the evaluation, `stream.corpus_text`
the tokenizer. Nothing here needs more than the standard library and agentkit; importing the package
itself loads nothing.
"""

from agentkit.extensions import Plugin

plugin = Plugin(
    name="synthesis",
    description="tool-use conversations that scripts/build_sprout.py trains the embedded model on; no tools yet",
)
