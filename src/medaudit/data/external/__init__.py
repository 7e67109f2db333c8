"""Predictions that were made elsewhere: read, checked, and joined with their truth by id."""
