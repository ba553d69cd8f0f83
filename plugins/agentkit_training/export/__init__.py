"""From Hugging Face folders to files that llama.cpp runs.

`folder` reads a model's configuration and tensors, `architectures` says which tensors it must have and what llama.cpp calls
them, `rope` and `vocabulary` carry over positions and tokens, `checking` holds the tokens against llama.cpp, `writing` makes the
file; `adapters` reads a LoRA that PEFT trained, `lora` writes it as GGUF, `merging` merges it. `jobs` has the actions.
Importing the package loads none of them.
"""
