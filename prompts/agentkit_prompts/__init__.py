"""agentkit's own prompts: Markdown files with a TOML head, read by `agentkit.prompts.load`."""
