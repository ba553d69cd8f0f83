"""Small Llamas trained here, so that a law can be fitted to one's own runs, and doubled, so that it can be checked.

Everything but `texts` needs torch, of the extra `train`; the commands reach it late.
"""
