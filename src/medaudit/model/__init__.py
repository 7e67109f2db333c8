"""Networks, weights, exported models and inference: images to logits."""

# Part of the key of every prediction: raise it when an edit of the forward pass changes logits or
# features. `python tools/versions.py` tells which source it stands for.
VERSION = 1
