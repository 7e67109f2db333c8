"""Prediction tables, and tasks, operating points, calibrators and scores over them."""
