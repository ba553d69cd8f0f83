"""`python -m agentkit`."""

from agentkit.cli import main

main()
