"""Metrics as pure array mathematics: one weighted, vectorised implementation of each.

A function `weighted_x(..., weights)` takes non-negative weights of shape (replicates, n), usually
the counts of a bootstrap, and returns one value a replicate. The plain `x(...)` is the same code
with every weight 1. An undefined value is NaN, never 0.
"""
