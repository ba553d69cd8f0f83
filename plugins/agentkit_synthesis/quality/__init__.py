"""What a data set is worth, as far as that shows without training: duplicates, leaks, diversity, balance, verified share.

`reporting.REPORT` is the job; texts and images have the same report. What training shows is in `agentkit_synthesis.measure`.
"""
