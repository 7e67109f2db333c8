"""What several tests of audits share."""

from medaudit.stats.bootstrap import IntervalParams

FEW = IntervalParams(replicates=200)


def at(frame, **where):
    """The one row of a table that these columns choose."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]
