"""Every figure that the project states, with the command that made it: `python -m benchmarks`."""
