"""For tests of agents and of extensions: a scripted engine, and one contract suite a protocol.

A third party's engine is held to the contract by a class of its own, which pytest collects:

    class TestMyEngine(EngineContract):
        def make(self) -> Engine:
            return MyEngine(...)

Suites hold what the protocol promises and nothing of a particular implementation. pytest is needed to
run them, not to import this module.
"""

from __future__ import annotations

from agentkit.engine.script import Branches, Entry, Failure, Slowly
from agentkit.engine.scripted import ScriptedEngine
from agentkit.testing.engines import ADD, EngineContract
from agentkit.testing.guards import GuardContract
from agentkit.testing.planners import PlannerContract, Walk
from agentkit.testing.server import ChatServer, Raw
from agentkit.testing.stores import StoreContract

__all__ = [
    "ADD",
    "Branches",
    "ChatServer",
    "EngineContract",
    "Entry",
    "Failure",
    "GuardContract",
    "PlannerContract",
    "Raw",
    "ScriptedEngine",
    "Slowly",
    "StoreContract",
    "Walk",
]
