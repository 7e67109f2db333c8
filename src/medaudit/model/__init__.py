"""Backbones, training, inference and saliency; the only room that imports torch."""
