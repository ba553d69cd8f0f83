"""Planners: each chooses the next step of a run, through the protocol in `agentkit.protocols`."""
