"""Train small language models, write them as GGUF and quantise them.

Importing this package loads nothing heavy: torch, tokenizers, gguf and llama_cpp are imported by
the modules that use them, each reached late.
"""
