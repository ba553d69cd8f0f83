"""Tool-use conversations for the embedded model: endless, reproducible, executed against small worlds.

`conversations` feeds training, `evaluation_set` the eval command, `corpus_text` the tokenizer.
Nothing here needs more than the standard library and agentkit.
"""

from agentkit_synthesis.conversation import Conversation, render
from agentkit_synthesis.evaluation import EvalCase, evaluation_set
from agentkit_synthesis.stream import conversation_at, conversations, corpus_text

__all__ = [
    "Conversation",
    "EvalCase",
    "conversation_at",
    "conversations",
    "corpus_text",
    "evaluation_set",
    "render",
]
