"""The chat: `loop` reads and drives, `screen` shows, `slash` holds the commands, `complete` completes."""
