"""Monte Carlo tree search: selection, backup and halving as pure functions, and one loop that is handed them."""
