"""Models of transformers behind this package's protocols: an id of the Hugging Face Hub, or a folder.

`speaking` says something about pictures, `encoding` puts pictures and texts into one space. Importing this package
loads nothing heavy; its modules load torch and transformers.
"""
