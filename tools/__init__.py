"""Helpers of the repository itself; the library does not import them."""
