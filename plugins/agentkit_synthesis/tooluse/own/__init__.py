"""Traces for the user's own tools: loaded from where they are, called with values drawn from their schemas, really run."""
