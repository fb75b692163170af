"""What the emulators of `validation.deep_emulators` are used for: 4D-Var (figure 3) and training on regions (A3).

Each figure is a function of the options that returns a table, variables to store, and a figure.
"""

import numpy as np

from l96kit import FourDVar, Training, networks, plots, twin
from l96kit.scores import rmse
from l96kit.validation._record import interval, markdown
from l96kit.validation._trained import DT, FINE, emulator, simulated, simulator, trained

REGIONS = (10, 40, 160, 640)


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
                interval(analysis[name][-1]),
                interval(forecast[name][-1][10]),
                interval(forecast[name][-1][-1]),
            ]
        difference = [forecast["deepNet"][-1][lead] - forecast["simulator"][-1][lead] for lead in (0, 10, 20)]
        rows.append((window, *cells, *map(interval, difference), cycles - first))
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
            networks.sq_net(),
            DT,
            region=region,
            batch=size,
            validate_every=2000,
            rate_patience=20,
            epochs=2 if options.quick else 5000,
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
