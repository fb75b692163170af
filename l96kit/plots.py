"""Figures with matplotlib. Every function draws into `ax` (or a new figure) and returns it.

Colours are from cividis and from Okabe & Ito (2008): they differ in print and for the colour-blind; lines also differ
in style. What is NaN or masked stays white, or is left out of a line.
"""

from itertools import cycle

import numpy as np

from l96kit import _arrays

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))


def _axes(ax):
    from matplotlib.axes import Axes

    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(layout="constrained")
    return _arrays.instance(ax, Axes, "ax", "axes of matplotlib", "take those of plt.subplots()")


def _numbers(values, name, *axes):
    """Real numbers with the axes named, NaN where they are masked; one number at least is finite."""
    if np.ma.is_masked(values):
        values = np.ma.filled(values.astype(float), np.nan)
    values = _arrays.real(values, name)
    if values.ndim != len(axes):
        wanted = f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"
        raise ValueError(f"{name}: expected shape {wanted}, found {values.shape}; give each axis")
    if not np.isfinite(values).any():
        raise ValueError(f"{name}: expected some finite numbers, found none; there is nothing to draw")
    return values


def _alike(values, name, length, of):
    """As many numbers (length,), or rows, as another array has."""
    if len(values) != length:
        raise ValueError(f"{name}: expected {length} like {of}, found shape {values.shape}; give one for each")
    return values


def _labelled(values, name):
    """A dict of label -> what is drawn, not empty."""
    for label in _arrays.mapping(values, name):
        _arrays.text(label, name, "it is a label")
    if not values:
        raise ValueError(f"{name}: expected at least one, found an empty dict; there is nothing to draw")
    return values


def hovmoller(field, dt, ax=None, title=None, limit=None, diverging=False, bar="dimensionless"):
    """Time against site: field (time, site), dimensionless, `dt` time units from row to row. NaN stays white.

    `bar` is the label of the colour bar; None leaves it out.
    """
    field = np.ma.masked_invalid(_numbers(field, "field", "time", "site"))
    dt = _arrays.positive(len(field) * _arrays.positive(dt, "dt"), "dt") / len(field)  # all of it is drawn
    limit = float(np.abs(field).max()) if limit is None else _arrays.number(limit, "limit", "it ends the colours")
    diverging = _arrays.flag(diverging, "diverging", "True gives both signs a colour")
    for name, label in (("title", title), ("bar", bar)):
        if label is not None:
            _arrays.text(label, name, "None leaves it out")
    ax = _axes(ax)
    low, colours = (-limit, "RdBu_r") if diverging else (field.min(), "cividis")
    extent = (-0.5, field.shape[1] - 0.5, -dt / 2, (len(field) - 0.5) * dt)
    image = ax.imshow(
        field, origin="lower", aspect="auto", extent=extent, cmap=colours, vmin=low, vmax=limit, interpolation="none"
    )
    if bar is not None:
        ax.figure.colorbar(image, ax=ax, label=bar)
    ax.set(xlabel="site", ylabel="time (time units)", title=title)
    return ax


def hovmollers(fields, dt, figure=None):
    """Several fields of a twin side by side: dict of title -> (time, site). That of the title "error" gets a range of
    its own."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import FigureBase

    fields = {title: _numbers(field, title, "time", "site") for title, field in _labelled(fields, "fields").items()}
    states = [title for title in fields if title != "error"]
    if not states:
        raise ValueError("fields: expected a state besides the error, found none; draw it alone with `hovmoller`")
    dt = _arrays.positive(dt, "dt")
    figure = plt.figure(figsize=(3.4 * len(fields), 4), layout="constrained") if figure is None else figure
    _arrays.instance(figure, FigureBase, "figure", "a figure of matplotlib", "take that of plt.figure()")
    axes = dict(zip(fields, figure.subplots(1, len(fields), sharey=True, squeeze=False)[0]))
    shared = max(float(np.abs(np.ma.masked_invalid(fields[title])).max()) for title in states)
    for title, field in fields.items():
        hovmoller(field, dt, axes[title], title, None if title == "error" else shared, diverging=True, bar=None)
        axes[title].label_outer()
    figure.colorbar(axes[states[0]].images[0], ax=[axes[title] for title in states], label="state (dimensionless)")
    if "error" in fields:
        figure.colorbar(axes["error"].images[0], ax=axes["error"], label="error (dimensionless)")
    return figure


def rmse_against_window(windows, scores, dt, ax=None):
    """Mean and standard deviation of RMSEs against the length of the window.

    windows : (window,), in steps of dt time units; scores : dict of label -> (mean (window,), deviation (window,))
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    lengths = _numbers(windows, "windows", "window") * _arrays.positive(dt, "dt")
    lines = {label: _mean_and_deviation(pair, len(lengths)) for label, pair in _labelled(scores, "scores").items()}
    ax = _axes(ax)
    for (label, (mean, deviation)), colour, style in zip(lines.items(), cycle(COLOURS), cycle(STYLES)):
        ax.errorbar(lengths, mean, deviation, label=label, color=colour, linestyle=style, marker="o", capsize=3)
    ax.set(xlabel="length of the window (time units)", ylabel="RMSE (dimensionless)", yscale="log", title="4D-Var")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend()
    return ax


def _mean_and_deviation(pair, count):
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"scores: expected pairs (mean, deviation), found {_arrays.shown(pair)}; give both")
    return [_alike(_numbers(part, "scores", "window"), "scores", count, "windows") for part in pair]


def sensitivity(gradients, dt, site, ax=None):
    """The adjoint run back from one site at the last time: gradients (time, site) of `l96kit.sensitivity`."""
    gradients, dt = _numbers(gradients, "gradients", "time", "site"), _arrays.positive(dt, "dt")
    site = _arrays.count(site, "site", 0)
    if site >= gradients.shape[1]:
        raise ValueError(f"site: expected one below {gradients.shape[1]}, found {site}; sites count from 0")
    label = f"d x_{site} (end) / d x_k (t)"
    ax = hovmoller(gradients, dt, ax, f"sensitivity of site {site} at the last time", diverging=True, bar=label)
    ax.plot(site, (len(gradients) - 1) * dt, "k*", markersize=9)
    return ax


def growth(times, norms, rate, ax=None):
    """How gradients grow with the length of the run: norms (time, sample), against exp(rate * time).

    `rate` is that of the leading Lyapunov exponent, say; its line ends where the mean does.
    """
    times, norms = _numbers(times, "times", "time"), _numbers(norms, "norms", "time", "sample")
    rate = _arrays.number(rate, "rate", "it is an exponent per time unit")
    if not (np.isfinite(_alike(norms, "norms", len(times), "times")) & (norms > 0)).all():
        raise ValueError("norms: expected positive finite numbers, found others; leave out the times at which they are")
    ax = _axes(ax)
    middle = np.exp(np.log(norms).mean(axis=1))
    ax.fill_between(times, *np.quantile(norms, (0.1, 0.9), axis=1), color=COLOURS[0], alpha=0.25, label="10 to 90 %")
    ax.plot(times, middle, color=COLOURS[0], label="geometric mean")
    ax.plot(times, middle[-1] * np.exp(rate * (times - times[-1])), "--", color=COLOURS[1], label=f"exp({rate:.2f} t)")
    ax.set(xlabel="time (time units)", ylabel="length of the gradient", yscale="log", title="growth of gradients")
    ax.legend()
    return ax


def lyapunov(exponents, ax=None):
    """The Lyapunov spectrum (count,), per time unit."""
    exponents = _numbers(exponents, "exponents", "count")
    ax = _axes(ax)
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.plot(np.arange(1, len(exponents) + 1), exponents, "o-", color=COLOURS[0], markersize=3)
    ax.set(xlabel="index", ylabel="Lyapunov exponent (per time unit)", title="Lyapunov spectrum")
    return ax


def error_and_spread(rmse, spread, dt, ax=None):
    """RMSE and spread (time,) of a filter, `dt` time units from analysis to analysis."""
    rmse, spread = _numbers(rmse, "rmse", "time"), _numbers(spread, "spread", "time")
    _alike(spread, "spread", len(rmse), "rmse")
    time = np.arange(1, len(rmse) + 1) * _arrays.positive(dt, "dt")
    ax = _axes(ax)
    ax.plot(time, rmse, color=COLOURS[0], label="RMSE of the mean")
    ax.plot(time, spread, color=COLOURS[1], linestyle=STYLES[1], label="spread")
    ax.set(xlabel="time (time units)", ylabel="dimensionless", title="error and spread", ylim=(0, None))
    ax.legend()
    return ax


def rank_histogram(counts, ax=None):
    """How often the truth had so many members below it (N + 1,), over what a reliable ensemble would have."""
    counts = _numbers(counts, "counts", "N + 1")
    if not (np.isfinite(counts) & (counts >= 0)).all() or not counts.any():
        raise ValueError("counts: expected numbers of 0 or more, found others, or zeros alone; count ranks first")
    ax = _axes(ax)
    ax.bar(np.arange(len(counts)), counts / counts.mean(), width=1.0, color=COLOURS[5], edgecolor="white")
    ax.axhline(1, color=COLOURS[6], linestyle=STYLES[1], linewidth=1)
    ax.set(xlabel="members below the truth", ylabel="frequency over that of a flat histogram", title="rank histogram")
    return ax


def spread_skill(spread, rmse, bins=10, ax=None):
    """Root of the mean square error in classes of equal size of the spread; both (time, ...), in any shape.

    A reliable ensemble lies on the diagonal, but for a factor sqrt((N + 1) / N).
    """
    spread, rmse = _arrays.real(spread, "spread"), _arrays.real(rmse, "rmse")
    if spread.shape != rmse.shape:
        raise ValueError(
            f"rmse: expected shape {spread.shape} like spread, found {rmse.shape}; leave out the same cycles"
        )
    known = np.isfinite(spread) & np.isfinite(rmse)
    spread, rmse, bins = spread[known].astype(float), rmse[known].astype(float), _arrays.count(bins, "bins")
    if len(spread) < bins:
        raise ValueError(f"bins: expected at most {len(spread)}, as many as finite numbers, found {bins}; take fewer")
    ax = _axes(ax)
    classes = np.array_split(np.argsort(spread), bins)
    x, y = (np.array([np.sqrt(np.mean(part[own] ** 2)) for own in classes]) for part in (spread, rmse))
    ax.plot(x, y, "o-", color=COLOURS[0], label=f"{bins} classes of spread")
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    ax.plot(ends, ends, color="0.5", linestyle=STYLES[1], label="reliable")
    ax.set(xlabel="spread (dimensionless)", ylabel="RMSE (dimensionless)", title="spread and skill")
    ax.legend()
    return ax


def errors_ahead(leads, errors, ax=None):
    """RMSE of forecasts against lead time (lead,), in time units: dict of label -> (lead, ...), mean over the rest."""
    leads, lines = _numbers(leads, "leads", "lead"), {}
    for label, error in _labelled(errors, "errors").items():
        error = _arrays.real(error, "errors")
        if not error.ndim or len(error) != len(leads) or not np.isfinite(error).any():
            raise ValueError(
                f"errors: expected {len(leads)} leads first, and some finite numbers, found shape {error.shape}; see "
                "lead_errors"
            )
        lines[label] = np.nanmean(error.reshape(len(leads), -1), axis=1)
    ax = _axes(ax)
    for (label, line), colour, style in zip(lines.items(), cycle(COLOURS), cycle(STYLES)):
        ax.plot(leads, line, color=colour, linestyle=style, marker="o", label=label)
    ax.set(xlabel="lead time (time units)", ylabel="RMSE (dimensionless)", title="forecasts from analyses")
    ax.legend()
    return ax
