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


REFUSED = {
    "a series for a field": (lambda: plots.hovmoller([1.0], 0.1), ValueError, r"field: expected shape \(time, site\)"),
    "no finite number": (lambda: plots.hovmoller(np.full((2, 3), np.nan), 0.1), ValueError, "field: .* some finite"),
    "no time": (lambda: plots.hovmoller(FIELD, 0.0), ValueError, "dt: expected a positive finite number"),
    "complex numbers": (lambda: plots.hovmoller(1j * FIELD, 0.1), TypeError, "field: expected real numbers"),
    "no fields": (lambda: plots.hovmollers({}, 0.1), ValueError, "fields: expected at least one"),
    "an error alone": (lambda: plots.hovmollers({"error": FIELD}, 0.1), ValueError, "fields: expected a state"),
    "no axes": (lambda: plots.lyapunov([1.0], ax=3), TypeError, "ax: expected axes of matplotlib, found int"),
    "another length": (
        lambda: plots.error_and_spread([1.0, 2.0], [1.0], 0.1),
        ValueError,
        r"spread: expected 2 like rmse, found shape \(1,\)",
    ),
    "no pair": (lambda: plots.rmse_against_window([8], {"a": [1.0]}, 0.1), TypeError, "scores: expected pairs"),
    "a site beyond": (lambda: plots.sensitivity(FIELD, 0.1, 8), ValueError, "site: expected one below 8, found 8"),
    "a negative norm": (lambda: plots.growth(np.arange(6.0), FIELD, 1.0), ValueError, "norms: expected positive fin"),
    "no counts": (lambda: plots.rank_histogram([0, 0]), ValueError, "counts: expected numbers of 0 or more"),
    "other leads": (lambda: plots.errors_ahead([0, 1], {"a": [1.0]}), ValueError, "errors: expected 2 leads first"),
    "no label": (lambda: plots.errors_ahead([0], {3: [1.0]}), TypeError, "errors: expected a string, found 3"),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_drawn_is_refused_and_leaves_no_figure(call, error, message):
    plt.close("all")
    with pytest.raises(error, match=message):
        call()
    assert not plt.get_fignums()


def test_masked_and_missing_numbers_stay_white():
    masked, missing = np.ma.array(FIELD, mask=FIELD > 1), np.where(FIELD > 1, np.nan, FIELD)
    for field in (masked, missing):
        image = plots.hovmoller(field, 0.1, ax=plt.figure().add_subplot()).images[0]
        np.testing.assert_array_equal(image.get_array().mask, FIELD > 1)
        assert image.get_clim() == (FIELD[FIELD <= 1].min(), np.abs(FIELD[FIELD <= 1]).max())
    largest = np.abs(FIELD[FIELD <= 1]).max()
    for fields in ({"observed": missing, "truth": 0.5 * missing}, {"truth": 0.5 * missing, "observed": missing}):
        figure = plots.hovmollers(fields, 0.1)
        assert {ax.images[0].get_clim() for ax in figure.axes[:2]} == {(-largest, largest)}
    plt.close("all")


def test_one_field_and_an_error_in_any_place():
    alone = plots.hovmollers({"truth": FIELD}, 0.1)
    assert [ax.get_title() for ax in alone.axes][:1] == ["truth"]
    figure = plots.hovmollers({"error": 0.1 * FIELD, "truth": FIELD}, 0.1)
    labels = {ax.get_ylabel(): bar for ax in figure.axes if (bar := getattr(ax, "_colorbar", None))}
    assert labels["error (dimensionless)"].mappable is figure.axes[0].images[0]
    assert labels["state (dimensionless)"].mappable is figure.axes[1].images[0]
    plt.close("all")


def test_side_by_side():
    figure = plots.hovmollers({"truth": FIELD, "error": 0.1 * FIELD}, 0.1)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["truth", "error"]
    assert figure.axes[1].get_shared_y_axes().joined(*figure.axes[:2])
    figure.canvas.draw()
    plt.close(figure)
