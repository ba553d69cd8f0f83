"""Explanation traces: problems by program, solved step by step in many styles, every step executed by a verifier.

The idea of Orca (Mukherjee et al. 2023, arXiv 2306.02707): system message x task x explanation x answer. Here the teacher is a
program that cannot be wrong, or a language model whose answers and stated calculations are checked against it.
"""
