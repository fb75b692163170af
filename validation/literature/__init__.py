"""Scores that the literature has for standard twin experiments: a file for each paper, which only configures.

Expected values are mean analysis RMSEs as DAPPER 1.7.1 quotes them where it reproduces a paper (in `dapper/mods/`, two
digits, of runs that are often short); where the paper itself differs, the file says so.
"""

from importlib import import_module
from typing import Any, NamedTuple

PAPERS = (
    "sakov2008",
    "hoteit2015",
    "bocquet2013",
    "bocquet2015",
    "bocquet2010",
    "spantini2019",
    "sakov2012",
    "anderson2010",
    "bocquet2019",
    "mccabe2021",
)


class Setting(NamedTuple):
    """A twin experiment without its seeds; `variance` is that of the observation error. Ensembles start about the
    truth, as DAPPER's do, with the variance `about_truth`: some tunings never find a truth that is far off."""

    model: Any
    dt: float
    every: int
    operator: Any
    variance: float = 1.0
    about_truth: float = 0.001
    spin_up: float = 50.0


class Point(NamedTuple):
    """A method and the analysis RMSE that is expected of it, to within `tolerance`; `cycles` if fewer will do."""

    method: Any
    expected: float
    tolerance: float
    cycles: int = 10_000


def papers():
    """Of each paper: name, its docstring, and pairs of a setting and its points."""
    for name in PAPERS:
        module = import_module(f"{__name__}.{name}")
        yield name, module.__doc__.strip(), module.EXPERIMENTS
