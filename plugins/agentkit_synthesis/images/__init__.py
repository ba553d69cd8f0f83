"""Labelled images: a world that is drawn, real images by folder, diffusion models of them, and what is exported.

`renderer` needs numpy alone. Everything that trains or samples needs the extra `synth` and is imported late.
"""
