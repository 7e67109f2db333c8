"""Training: parameters, objective, loop and curves."""
