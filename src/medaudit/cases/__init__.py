"""Failure cases: chosen from tables, tested by interventions, drawn, counted by mode."""
