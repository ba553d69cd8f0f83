"""The state machine that drives a run; with the store, the only importer of LangGraph."""

from agentkit.graph.build import build, recursion_limit
from agentkit.graph.context import RunContext
from agentkit.graph.state import RunState, fresh_run

__all__ = ["RunContext", "RunState", "build", "fresh_run", "recursion_limit"]
