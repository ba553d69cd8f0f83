"""Fine-tuning by TRL as jobs: SFT, DPO, reward modelling, GRPO, and what a model is worth before and after.

Importing this package loads nothing heavy.
"""
