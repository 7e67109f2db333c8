"""Datasets: adapters, manifest, splits, integrity, and the procedural phantom."""
