"""Uncertainty of any statistic: clustered resamples, intervals, paired differences, families."""
