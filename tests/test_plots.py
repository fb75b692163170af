"""Figures draw into the axes they are given."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from l96kit import plots  # noqa: E402

FIELD = np.random.default_rng(0).standard_normal((6, 8))
CALLS = {
    "hovmoller": lambda ax: plots.hovmoller(np.where(FIELD > 1, np.nan, FIELD), 0.1, ax=ax),
    "rmse": lambda ax: plots.rmse_against_window([8, 16], {"analysis": ([1.0, 0.5], [0.1, 0.1])}, 0.0125, ax=ax),
    "sensitivity": lambda ax: plots.sensitivity(FIELD, 0.05, 3, ax=ax),
    "growth": lambda ax: plots.growth(np.arange(6.0), np.exp(FIELD), 1.7, ax=ax),
    "error and spread": lambda ax: plots.error_and_spread([1.0, 0.5], [0.8, 0.4], 0.1, ax=ax),
    "ranks": lambda ax: plots.rank_histogram([3, 1, 2], ax=ax),
    "spread and skill": lambda ax: plots.spread_skill(np.abs(FIELD), np.abs(FIELD), 4, ax=ax),
    "errors ahead": lambda ax: plots.errors_ahead([0, 1], {"ETKF": np.abs(FIELD[:2])}, ax=ax),
    "lyapunov": lambda ax: plots.lyapunov([1.0, 0.0, -2.0], ax=ax),
}


@pytest.mark.parametrize("draw", CALLS.values(), ids=CALLS)
def test_draws_into_the_given_axes_and_returns_them(draw):
    figure, ax = plt.subplots()
    assert draw(ax) is ax
    assert ax.get_xlabel() and ax.get_ylabel()
    assert ax.images or ax.lines
    figure.canvas.draw()
    plt.close(figure)
    alone = draw(None)
    assert alone is not ax
    plt.close(alone.figure)


def test_side_by_side():
    figure = plots.hovmollers({"truth": FIELD, "error": 0.1 * FIELD}, 0.1)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["truth", "error"]
    figure.canvas.draw()
    plt.close(figure)
