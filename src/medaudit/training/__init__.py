"""Training: augmentation, objectives, the loop, checkpoints, curves."""

# Part of the key of every training run: raise it when an edit changes what training ends with.
# `python tools/versions.py` tells which source it stands for.
VERSION = 1
