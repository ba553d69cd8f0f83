"""Pictures with known attributes, in words: examples read, captions, questions and queries written and read, files damaged.

Works for the attributes of any data set; those of the rendered worlds of products have wordings of their own.
"""
