"""Summaries of measured numbers. Nothing here touches a file or a process."""

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Median, least and greatest of some values, and how many there were."""
    median: float
    least: float
    greatest: float
    count: int


def summary(values):
    """None where nothing was measured."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    return Summary(statistics.median(values), min(values), max(values), len(values))


def ratio(windows, base, figure):
    """How `figure` of `windows` stands to that of `base`, window by window: those of the same number are next to each
    other in time, so a machine that is slower for a while is so for both."""
    pairs = ((mine.get(figure), other.get(figure)) for mine, other in zip(windows, base) if mine and other)
    return summary([mine / other for mine, other in pairs if mine is not None and other])


def slope(samples):
    """Least squares over (x, y): what y gains per x. None where fewer than two x differ."""
    if len({x for x, _ in samples}) < 2:
        return None
    return statistics.linear_regression(*zip(*samples)).slope
