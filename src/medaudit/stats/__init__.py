"""Uncertainty of any statistic: the bootstrap over groups, intervals, paired differences, tests."""
