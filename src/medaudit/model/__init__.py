"""Models: networks, weights, exported files, inference, predictors, predictions that are kept."""

# Part of the key of every prediction: raise it when an edit of the forward pass changes logits or
# features. `python tools/versions.py` tells which source it stands for.
VERSION = 1
