"""Attribute-conditional diffusion of small images: the network, its training, guidance and sampling. Needs torch and diffusers."""
