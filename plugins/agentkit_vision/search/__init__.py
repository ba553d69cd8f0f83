"""Collections of pictures on disk, and finding things in them by words, by a photo, or by both.

Importing this package loads nothing.
"""
