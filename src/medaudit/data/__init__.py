"""Datasets: adapters, manifest, splits and integrity."""
