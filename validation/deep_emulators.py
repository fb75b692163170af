"""The emulators of Nonnenmacher & Greenberg (2021, J. Adv. Model. Earth Syst.), trained and measured anew.

    python -m l96kit.validation.deep_emulators [--figure 1 2 3 s3 a3] [--networks deepNet:1200 ...] [--store] [--quick]

Figures are those of the paper: 1 one rollout, its Jacobians and sensitivity; 2 (and A2) errors against the size of the
training set; 3 4D-Var with the emulator and with the simulator on the same data; s3 a long free run; a3 training on
regions of a large ring. Networks that were trained before are read from validation/results/networks/; others are
trained first, which takes hours for deepNet (an interrupted training goes on). The paper gives curves without numbers.
"""

import argparse
import sys

import numpy as np

from l96kit import Emulator, FourDVar, Lorenz96, Propagator, Training, networks, plots, sensitivity, store, twin
from l96kit._progress import progress_bar
from l96kit.scores import rmse
from l96kit.validation import _record
from l96kit.validation._trained import BUILDERS, DT, SIZES, F, K, simulated, trained

FINE = 0.0125  # time units; the step of 4D-Var
WINDOWS = (8, 16, 24, 32, 40, 48, 56, 64, 72)
REGIONS = (10, 40, 160, 640)


def simulator(dt=DT, sites=K):
    return Propagator(Lorenz96(sites, F), dt)


def emulator(name, weights, dt=DT, sites=K):
    return Propagator(Emulator(BUILDERS[name](), weights, sites), dt)


def mean_and_spread(values):
    """Over seeds, with a 95 % interval of the mean if there are several."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return f"{values[0]:.3g}"
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3g} +- {half:.2g}"


def markdown(headings, rows):
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


# --- figure 1 -------------------------------------------------------------------------------------------------------


def figure_1(options):
    """One rollout of 5 time units, the Jacobian of one step, and d x_19(1) / d x_k(t)."""
    weights, _ = trained("deepNet", 1200, options.seeds)
    run, truth = emulator("deepNet", weights[0]), simulator()
    x = simulated(10, 1, 42)[-1, 0]
    y, found = truth.trajectory(x, 100), run.trajectory(x, 100)
    matrices = {"simulator": truth.jacobian(x), "emulator": run.jacobian(x)}
    gradients = {"simulator": sensitivity(truth, x, 20, 19), "emulator": sensitivity(run, x, 20, 19)}
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 3, figsize=(11, 9), layout="constrained")
    for row, fields in enumerate(({"simulator": y, "emulator": found}, matrices, gradients)):
        fields = {**fields, "emulator - simulator": fields["emulator"] - fields["simulator"]}
        limit = np.abs(fields["simulator"]).max()
        for ax, (title, field) in zip(axes[row], fields.items()):
            if row == 1:
                image = ax.imshow(field, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="none")
                ax.figure.colorbar(image, ax=ax)
                ax.set(xlabel="site before", ylabel="site after", title=f"Jacobian, {title}")
            else:
                what = "state" if row == 0 else "d x_19(1) / d x(t)"
                plots.hovmoller(field, DT, ax, f"{what}, {title}", limit, diverging=True)
    errors = rmse(found, y)
    difference = gradients["emulator"] - gradients["simulator"]
    rows = [
        (
            "RMSE of the rollout after 0.6, 1, 2, 5 time units",
            ", ".join(f"{errors[round(t / DT)]:.3g}" for t in (0.6, 1, 2, 5)),
        ),
        (
            "Frobenius norm of the difference of the Jacobians",
            f"{np.linalg.norm(matrices['emulator'] - matrices['simulator']):.3g}",
        ),
        ("norm of the simulator's Jacobian", f"{np.linalg.norm(matrices['simulator']):.3g}"),
        (
            "relative difference of the gradients over 1 time unit",
            f"{np.linalg.norm(difference[0]) / np.linalg.norm(gradients['simulator'][0]):.3g}",
        ),
    ]
    variables = {
        "simulator": (("time", "site"), y),
        "emulator": (("time", "site"), found),
        "simulator_jacobian": (("after", "before"), matrices["simulator"]),
        "emulator_jacobian": (("after", "before"), matrices["emulator"]),
        "simulator_gradient": (("back", "site"), gradients["simulator"]),
        "emulator_gradient": (("back", "site"), gradients["emulator"]),
    }
    return markdown(("deepNet, N = 1,200, seed 0, one start", "value"), rows), variables, figure


# --- figures 2 and A2 -----------------------------------------------------------------------------------------------


def test_states(count, dtype=np.float32, seed=7):
    """States (count, site) of so many independent runs after 50 time units."""
    return simulated(50, count, seed, dtype=dtype)[-1]


def errors_of(run, x, steps=100):
    """Mean one-step RMSE, mean Frobenius norm of the Jacobian's error, and RMSE (step,) of rollouts, over states x."""
    truth = simulator()
    y, found = truth.trajectory(x, steps), run.trajectory(x, steps)
    differences = [
        np.linalg.norm(run.jacobian(part) - truth.jacobian(part), axis=(-2, -1)) for part in np.array_split(x, 10)
    ]
    return rmse(found[1], y[1]).mean(), np.concatenate(differences).mean(), rmse(found, y).mean(axis=-1)


def figure_2(options):
    """Errors against the size of the training set: each seed, mean and 95 % interval."""
    rows, variables, curves = [], {}, {}
    for name, steps, dtype in options.networks:
        x = test_states(options.states, dtype)
        weights, about = trained(name, steps, options.seeds, dtype, options.store)
        found = [errors_of(emulator(name, w), x) for w in weights]
        one_step, jacobians, rollouts = map(np.array, zip(*found))
        label = f"{name}, N = {steps:,}, {np.dtype(dtype).name}"
        curves[label] = rollouts
        key = f"{name}_{steps}_{np.dtype(dtype).name}"
        variables[f"{key}_rollout_rmse"] = ("seed", "step"), rollouts
        variables[f"{key}_step_rmse"] = ("seed",), one_step
        variables[f"{key}_jacobian_error"] = ("seed",), jacobians
        lyapunov = rollouts[:, round(0.6 / DT)]
        rows.append(
            (
                label,
                ", ".join(f"{value:.3g}" for value in one_step),
                mean_and_spread(one_step),
                mean_and_spread(jacobians),
                mean_and_spread(lyapunov),
                mean_and_spread(rollouts[:, round(3 * 0.6 / DT)]),
                ", ".join(map(str, about["updates"])),
            )
        )
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 5), layout="constrained")
    for (label, curve), colour, style in zip(curves.items(), plots.COLOURS * 3, plots.STYLES * 5):
        axes[0].plot(
            np.arange(curve.shape[1]) * DT,
            np.maximum(curve.T, 1e-17),
            color=colour,
            linestyle=style,
            label=[label, *[None] * (len(curve) - 1)],
        )
    axes[0].set(xlabel="time (time units)", ylabel="RMSE (dimensionless)", yscale="log", title="rollouts")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    sizes = sorted({steps for _, steps, _ in options.networks})
    for ax, what, title in ((axes[1], "step_rmse", "one step"), (axes[2], "jacobian_error", "Jacobian of one step")):
        for (name, steps, dtype), colour in zip(options.networks, plots.COLOURS * 3):
            values = variables[f"{name}_{steps}_{np.dtype(dtype).name}_{what}"][1]
            ax.plot(np.full(len(values), steps), values, "o", color=colour)
        ax.set(
            xlabel="N (steps)",
            ylabel="RMSE" if what == "step_rmse" else "Frobenius norm",
            xscale="log",
            yscale="log",
            title=title,
        )
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.set_xticks([], minor=True)
    headings = (
        "network",
        "one-step RMSE of each seed",
        "one-step RMSE",
        "Jacobian error",
        "RMSE after 0.6",
        "RMSE after 1.8",
        "updates",
    )
    text = f"Means over {options.states} states; +- is the 95 % interval of the mean over seeds.\n\n" + markdown(
        headings, rows
    )
    return text, variables, figure


# --- figure S3 ------------------------------------------------------------------------------------------------------


def figure_s3(options):
    """A free run of 200,000 steps: does it stay bounded, and how far is the distribution of its values off?"""
    steps, piece = (20_000, 2_000) if options.quick else (200_000, 2_000)
    x = simulated(50, 2, 11)[-1]
    weights, _ = trained("deepNet", 1200, options.seeds)
    runs = {"simulator": (simulator(), x[0]), "simulator, another start": (simulator(), x[1])}
    runs.update({f"deepNet, seed {seed}": (emulator("deepNet", w), x[0]) for seed, w in enumerate(weights)})
    runs["sqNet, known weights"] = emulator("sqNet", networks.sq_net_of_lorenz96(dtype=np.float32)), x[0]
    edges, counts, bounds = np.linspace(-20, 25, 91), {}, {}
    with progress_bar(len(runs) * steps, "steps") as bar:
        for label, (run, state) in runs.items():
            counts[label], bounds[label] = np.zeros((4, len(edges) - 1)), [np.inf, -np.inf]
            for start in range(0, steps, piece):
                y = run.trajectory(state, piece)[1:]
                counts[label][4 * start // steps] += np.histogram(y, edges)[0]
                bounds[label] = [min(bounds[label][0], y.min()), max(bounds[label][1], y.max())]
                state = y[-1]
                bar.update(piece)
    reference = counts["simulator"].sum(axis=0) / counts["simulator"].sum()
    rows, variables = [], {}
    for label, quarters in counts.items():
        share = quarters.sum(axis=0) / quarters.sum()
        moving = np.abs(quarters / quarters.sum(axis=1, keepdims=True) - share).sum(axis=1).max() / 2
        distance = np.abs(share - reference).sum() / 2
        rows.append((label, f"{bounds[label][0]:.2f} to {bounds[label][1]:.2f}", f"{distance:.4f}", f"{moving:.4f}"))
        variables["density_" + label.replace(", ", "_").replace(" ", "_")] = ("quarter", "bin"), quarters
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(layout="constrained")
    for (label, quarters), colour, style in zip(counts.items(), plots.COLOURS * 3, plots.STYLES * 5):
        density = quarters.sum(axis=0) / quarters.sum() / np.diff(edges)
        ax.stairs(np.where(density > 0, density, np.nan), edges, label=label, color=colour, linestyle=style)
    ax.set(xlabel="x (dimensionless)", ylabel="density", yscale="log", title=f"{steps:,} free steps of 0.05")
    ax.legend()
    headings = (
        f"run of {steps:,} steps",
        "range of values",
        "total variation distance to the simulator",
        "largest distance of a quarter to the whole",
    )
    return markdown(headings, rows), variables, figure


# --- figure A3 ------------------------------------------------------------------------------------------------------


def figure_a3(options):
    """sqNet for a ring of 640 sites, trained on regions, on the same data and for as many sites in all."""
    runs, batch, seeds = (2, 64, 1) if options.quick else (20, 64, options.seeds)
    y = simulated(45, runs, 640, sites=640)[round(5 / DT) :]
    cut = round(0.8 * (len(y) - 1))
    x = simulated(50, 10, 641, sites=640)[-1]
    truth, rows, variables = simulator(sites=640).step(x), [], {}
    for region in REGIONS:
        size = max(1, batch * 10 // region) if region < 640 else 1
        training = Training(
            networks.sq_net(), DT, region=region, batch=size, validate_every=2000, rate_patience=20, epochs=5000
        )
        found = training.fit(y[: cut + 1], y[cut:], seeds=seeds, progress=True)
        errors = [float(rmse(emulator("sqNet", w, sites=640).step(x), truth).mean()) for w in found.weights]
        variables[f"region_{region}"] = ("seed",), errors
        updates = np.isfinite(found.validation_losses).sum(axis=0) * 2000
        rows.append((region, size, ", ".join(f"{e:.2e}" for e in errors), ", ".join(map(str, updates))))
    whole = np.median(variables["region_640"][1])
    rows = [(*row[:3], f"{np.median(variables[f'region_{row[0]}'][1]) / whole:.2f}", row[3]) for row in rows]
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(layout="constrained")
    for region in REGIONS:
        values = variables[f"region_{region}"][1]
        ax.plot([region] * len(values), values, "o", color=plots.COLOURS[0])
    ax.set(
        xlabel="sites of a region",
        ylabel="one-step RMSE on the whole ring",
        xscale="log",
        yscale="log",
        title="sqNet, K = 640",
    )
    return (
        markdown(
            ("region", "batch", "one-step RMSE of each seed", "median over that of whole states", "updates"), rows
        ),
        variables,
        figure,
    )


# --- figure 3 -------------------------------------------------------------------------------------------------------


def figure_3(options):
    """4D-Var with deepNet (N = 1,200) and with the simulator: the same truths, observations and minimiser."""
    truths, length = (2, 2.0) if options.quick else (5, options.length)
    weights, _ = trained("deepNet", 1200, options.seeds)
    truth = simulator(FINE)
    models = {"simulator": truth, "deepNet": emulator("deepNet", weights[0], FINE)}
    leads = np.arange(0, 81, 4)
    analysis, forecast = ({name: [] for name in models} for _ in range(2))
    rows = []
    for window in options.windows:
        start = twin.spun_up(truth, truths, 50, np.random.default_rng([3, window])).astype(np.float32)
        first = int(np.ceil(2.0 / (window * FINE)))
        cycles = first + max(1, round(length / (window * FINE)))
        cells = []
        for name, model in models.items():
            found = twin.cycled_fourdvar(
                FourDVar(model, iterations=5000, tolerance=1e-12),
                start,
                window,
                cycles,
                leads=leads,
                rng=np.random.default_rng([4, window]),
                progress=True,
                simulator=truth,
                rotating=True,
            )
            analysis[name].append(found.analysis_rmse[first:].mean(axis=0))
            forecast[name].append(found.forecast_rmse[:, first:].mean(axis=1))
            cells += [
                mean_and_spread(analysis[name][-1]),
                mean_and_spread(forecast[name][-1][10]),
                mean_and_spread(forecast[name][-1][-1]),
            ]
        difference = [forecast["deepNet"][-1][lead] - forecast["simulator"][-1][lead] for lead in (0, 10, 20)]
        rows.append((window, *cells, *map(mean_and_spread, difference), cycles - first))
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plots.rmse_against_window(
        options.windows,
        {name: (np.mean(v, axis=1), np.std(v, axis=1, ddof=1)) for name, v in analysis.items()},
        FINE,
        axes[0],
    )
    axes[0].set_title("analysis")
    at = options.windows.index(64) if 64 in options.windows else -1
    for (name, v), colour, style in zip(forecast.items(), plots.COLOURS, plots.STYLES):
        axes[1].errorbar(
            leads * FINE,
            v[at].mean(axis=1),
            v[at].std(axis=1, ddof=1),
            label=name,
            color=colour,
            linestyle=style,
            capsize=2,
        )
    axes[1].set(
        xlabel="lead (time units)",
        ylabel="RMSE (dimensionless)",
        title=f"forecast, window of {options.windows[at]} steps",
    )
    axes[1].legend()
    variables = {}
    for name in models:
        variables[f"{name}_analysis_rmse"] = ("window", "truth"), np.array(analysis[name])
        variables[f"{name}_forecast_rmse"] = ("window", "lead", "truth"), np.array(forecast[name])
    parts = [f"{name}: {what}" for name in models for what in ("analysis", "40 steps later", "80 steps later")]
    headings = ("window", *parts, "difference at the end", "40 later", "80 later", "windows a truth")
    return (
        f"RMSE, mean over {truths} truths with its 95 % interval; differences are deepNet - simulator.\n\n"
        + markdown(headings, rows),
        variables,
        figure,
    )


# --- all ------------------------------------------------------------------------------------------------------------

FIGURES = {"1": figure_1, "2": figure_2, "3": figure_3, "s3": figure_s3, "a3": figure_a3}


def network(text):
    """ "deepNet:1200" or "sqNet:1200:float64"."""
    name, steps, dtype = (*text.split(":"), "float32")[:3]
    if name not in BUILDERS or int(steps) not in SIZES:
        raise ValueError(text)
    return name, int(steps), np.dtype(dtype).type


DEFAULT = (
    "deepNet:1200",
    "deepNet:12000",
    "sqNet:1200",
    "sqNet:1200:float64",
    "bilinNet:1200",
    "bilinNet:1200:float64",
)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m l96kit.validation.deep_emulators",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--figure", nargs="+", choices=[*FIGURES, "a2"], default=list(FIGURES), help="a2 is part of 2")
    parser.add_argument(
        "--networks",
        nargs="+",
        type=network,
        default=[*map(network, DEFAULT)],
        help="for figure 2, such as deepNet:1200 or sqNet:12000:float64",
    )
    parser.add_argument("--seeds", type=int, default=3, help="networks that are trained")
    parser.add_argument("--windows", nargs="+", type=int, default=list(WINDOWS), help="for figure 3, in steps")
    parser.add_argument(
        "--length", type=float, default=4.0, help="time units of each truth that are scored in figure 3"
    )
    parser.add_argument("--states", type=int, default=1000, help="for figure 2")
    parser.add_argument("--quick", action="store_true", help="small: a look, not a measurement")
    parser.add_argument(
        "--store", action="store_true", help="keep networks, tables, numbers and figures in validation/results/"
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.states, options.windows = min(options.states, 20), options.windows[:2]
    for name in dict.fromkeys("2" if name == "a2" else name for name in options.figure):
        make = FIGURES[name]
        text, variables, figure = make(options)
        title = f"Deep emulators, figure {name}: {make.__doc__.splitlines()[0]}"
        print(f"\n{title}\n\n{text}")
        if options.store:
            _record.store(f"deep_emulators_{name}", {}, title, text)
            store.save(_record.RESULTS / f"deep_emulators_{name}.h5", variables)
            store.save_figure(figure, _record.RESULTS / f"deep_emulators_{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
