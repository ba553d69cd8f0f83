"""A plugin that ends the process when it is imported, as one with a missing licence file might."""

raise SystemExit("no licence file")
