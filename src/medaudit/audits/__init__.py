"""Audits: functions from prediction tables and parameters to `Findings`."""
