"""Networks of the embedded default, in PyTorch: encoder towers, the Perceiver resampler, contrastive losses.

Import a module by its name; this one imports nothing, so that a plugin can be listed without torch.
"""
