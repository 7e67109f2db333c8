"""Datasets: adapters, manifest, splits, integrity, and predictions that were made elsewhere."""
