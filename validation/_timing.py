"""Ratios of times taken in turn, round by round."""

import math

import numpy as np

from l96kit._progress import progress_bar
from l96kit.validation._contestants import seconds_of

ONE_SAMPLE = 0.04  # seconds that a timed sample should last: quicker calls are repeated


def in_turn(calls, rounds, label):
    """Seconds (call, round) of functions that are timed one right after the other, round by round."""
    repeats = [max(1, math.ceil(ONE_SAMPLE / min(seconds_of(call) for _ in range(2)))) for call in calls]
    with progress_bar(rounds, "rounds", label=label) as bar:
        found = []
        for _ in range(rounds):
            found.append([seconds_of(call, count) for call, count in zip(calls, repeats)])
            bar.update()
    return np.array(found).T


def summary(values):
    first, median, third = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "quartiles": [float(first), float(third)], "rounds": len(values)}


def row(label, ratio, bar, at_least=True, **more):
    """One figure of the report: a ratio over rounds, and what we mean to reach; `bar` None stands for no aim."""
    ratio = summary(ratio)
    met = None if bar is None else ratio["median"] >= bar if at_least else ratio["median"] <= bar
    return {"label": label, "ratio": ratio, "bar": bar, "at_least": at_least, "met": met, **more}
