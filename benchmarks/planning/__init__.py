"""Tasks whose answers are known exactly, for measuring planners: each a search problem with a prior of chosen strength."""
