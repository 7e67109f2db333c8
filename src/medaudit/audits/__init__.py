"""One module per audit: functions from prediction tables and parameters to `Findings`."""
