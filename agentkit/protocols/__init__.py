"""The seams: what an engine, a planner, a guard and a store must be able to do.

Whoever implements one of these imports this module and nothing else of the core. Each protocol has a
contract suite in `agentkit.testing` that any implementation can run against itself.
Messages are LangChain's; what agentkit adds to one stands in `message.additional_kwargs["agentkit"]`,
a `MessageMeta`.
"""

from __future__ import annotations

from agentkit.protocols.engine import (
    ArgumentsDelta,
    CancelFlag,
    Capabilities,
    Delta,
    Engine,
    Eye,
    Ground,
    MessageMeta,
    Reply,
    Request,
    Sampling,
    Score,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
)
from agentkit.protocols.guard import AskUser, Go, Guard, HistoryItem, Nudge, Replan, Spent, Stop, Verdict
from agentkit.protocols.planner import (
    Action,
    Ending,
    Evaluator,
    Mode,
    Plan,
    PlanBudget,
    Planner,
    S,
    SearchProblem,
    Traits,
    Transition,
    TreeMemory,
)
from agentkit.protocols.store import EffectRow, Store
from agentkit.protocols.tool import Emit, Tool, ToolContext

__all__ = [
    "Action",
    "ArgumentsDelta",
    "AskUser",
    "CancelFlag",
    "Capabilities",
    "Delta",
    "EffectRow",
    "Emit",
    "Ending",
    "Engine",
    "Evaluator",
    "Eye",
    "Go",
    "Ground",
    "Guard",
    "HistoryItem",
    "MessageMeta",
    "Mode",
    "Nudge",
    "Plan",
    "PlanBudget",
    "Planner",
    "Replan",
    "Reply",
    "Request",
    "S",
    "Sampling",
    "Score",
    "SearchProblem",
    "Spent",
    "Stop",
    "Store",
    "TextDelta",
    "ThinkingDelta",
    "TokenLogprob",
    "Tool",
    "ToolContext",
    "Traits",
    "Transition",
    "TreeMemory",
    "Verdict",
]
