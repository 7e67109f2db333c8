"""The report: what the audits found, as figures, one HTML page and a short PDF."""
