"""Figures with matplotlib. Every function draws into `ax` (or a new figure) and returns it.

Colours are from cividis and from Okabe & Ito (2008): they differ in print and for the colour-blind; lines also differ
in style.
"""

from itertools import cycle

import numpy as np

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))


def _axes(ax):
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(layout="constrained")
    return ax


def hovmoller(field, dt, ax=None, title=None, limit=None, diverging=False, bar="dimensionless"):
    """Time against site: field (time, site), dimensionless, `dt` time units from row to row. NaN stays white.

    `bar` is the label of the colour bar; None leaves it out.
    """
    ax = _axes(ax)
    field = np.ma.masked_invalid(field)
    limit = float(np.abs(field).max()) if limit is None else limit
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
    """Several fields of a twin side by side: dict of title -> (time, site). "error", the last, gets its own range."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(3.4 * len(fields), 4), layout="constrained") if figure is None else figure
    axes = figure.subplots(1, len(fields), sharey=True)
    shared = max(np.nanmax(np.abs(field)) for title, field in fields.items() if title != "error")
    for ax, (title, field) in zip(axes, fields.items()):
        hovmoller(field, dt, ax, title, None if title == "error" else shared, diverging=True, bar=None)
        ax.label_outer()
    states = [ax for ax, title in zip(axes, fields) if title != "error"]
    figure.colorbar(states[0].images[0], ax=states, label="state (dimensionless)")
    if len(states) < len(axes):
        figure.colorbar(axes[-1].images[0], ax=axes[-1], label="error (dimensionless)")
    return figure


def rmse_against_window(windows, scores, dt, ax=None):
    """Mean and standard deviation of RMSEs against the length of the window.

    windows : (window,), in steps of dt time units; scores : dict of label -> (mean (window,), deviation (window,))
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    ax = _axes(ax)
    lengths = np.asarray(windows) * dt
    for (label, (mean, deviation)), colour, style in zip(scores.items(), cycle(COLOURS), cycle(STYLES)):
        ax.errorbar(lengths, mean, deviation, label=label, color=colour, linestyle=style, marker="o", capsize=3)
    ax.set(xlabel="length of the window (time units)", ylabel="RMSE (dimensionless)", yscale="log", title="4D-Var")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend()
    return ax


def sensitivity(gradients, dt, site, ax=None):
    """The adjoint run back from one site at the last time: gradients (time, site) of `l96kit.sensitivity`."""
    label = f"d x_{site} (end) / d x_k (t)"
    ax = hovmoller(gradients, dt, ax, f"sensitivity of site {site} at the last time", diverging=True, bar=label)
    ax.plot(site, (len(gradients) - 1) * dt, "k*", markersize=9)
    return ax


def growth(times, norms, rate, ax=None):
    """How gradients grow with the length of the run: norms (time, sample), against exp(rate * time).

    `rate` is that of the leading Lyapunov exponent, say; its line ends where the mean does.
    """
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
    ax = _axes(ax)
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.plot(np.arange(1, len(exponents) + 1), exponents, "o-", color=COLOURS[0], markersize=3)
    ax.set(xlabel="index", ylabel="Lyapunov exponent (per time unit)", title="Lyapunov spectrum")
    return ax


def error_and_spread(rmse, spread, dt, ax=None):
    """RMSE and spread (time,) of a filter, `dt` time units from analysis to analysis."""
    ax = _axes(ax)
    time = np.arange(1, len(rmse) + 1) * dt
    ax.plot(time, rmse, color=COLOURS[0], label="RMSE of the mean")
    ax.plot(time, spread, color=COLOURS[1], linestyle=STYLES[1], label="spread")
    ax.set(xlabel="time (time units)", ylabel="dimensionless", title="error and spread", ylim=(0, None))
    ax.legend()
    return ax


def rank_histogram(counts, ax=None):
    """How often the truth had so many members below it (N + 1,), over what a reliable ensemble would have."""
    ax = _axes(ax)
    counts = np.asarray(counts, float)
    if counts.ndim != 1:
        raise ValueError(f"counts: expected shape (N + 1,), found {counts.shape}; add up those of several seeds")
    ax.bar(np.arange(len(counts)), counts / counts.mean(), width=1.0, color=COLOURS[5], edgecolor="white")
    ax.axhline(1, color=COLOURS[6], linestyle=STYLES[1], linewidth=1)
    ax.set(xlabel="members below the truth", ylabel="frequency over that of a flat histogram", title="rank histogram")
    return ax


def spread_skill(spread, rmse, bins=10, ax=None):
    """Root of the mean square error in classes of equal size of the spread; both (time, ...), in any shape.

    A reliable ensemble lies on the diagonal, but for a factor sqrt((N + 1) / N).
    """
    ax = _axes(ax)
    if np.shape(spread) != np.shape(rmse):
        raise ValueError(
            f"rmse: expected shape {np.shape(spread)} like spread, found {np.shape(rmse)}; leave out the same cycles"
        )
    known = np.isfinite(spread) & np.isfinite(rmse)
    spread, rmse = np.asarray(spread)[known], np.asarray(rmse)[known]
    if len(spread) < bins:
        raise ValueError(f"bins: expected at most {len(spread)}, as many as finite numbers, found {bins}; take fewer")
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
    ax = _axes(ax)
    for (label, error), colour, style in zip(errors.items(), cycle(COLOURS), cycle(STYLES)):
        if len(error) != len(leads):
            raise ValueError(
                f"errors: expected {len(leads)} leads first, found shape {np.shape(error)}; see lead_errors"
            )
        error = np.reshape(error, (len(leads), -1))
        ax.plot(leads, np.nanmean(error, axis=1), color=colour, linestyle=style, marker="o", label=label)
    ax.set(xlabel="lead time (time units)", ylabel="RMSE (dimensionless)", title="forecasts from analyses")
    ax.legend()
    return ax
