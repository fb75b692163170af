"""Strong-constraint 4D-Var against the length of the window: the twin experiment of Fertig, Harlim & Hunt (2007).

`python -m l96kit.validation.fourdvar --store` prints the table and keeps it in validation/results/fourdvar.*.

The truth is Lorenz-96 (K=40, F=8, RK4, dt=0.0125) after 50 time units; 10 of the 40 sites, drawn anew for each step and
truth, are observed at every step with an error of standard deviation 1; windows do not overlap; there is no background
term, and the first guess of a window is the last analysis, run to its start. Nonnenmacher & Greenberg (2021) give for
this setting a figure alone (3f, g: an analysis RMSE between about 0.8 and 0.4 that falls with the window).
"""

import argparse

import numpy as np

from l96kit import FourDVar, Lorenz96, Propagator, twin
from l96kit.validation._record import markdown, store

DT = 0.0125  # time units
WINDOWS = (8, 16, 24, 32, 40, 48, 56, 64, 72)
LEAD = 80  # steps after the end of a window
SPIN_UP = 2.0  # time units of cycling that are not scored


def score(windows, truths, length, seed, progress=True):
    """One row for each window: its length in steps, the scored cycles, and mean and deviation over truths of RMSEs."""
    propagator = Propagator(Lorenz96(40, 8.0), DT)
    rows = []
    for window in windows:
        rng = np.random.default_rng([seed, window])
        start = twin.spun_up(propagator, truths, 50, rng)
        first = int(np.ceil(SPIN_UP / (window * DT)))
        cycles = first + round(length / (window * DT))
        found = twin.cycled_fourdvar(
            FourDVar(propagator), start, window, cycles, leads=(0, LEAD), rng=rng, progress=progress
        )
        row = {"window": window, "cycles": cycles - first, "evaluations": float(found.evaluations[first:].mean())}
        series = {
            "background": found.background_rmse,
            "analysis": found.analysis_rmse,
            "end of window": found.forecast_rmse[0],
            f"{LEAD} steps later": found.forecast_rmse[1],
        }
        for name, scores in series.items():
            means = scores[first:].mean(axis=0)
            row[name] = [float(means.mean()), float(means.std(ddof=1))]
        row["median analysis"] = float(np.median(found.analysis_rmse[first:]))
        rows.append(row)
    return rows


def table(rows, truths):
    names = [name for name, value in rows[0].items() if isinstance(value, list)]
    cells = [
        (
            row["window"],
            f"{row['window'] * DT:.2f}",
            *(f"{row[name][0]:.3f} +- {row[name][1]:.3f}" for name in names),
            f"{row['median analysis']:.3f}",
            row["cycles"],
            f"{row['evaluations']:.0f}",
        )
        for row in rows
    ]
    headings = "window (steps)", "time units", *names, "median analysis", "windows a truth", "gradients a window"
    about = f"RMSE, mean +- standard deviation over {truths} truths (the median is over all windows)."
    return f"{about}\n\n{markdown(headings, cells)}"


def main():
    parser = argparse.ArgumentParser(
        prog="python -m l96kit.validation.fourdvar",
        description=__doc__.split("\n\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--windows", type=int, nargs="+", default=WINDOWS, help="lengths in steps")
    parser.add_argument("--truths", type=int, default=8, help="independent truths for each window")
    parser.add_argument("--length", type=float, default=30.0, help="scored time units of each truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", action="store_true", help="keep the table in validation/results/")
    options = parser.parse_args()
    rows = score(options.windows, options.truths, options.length, options.seed)
    text = table(rows, options.truths)
    print(text)
    if options.store:
        store("fourdvar", {"rows": rows}, __doc__.strip().splitlines()[0], text)


if __name__ == "__main__":
    main()
