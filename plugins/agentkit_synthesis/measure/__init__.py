"""What a synthetic data set is worth to a student: trained on it, or with it, and tested on real data.

`measuring.MEASURE` is the job: images and explanation traces. What shows without training is in `agentkit_synthesis.quality`.
"""
