"""Prediction tables and what is read off them: measures, thresholds, calibrators, confidence.

What differs between tasks (classes, labels) stands in `tables.tasks` and nowhere else.
"""
