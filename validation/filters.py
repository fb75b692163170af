"""Filters against scores that others found: standard points of the literature, and tuned tables.

    python -m l96kit.validation.filters [--part dapper points tables] [--papers sakov2008 ...]
        [--systems L96-full-1 ...] [--peers dapper] [--store] [--quick]

dapper : its methods against ours, cycle by cycle, on the same truth, observations and first ensemble
points : standard twin experiments, see validation/literature/, each with the score that is expected of it
tables : the baselines of McCabe & Brown (2021), tuned anew on their grid (for LETKF 240 settings, three seeds and 1,000
    cycles for each size of the ensemble), then scored with ten other seeds, from either start; with how long that took;
    "when tuned" is the score with the seeds of the tuning, which flatters, and may be what theirs is

With `--peers dapper`, points that are off have the score of DAPPER as well, for the same truth, observations and first
ensembles, and tables of LETKF how long DAPPER would take, projected from a sample.

A seed counts as diverged if its score is not finite or more than twice what is expected, and is then left out of the
mean, which is within the tolerance only if most seeds did not diverge. Intervals are 95 % over seeds.
"""

import argparse
import sys
import time
from dataclasses import replace

import numpy as np

from l96kit import Propagator
from l96kit._progress import progress_bar
from l96kit.baselines import CycledFourDVar
from l96kit.filters import LETKF, IEnKS
from l96kit.localization import Localization
from l96kit.twin_experiments import STARTS, TwinExperiment
from l96kit.validation import _dapper, literature
from l96kit.validation._record import interval, markdown, store
from l96kit.validation._tuned_filters import INFLATIONS, MEMBERS, RADII, SCALES, SYSTEMS
from l96kit.validation._workers import run_all

BURN_IN = 0.1  # of the cycles, which come on top
DIVERGED = 2.0  # times what is expected
SCORED = 10  # seeds
COMPARED = 10  # cycles with DAPPER; later, chaos makes much of rounding
PARTS = ("dapper", "points", "tables")
METHODS = ("LETKF", "iEnKS", "4D-Var")


def scores(experiment, method, cycles):
    """(...), mean analysis RMSE over the last cycles."""
    rmse = experiment.run(method, **KEEP).analysis_rmse
    return rmse[-cycles:].mean(axis=0)


KEEP = {"keep": "scores", "probabilistic": False}


# --- points of the literature -----------------------------------------------------------------------------------------


def points(options):
    """Rows of a table, a dict each."""
    rows, chosen = [], list(chosen_points(options))
    with progress_bar(len(chosen), "points", label="literature") as bar:
        for name, setting, point in chosen:
            cycles = min(options.cycles or point.cycles, point.cycles)
            found = scores(experiment_of(setting, cycles, range(options.seeds)), point.method, cycles)
            rows.append(
                {
                    "paper": name,
                    "method": about(point.method),
                    "expected": point.expected,
                    "tolerance": point.tolerance,
                    "cycles": cycles,
                    **judged(found, point.expected, point.tolerance),
                }
            )
            bar.update()
    if options.peers:
        add_scores_of_dapper(chosen, rows, options.seeds)
    return rows


def chosen_points(options):
    """Of each the paper, the setting, and itself."""
    for name, _, experiments in literature.papers():
        if not options.papers or name in options.papers:
            for setting, own in experiments:
                for point in own:
                    yield name, setting, point


def experiment_of(setting, cycles, seeds):
    return TwinExperiment(
        Propagator(setting.model, setting.dt),
        setting.operator,
        setting.variance**0.5,
        setting.every,
        cycles + round(BURN_IN * cycles),
        seeds,
        setting.spin_up,
        "truth",
        setting.about_truth**0.5,
    )


def add_scores_of_dapper(chosen, rows, seeds):
    """To those beyond their tolerance whose method it has."""
    off = [
        (setting, point.method, row)
        for (_, setting, point), row in zip(chosen, rows)
        if not row["within"] and _dapper.has_peer(point.method)
    ]
    tasks = [(setting, method, seed, row["cycles"]) for setting, method, row in off for seed in range(seeds)]
    found = iter(run_all(score_of_dapper, tasks, "DAPPER", "runs"))
    for _, _, row in off:
        row["dapper"] = [next(found) for _ in range(seeds)]


def score_of_dapper(setting, method, seed, cycles):
    """Mean analysis RMSE, None if it blew up."""
    try:
        found = _dapper.run(experiment_of(setting, cycles, (seed,)), method)
    except _dapper.BLOW_UPS:
        return None
    score = float(np.mean(found.stats.err.rms.a[-cycles:]))
    return score if np.isfinite(score) else None


def judged(found, expected, tolerance):
    good = found[found < DIVERGED * expected]
    mean = float(good.mean()) if len(good) else None
    return {
        "scores": [None if np.isnan(score) else float(score) for score in found],
        "mean": mean,
        "diverged": len(found) - len(good),
        "within": 2 * len(good) > len(found) and abs(mean - expected) <= tolerance,
    }


def shown(scores, expected):
    """Mean and interval of the seeds that did not diverge, and how many did."""
    good = [score for score in scores if score is not None and score < DIVERGED * expected]
    return interval(good) if good else "-", f"{len(scores) - len(good)} of {len(scores)}"


def about(method):
    """The name of a method with its tuning."""
    more = []
    for name in ("members", "inflation", "rotation", "strength", "jitter", "scale", "lag"):
        value = getattr(method, name, None)
        if value is True or (value not in (None, False) and not (name in ("inflation", "strength") and value == 1)):
            more.append(name if value is True else f"{name} {value:g}")
    if hasattr(method, "localization"):
        more.append(f"radius {method.localization.radius:.3g}")
    return f"{type(method).__name__}, {', '.join(more)}"


def table_of_points(rows):
    cells = [
        (
            row["paper"],
            row["method"],
            f"{row['expected']:g} +- {row['tolerance']:g}",
            *shown(row["scores"], row["expected"]),
            "yes" if row["within"] else "NO",
            row["cycles"],
            *(shown(row["dapper"], row["expected"]) if "dapper" in row else ("", "")),
        )
        for row in rows
    ]
    within = sum(row["within"] for row in rows)
    usual = {point.cycles for _, _, experiments in literature.papers() for _, own in experiments for point in own}
    if min(row["cycles"] for row in rows) < min(usual):
        print("Shortened runs: scores scatter, and verdicts mean little.")
    headings = "paper", "method", "expected", "found", "diverged", "within", "cycles", "DAPPER found", "diverged"
    if not any("dapper" in row for row in rows):
        headings, cells = headings[:-2], [cell[:-2] for cell in cells]
    table = markdown(headings, cells)
    return f"{within} of {len(rows)} within their tolerance.\n\n{table}"


# --- DAPPER on the same data ------------------------------------------------------------------------------------------


def differences(options):
    """Of the methods that draw no random numbers, without rotation: rows of a table, a dict each."""
    rows = []
    for name, setting, point in chosen_points(options):
        if _dapper.is_deterministic(point.method):
            method, experiment = replace(point.method, rotation=False), experiment_of(setting, COMPARED, (0,))
            theirs = _dapper.run(experiment, method).stats.err.rms.a
            ours = experiment.run(method, **KEEP).analysis_rmse[:, 0]
            difference = float(np.abs(ours / theirs - 1).max())
            rows.append({"paper": name, "method": about(method), "rmse": float(ours.mean()), "difference": difference})
    return rows


def table_of_differences(rows):
    cells = [(row["paper"], row["method"], f"{row['rmse']:.3f}", f"{row['difference']:.0e}") for row in rows]
    headings = "paper", "method, without rotation", f"mean RMSE of {COMPARED} cycles", "largest relative difference"
    return markdown(headings, cells)


# --- tuned tables -----------------------------------------------------------------------------------------------------


def table(name, options):
    """Rows of the table of one system, a dict each."""
    system, cycles = SYSTEMS[name], options.cycles or 1000
    whole, others = cycles + round(BURN_IN * cycles), range(100, 100 + (options.seeds if options.quick else SCORED))
    tuning = tuned_on(system, whole, range(options.seeds))
    scoring = {start: replace(tuning, seeds=others, start=start) for start in STARTS}
    rows = []
    for method, members, expected in choices(system, options):
        begin = time.perf_counter()
        best, least, settings = tuned(method, members, tuning, cycles, name)
        seconds = time.perf_counter() - begin
        rows.append(
            {
                "method": about(best),
                "kind": method,
                "members": members,
                "expected": expected,
                "cycles": cycles,
                "when_tuned": float(least),
                "settings": settings,
                "tuning_seconds": seconds,
                **{
                    start: judged(scores(experiment, best, cycles), expected, 0.05 * expected)
                    for start, experiment in scoring.items()
                },
            }
        )
    return rows


def tuned_on(system, cycles, seeds):
    run = Propagator(system.model, system.dt)
    return TwinExperiment(run, system.operator, system.sigma, system.every, cycles, seeds, system.spin_up)


def choices(system, options):
    """What is tuned: the method, its members, and the score of others."""
    found = {"LETKF": system.letkf, "iEnKS": system.ienks}
    for method in options.methods:
        if method == "4D-Var":
            yield method, 0, system.four_d_var
        else:
            for members in options.members:
                yield method, members, found[method][MEMBERS.index(members)]


def tuned(method, members, experiment, cycles, label):
    """The method with the least mean score over seeds on the whole grid, that score, and the number of settings."""
    if method == "4D-Var":
        trials = [(CycledFourDVar(np.eye(experiment.propagator.model.sites)), "scale", SCALES)]
    elif method == "iEnKS":
        trials = [(IEnKS(members, 1.0, rotation), "inflation", INFLATIONS) for rotation in (False, True)]
    else:
        trials = [
            (LETKF(members, 1.0, rotation, Localization(radius)), "inflation", INFLATIONS)
            for radius in RADII
            for rotation in (False, True)
        ]
    best, least = None, np.inf
    with progress_bar(len(trials), "calls", label=f"{label} {method} {members or ''}") as bar:
        for trial, name, values in trials:
            found = scores_of_all(trial, name, values, experiment, cycles)
            if found.min() < least:
                best, least = replace(trial, **{name: values[int(found.argmin())]}), found.min()
            bar.update()
    return best, least, sum(len(values) for _, _, values in trials)


def scores_of_all(trial, name, values, experiment, cycles):
    """(value,), the mean score over seeds for each value of a tuning number, infinite if one diverged."""
    found = experiment.sweep(trial, **{name: values}, **KEEP)
    means = found.analysis_rmse[-cycles:].mean(axis=(0, 2))
    return np.where(np.isfinite(means), means, np.inf)


def against(found, expected):
    """Mean and interval, how many diverged, and the mean over what is expected."""
    return *shown(found["scores"], expected), "-" if found["mean"] is None else f"{found['mean'] / expected:.2f}"


def shown_table(rows):
    cells = [
        (
            row["method"],
            f"{row['expected']:g}",
            f"{row['when_tuned']:.3g}",
            *(cell for start in STARTS for cell in against(row[start], row["expected"])),
            row["settings"],
            f"{row['tuning_seconds']:.0f}",
            *([f"{row['dapper_hours']:.1f}"] if "dapper_hours" in row else []),
        )
        for row in rows
    ]
    of_each = [cell for start in STARTS for cell in (f"from {start}", "diverged", "ratio")]
    headings = "tuned", "theirs", "when tuned", *of_each, "settings", "seconds"
    if any("dapper_hours" in row for row in rows):
        headings += ("DAPPER, hours",)
        cells = [cell if len(cell) == len(headings) else (*cell, "-") for cell in cells]
    return markdown(headings, cells)


def project_dapper(rows, system, seeds, cycles=60):
    """Add the hours that DAPPER would take for the same grid on one core, from so many cycles in the middle of it."""
    experiment = tuned_on(system, cycles, (0,))
    for row in rows:
        if row["kind"] == "LETKF":
            cycle = seconds_of_dapper(experiment, row["members"]) / cycles
            row["dapper_hours"] = cycle * row["settings"] * seeds * row["cycles"] * (1 + BURN_IN) / 3600


def seconds_of_dapper(experiment, members):
    """With a radius in the middle and the first inflation with which it does not blow up, NaN if there is none."""
    for inflation in INFLATIONS[3:]:
        method = LETKF(members, inflation, True, Localization(RADII[6]))
        try:
            _dapper.run(replace(experiment, cycles=2), method)  # it imports much
            begin = time.perf_counter()
            _dapper.run(experiment, method, batch=2)  # as in its own settings of Lorenz-96
            return time.perf_counter() - begin
        except _dapper.BLOW_UPS:
            continue
    return np.nan


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m l96kit.validation.filters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS[1:])
    parser.add_argument(
        "--papers", nargs="+", choices=literature.PAPERS, default=[], help="of the points; all if not given"
    )
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="of the tables")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="of the tables")
    parser.add_argument("--members", nargs="+", type=int, choices=MEMBERS, default=list(MEMBERS), help="of the tables")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cycles", type=int, help="that are scored, if fewer than usual")
    parser.add_argument("--peers", nargs="+", choices=("dapper",), default=[], help="scores and time of it")
    parser.add_argument("--store", action="store_true", help="keep tables and numbers in validation/results/")
    parser.add_argument("--quick", action="store_true", help="small: a look, not a measurement")
    options = parser.parse_args(arguments)
    if options.quick and options.store:
        parser.error("--quick is a look and --store keeps measurements; take one of them")
    if options.quick:
        options.cycles, options.seeds = 200, 2
        options.systems, options.members = options.systems[:1], options.members[:1]
    if "dapper" in options.part:
        rows, title = differences(options), "Analysis RMSE of ours and of DAPPER's on the same data"
        finish("filters_dapper", title, rows, table_of_differences(rows), options)
    if "points" in options.part:
        rows = points(options)
        name = "_".join(["filters_points", *options.papers])
        finish(name, "Standard points of the literature", rows, table_of_points(rows), options)
    if "tables" in options.part:
        for name in options.systems:
            rows = table(name, options)
            if options.peers:
                project_dapper(rows, SYSTEMS[name], options.seeds)
            title = f"Tuned baselines of McCabe & Brown (2021): {SYSTEMS[name].label}"
            finish(f"filters_{name}", title, rows, shown_table(rows), options)
    return 0


def finish(name, title, rows, text, options):
    print(f"\n{title}\n\n{text}", flush=True)
    if options.store:
        store(name, {"rows": rows}, title, text)


if __name__ == "__main__":
    sys.exit(main())
