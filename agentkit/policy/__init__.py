"""Who decides about a tool call: policy, a person, or nobody.

`Policy.decide` is a pure function of the settings, the call and the words that are trusted. Detecting
malicious text is not attempted: once untrusted text is in the context, a destination must be one the
user or an allow list named in full, whatever the text says.
"""

from __future__ import annotations

from agentkit.literals import is_grounded, literals
from agentkit.policy.decide import Allow, Ask, Decision, Deny, Policy
from agentkit.policy.rules import check_rules

__all__ = ["Allow", "Ask", "Decision", "Deny", "Policy", "check_rules", "is_grounded", "literals"]
