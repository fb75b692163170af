"""What a figure shows is what its data say: lines, bars, fields and their axes, against NumPy."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from l96kit import plots  # noqa: E402

RNG = np.random.default_rng(0)
FIELD = RNG.standard_normal((6, 8)) - 0.3


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def line(ax, number):
    return np.array(ax.lines[number].get_data(), float)


def test_a_hovmoller_diagram(ax):
    gaps = np.where(FIELD > 1, np.nan, FIELD)
    plots.hovmoller(gaps, 0.1, ax, "a title")
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array().filled(np.nan), gaps)
    assert image.get_extent() == pytest.approx([-0.5, 7.5, -0.05, 0.55])  # each number in the middle of its cell
    assert image.origin == "lower" and ax.get_aspect() == "auto"  # time goes up, as far as there is room
    assert image.get_clim() == (np.nanmin(gaps), np.nanmax(np.abs(gaps)))
    assert ax.get_title() == "a title" and "time units" in ax.get_ylabel()


def test_a_diverging_field_has_zero_in_the_middle(ax):
    plots.hovmoller(FIELD, 0.1, ax, diverging=True)
    assert ax.images[0].get_clim() == (-np.abs(FIELD).max(), np.abs(FIELD).max())
    plots.hovmoller(FIELD, 0.1, ax, diverging=True, limit=3.0)
    assert ax.images[1].get_clim() == (-3.0, 3.0)


def test_states_share_a_scale_and_an_error_has_its_own():
    fields = {"truth": FIELD, "analysis": 2 * FIELD, "error": 0.1 * FIELD}
    figure = plots.hovmollers(fields, 0.1)
    limits = [ax.images[0].get_clim()[1] for ax in figure.axes[:3]]
    np.testing.assert_allclose(limits, np.array([2, 2, 0.1]) * np.abs(FIELD).max())
    for ax, field in zip(figure.axes, fields.values()):
        np.testing.assert_array_equal(ax.images[0].get_array(), field)
    plt.close(figure)


def test_errors_against_the_window(ax):
    plots.rmse_against_window([8, 16], {"one": ([1.0, 0.5], [0.1, 0.2]), "two": [[2.0, 0.6], [0.3, 0.1]]}, 0.0125, ax)
    for container, mean, deviation in zip(ax.containers, ([1.0, 0.5], [2.0, 0.6]), ([0.1, 0.2], [0.3, 0.1])):
        drawn, _, (bars,) = container
        np.testing.assert_allclose(np.array(drawn.get_data(), float), [[0.1, 0.2], mean])
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(ends, np.transpose([np.subtract(mean, deviation), np.add(mean, deviation)]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]
    assert ax.get_yscale() == "log"


def test_a_sensitivity_marks_its_target(ax):
    plots.sensitivity(FIELD, 0.05, 3, ax)
    np.testing.assert_allclose(line(ax, 0).ravel(), [3, 0.25])
    np.testing.assert_array_equal(ax.images[0].get_array(), FIELD)


def test_growth_is_a_geometric_mean_with_quantiles_and_a_rate(ax):
    times, norms = np.arange(6) * 0.5, np.exp(FIELD)
    plots.growth(times, norms, 1.7, ax)
    middle = norms.prod(axis=1) ** (1 / 8)
    np.testing.assert_allclose(line(ax, 0), [times, middle])
    np.testing.assert_allclose(line(ax, 1)[1], middle[-1] * np.exp(1.7 * (times - 2.5)))
    drawn = ax.collections[0].get_paths()[0].vertices[:, 1]
    low, high = np.quantile(norms, (0.1, 0.9), axis=1)
    assert set(np.round(np.concatenate([low, high]), 9)) <= set(np.round(drawn, 9))
    assert ax.get_yscale() == "log"


def test_a_spectrum_counts_from_one(ax):
    plots.lyapunov([1.0, 0.0, -2.0], ax)
    np.testing.assert_array_equal(line(ax, 1), [[1, 2, 3], [1.0, 0.0, -2.0]])
    assert set(line(ax, 0)[1]) == {0}


def test_error_and_spread_begin_with_the_first_analysis(ax):
    plots.error_and_spread([1.0, 0.5, 0.4], [0.8, 0.4, 0.3], 0.1, ax)
    for number, values in enumerate(([1.0, 0.5, 0.4], [0.8, 0.4, 0.3])):
        np.testing.assert_allclose(line(ax, number), [[0.1, 0.2, 0.3], values])
    assert "RMSE" in ax.lines[0].get_label() and "spread" in ax.lines[1].get_label()
    assert ax.get_ylim()[0] == 0


def test_ranks_are_over_a_flat_histogram(ax):
    plots.rank_histogram([3, 1, 2, 6], ax)
    assert [bar.get_height() for bar in ax.patches] == [1.0, 1 / 3, 2 / 3, 2.0]
    assert [bar.get_x() + bar.get_width() / 2 for bar in ax.patches] == [0, 1, 2, 3]
    assert set(line(ax, 0)[1]) == {1}


def test_spread_and_skill_are_roots_of_mean_squares_in_classes(ax):
    spread, rmse = RNG.uniform(0.5, 2.0, (2, 5, 8))
    spread[2, 3], rmse[1, 1] = np.nan, np.inf
    plots.spread_skill(spread, rmse, 4, ax)
    known = sorted((s, e) for s, e in zip(spread.ravel(), rmse.ravel()) if np.isfinite(s + e))
    parts = [np.array(known[begin:end]) for begin, end in ((0, 10), (10, 20), (20, 29), (29, 38))]
    np.testing.assert_allclose(line(ax, 0).T, [np.sqrt((part**2).mean(axis=0)) for part in parts])
    ends = line(ax, 1)
    np.testing.assert_array_equal(ends[0], ends[1])
    assert ends.min() == line(ax, 0).min() and ends.max() == line(ax, 0).max()


def test_errors_ahead_are_means_over_all_but_the_lead(ax):
    errors = {"one": RNG.uniform(size=(3, 4, 5)), "two": RNG.uniform(size=(3, 7))}
    errors["one"][1, 2, 3] = np.nan
    plots.errors_ahead([0.0, 0.5, 2.0], errors, ax)
    for number, error in enumerate(errors.values()):
        expected = [np.nanmean(own) for own in error]
        np.testing.assert_allclose(line(ax, number), [[0.0, 0.5, 2.0], expected])
    assert [own.get_label() for own in ax.lines] == ["one", "two"]


def test_lines_differ_in_colour_and_style(ax):
    plots.errors_ahead([0, 1], {f"method {number}": np.ones(2) for number in range(5)}, ax)
    assert len({own.get_color() for own in ax.lines}) == len({str(own._dash_pattern) for own in ax.lines}) == 5


def test_every_figure_is_tested():
    public = {name for name, own in vars(plots).items() if callable(own) and own.__module__ == plots.__name__}
    tested = {
        *("hovmoller", "hovmollers", "rmse_against_window", "sensitivity", "growth", "lyapunov"),
        *("error_and_spread", "rank_histogram", "spread_skill", "errors_ahead"),
    }
    assert {name for name in public if not name.startswith("_")} == tested
