"""How close the emulators of `validation.deep_emulators` come to the simulator: figures 1, 2 and S3.

Each figure is a function of the options that returns a table, variables to store, and a figure.
"""

import numpy as np

from l96kit import networks, plots, sensitivity
from l96kit._progress import progress_bar
from l96kit.scores import rmse
from l96kit.validation._record import interval, markdown
from l96kit.validation._trained import DT, emulator, simulated, simulator, trained


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


def independent_states(count, dtype=np.float32, seed=7):
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
    rows, variables = [], {}
    for name, steps, dtype in options.networks:
        x = independent_states(options.states, dtype)
        weights, about = trained(name, steps, options.seeds, dtype, options.store)
        found = [errors_of(emulator(name, w), x) for w in weights]
        one_step, jacobians, rollouts = map(np.array, zip(*found))
        key = f"{name}_{steps}_{np.dtype(dtype).name}"
        variables[f"{key}_rollout_rmse"] = ("seed", "step"), rollouts
        variables[f"{key}_step_rmse"] = ("seed",), one_step
        variables[f"{key}_jacobian_error"] = ("seed",), jacobians
        lyapunov = rollouts[:, round(0.6 / DT)]
        rows.append(
            (
                _label(name, steps, dtype),
                ", ".join(f"{value:.3g}" for value in one_step),
                interval(one_step),
                interval(jacobians),
                interval(lyapunov),
                interval(rollouts[:, round(3 * 0.6 / DT)]),
                ", ".join(map(str, about["updates"][: options.seeds])),
            )
        )
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
    return text, variables, _draw_errors(options.networks, variables)


def _label(name, steps, dtype):
    return f"{name}, N = {steps:,}, {np.dtype(dtype).name}"


def _draw_errors(chosen, variables):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 5), layout="constrained")
    titles = {"rollout_rmse": "rollouts", "step_rmse": "one step", "jacobian_error": "Jacobian of one step"}
    for (name, steps, dtype), colour, style in zip(chosen, plots.COLOURS * 3, plots.STYLES * 5):
        key = f"{name}_{steps}_{np.dtype(dtype).name}"
        curves, one_step, jacobians = (variables[f"{key}_{what}"][1] for what in titles)
        times = np.arange(curves.shape[1]) * DT
        labels = [_label(name, steps, dtype), *[None] * (len(curves) - 1)]
        axes[0].plot(times, np.maximum(curves.T, 1e-17), color=colour, linestyle=style, label=labels)
        axes[1].plot(np.full(len(one_step), steps), one_step, "o", color=colour)
        axes[2].plot(np.full(len(jacobians), steps), jacobians, "o", color=colour)
    for ax, title in zip(axes, titles.values()):
        ax.set(yscale="log", title=title, ylabel="Frobenius norm" if ax is axes[2] else "RMSE (dimensionless)")
    axes[0].set(xlabel="time (time units)")
    sizes = sorted({steps for _, steps, _ in chosen})
    for ax in axes[1:]:
        ax.set(xlabel="N (steps)", xscale="log")
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.set_xticks([], minor=True)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


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
