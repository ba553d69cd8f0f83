"""Tool-use traces: small worlds with working tools, an oracle that uses them, and checks that it did what was asked.

`rows.make` makes one row, `checking.verify` replays one; `own` does the same for the user's own tools.
"""
