"""Pictures as input: captions, questions, and finding things that look alike.

Importing this package loads nothing heavy.
"""
