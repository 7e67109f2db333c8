"""What the command line does beside the pipeline: audit, validate, verify, profiles."""
