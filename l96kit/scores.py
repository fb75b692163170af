"""Scores of forecasts and analyses."""

import numpy as np


def rmse(x, truth):
    """Root-mean-square difference over the sites: (..., site) to (...)."""
    return np.sqrt(((np.asarray(x) - truth) ** 2).mean(axis=-1))
