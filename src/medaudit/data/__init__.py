"""Data sets: an adapter each, manifest, splits, integrity; predictions that were made elsewhere."""
