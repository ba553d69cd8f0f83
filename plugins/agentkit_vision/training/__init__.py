"""Training the embedded model: towers by contrast, then the resampler in front of a frozen language model. Needs torch."""
