"""Public functions and classes with arguments that they take: what a fuzzer starts from. They are called by keyword."""

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l96kit import (
    baselines,
    checks,
    emulators,
    ensemble_variational,
    filters,
    localization,
    lorenz96,
    models,
    networks,
    observation_operators,
    observations,
    plots,
    predictability,
    propagators,
    scores,
    store,
    training,
    twin,
    twin_experiments,
    variational,
)


class Entry(NamedTuple):
    """A function and arguments that it takes. In those of `lists`, a list means something else than an array. `slow`
    ones compile much or run long."""

    call: Callable
    good: dict[str, Any]
    slow: bool = False
    lists: tuple = ()


# --- a model of one's own ---------------------------------------------------------------------------------------------


def decay(x, p):
    """dx/dt = -r x"""
    (r,) = p
    return -r[0] * x[0]


def decay_tl(x, p, x_tl, p_tl):
    (r,), (r_tl,) = p, p_tl
    return -r[0] * x_tl[0] - r_tl[0] * x[0]


def decay_ad(x, p, y_ad):
    (r,) = p
    return -r[0] * y_ad[0], (-x[0] * y_ad[0],)


# --- entries ----------------------------------------------------------------------------------------------------------

K, STEPS, SITES_SEEN, TIMES = 9, 4, 3, 4


def entries(folder):
    """All of them by name; files lie in `folder`."""
    about = _About(np.random.default_rng(0), Path(folder))
    return {
        **_of_models(about),
        **_of_propagators(about),
        **_of_diagnostics(about),
        **_of_observations(about),
        **_of_networks(about),
        **_of_assimilation(about),
        **_of_experiments(about),
        **_of_files(about),
        **_of_plots(about),
    }


class _About:
    """The arrays and objects that entries share."""

    def __init__(self, rng, folder):
        self.rng, self.folder = rng, folder
        self.model = models.Lorenz96(K, 8.0)
        self.run = propagators.Propagator(self.model, 0.05)
        self.x = 8 + rng.standard_normal((4, K))
        self.change = rng.standard_normal((4, K))
        self.states = rng.standard_normal((3, 4, K))
        self.operator = observation_operators.rotating(3, K)
        self.values = 8 + rng.standard_normal((TIMES, SITES_SEEN))
        self.seen = observations.Observations(self.operator, self.values, 0.5)
        self.cov = np.eye(SITES_SEEN) + 0.1
        self.background_cov = np.eye(K) + 0.1
        self.network = networks.sq_net()
        self.weights = 0.1 * rng.standard_normal(self.network.size)


def _of_models(a):
    p = {"r": np.linspace(0.5, 1.5, K)}
    functions = {"at_site": decay, "at_site_tl": decay_tl, "at_site_ad": decay_ad}
    plain = {"x": a.x, "F": np.full(K, 8.0)}
    run, steps = {**plain, "dt": 0.05, "scheme": "rk4"}, {"steps": STEPS, "every": 2}
    return {
        "models.Lorenz96": Entry(models.Lorenz96, {"K": K, "F": np.full(K, 8.0)}),
        "models.VissioLucarini20": Entry(
            models.VissioLucarini20, {"K": K, "F": 10.0, "G": np.full(K, 10.0), "alpha": 1.0, "gamma": 1.0}
        ),
        "models.Lorenz63": Entry(models.Lorenz63, {"sigma": 10.0, "rho": np.full((3, 1), 28.0), "beta": 8 / 3}),
        "models.KuramotoSivashinsky": Entry(models.KuramotoSivashinsky, {"sites": 16, "length": 22.0}),
        "models.StencilModel": Entry(
            models.StencilModel,
            {**functions, "sites": K, "reach": 2, "parameters": p, "name": "decay", "fields": 1},
        ),
        "models.Model.tendency": Entry(a.model.tendency, {"x": a.x, "out": None}),
        "models.Model.tendency_tl": Entry(
            a.model.tendency_tl, {"x": a.x, "x_tl": a.change, "parameters_tl": {"F": np.ones(K)}}
        ),
        "models.Model.tendency_ad": Entry(a.model.tendency_ad, {"x": a.x, "y_ad": a.change}),
        "models.Model.jacobian": Entry(a.model.jacobian, {"x": a.x}),
        "lorenz96.tendency": Entry(lorenz96.tendency, {**plain, "out": None}),
        "lorenz96.tendency_tl": Entry(lorenz96.tendency_tl, {**plain, "x_tl": a.change, "F_tl": np.ones(K)}),
        "lorenz96.tendency_ad": Entry(lorenz96.tendency_ad, {**plain, "y_ad": a.change}),
        "lorenz96.step": Entry(lorenz96.step, {**run, "out": None}, slow=True),
        "lorenz96.step_tl": Entry(lorenz96.step_tl, {**run, "x_tl": a.change, "F_tl": np.ones(K)}, slow=True),
        "lorenz96.step_ad": Entry(lorenz96.step_ad, {**run, "y_ad": a.change}, slow=True),
        "lorenz96.trajectory": Entry(lorenz96.trajectory, {**run, **steps, "out": None}, slow=True),
        "lorenz96.trajectory_tl": Entry(
            lorenz96.trajectory_tl, {**run, **steps, "x_tl": a.change, "F_tl": np.ones(K)}, slow=True
        ),
        "lorenz96.trajectory_ad": Entry(lorenz96.trajectory_ad, {**run, "y_ad": a.states, "every": 2}, slow=True),
    }


def _of_propagators(a):
    run, x = a.run, {"x": a.x}
    steps = {"steps": STEPS, "every": 2}

    def product(x, v, steps):
        return run.linear_operator(x, steps) @ v

    def cost(y, t):
        return (y**2).sum(axis=(0, -1)) / 2, y

    return {
        "propagators.Propagator": Entry(
            propagators.Propagator,
            {"model": a.model, "dt": 0.05, "scheme": "heun", "device": "cpu", "threads": 2},
        ),
        "propagators.Propagator.step": Entry(run.step, {**x, "out": None}),
        "propagators.Propagator.forecast": Entry(run.forecast, {**x, "steps": STEPS, "out": None, "progress": False}),
        "propagators.Propagator.trajectory": Entry(run.trajectory, {**x, **steps, "out": None, "progress": False}),
        "propagators.Propagator.step_tl": Entry(
            run.step_tl, {**x, "x_tl": a.change, "parameters_tl": {"F": 1.0}}, slow=True
        ),
        "propagators.Propagator.trajectory_tl": Entry(
            run.trajectory_tl, {**x, "x_tl": a.change, **steps, "parameters_tl": {"F": np.ones(K)}}, slow=True
        ),
        "propagators.Propagator.step_ad": Entry(run.step_ad, {**x, "y_ad": a.change}),
        "propagators.Propagator.trajectory_ad": Entry(run.trajectory_ad, {**x, "y_ad": a.states, "every": 2}),
        "propagators.Propagator.gradient": Entry(
            run.gradient, {**x, "cost": cost, **steps, "checkpoints": 1, "parameters": True}
        ),
        "propagators.Propagator.jacobian": Entry(run.jacobian, {**x, "steps": 1}),
        "propagators.Propagator.linear_operator": Entry(
            product, {"x": a.x[0], "v": a.change[0], "steps": 1}, slow=True
        ),
    }


def _of_diagnostics(a):
    x, ensemble, truth = a.x[0], a.x, a.change[0]
    spectrum = {"steps": 20, "count": 3, "every": 10, "spin_up": 10, "progress": False}
    return {
        "checks.dot_test": Entry(
            lambda **given: np.round(checks.dot_test(_thrice, _thrice, **given), 6),
            {"x": x, "y": truth, "rng": None, "tolerance": 1e-13},
        ),
        "checks.taylor_test": Entry(
            lambda **given: np.round(checks.taylor_test(np.sin, lambda h: np.cos(given["x"]) * h, **given), 1),
            {"x": x, "direction": truth, "rng": None},
        ),
        "checks.complex_step": Entry(checks.complex_step, {"forward": np.exp, "x": x, "direction": truth}),
        "checks.check_model": Entry(checks.check_model, {"model": a.model, "x": a.x, "rng": None}),
        "predictability.lyapunov_spectrum": Entry(
            predictability.lyapunov_spectrum, {"propagator": a.run, "x": x, **spectrum, "rng": None}
        ),
        "predictability.kaplan_yorke_dimension": Entry(
            predictability.kaplan_yorke_dimension, {"exponents": np.array([1.5, 0.0, -1.0, -9.0])}
        ),
        "predictability.singular_vectors": Entry(
            predictability.singular_vectors, {"propagator": a.run, "x": x, "steps": 2, "count": K}
        ),
        "predictability.sensitivity": Entry(
            predictability.sensitivity, {"propagator": a.run, "x": x, "steps": 2, "site": 4}
        ),
        "scores.rmse": Entry(scores.rmse, {"x": ensemble, "truth": truth}),
        "scores.spread": Entry(scores.spread, {"ensemble": ensemble}),
        "scores.crps": Entry(scores.crps, {"ensemble": ensemble, "truth": truth, "fair": True}),
        "scores.rank_histogram": Entry(
            lambda rng, **given: scores.rank_histogram(**given, rng=_fresh(rng)),
            {"ensemble": ensemble, "truth": truth, "rng": np.random.default_rng(3)},
        ),
        "localization.gaspari_cohn": Entry(
            localization.gaspari_cohn, {"distance": np.linspace(0, 9, 7), "half_width": 2.0}
        ),
        "localization.Localization": Entry(localization.Localization, {"radius": 2.0, "taper": "gauss"}),
        "localization.Localization.coefficients": Entry(
            localization.Localization(2.0).coefficients, {"distance": np.linspace(0, 9, 7)}
        ),
        "localization.ring_distance": Entry(
            localization.ring_distance, {"a": np.arange(9.0), "b": np.arange(9.0)[::-1] / 2, "sites": K}
        ),
    }


def _thrice(u):
    return tuple(3.0 * part for part in u) if isinstance(u, tuple) else 3.0 * u


def _of_observations(a):
    operators, op = observation_operators, a.operator
    times = np.array([0, 1, 2, 0])
    y = 8 + a.rng.standard_normal((TIMES, K))
    seen_by_two = observations.Observations(op, np.stack([a.values, a.values + 1], axis=1), 0.5)
    several = operators.at_sites(np.arange(12).reshape(2, 2, 3) % K, K)
    return {
        "observation_operators.ObservationOperator": Entry(
            operators.ObservationOperator,
            {"sites": K, "indices": op.indices, "weights": op.weights, "function": "tanh"},
        ),
        "observation_operators.ObservationOperator.__getitem__": Entry(
            lambda window: several[window].indices, {"window": 1}, lists=("window",)
        ),
        "observation_operators.ObservationOperator.places": Entry(op.places, {"ring": K}),
        "observation_operators.ObservationOperator.pointwise": Entry(op.pointwise, {"function": "square"}),
        "observation_operators.ObservationOperator.observe": Entry(op.observe, {"x": y, "time": times}),
        "observation_operators.ObservationOperator.observe_tl": Entry(
            op.observe_tl, {"x": y, "x_tl": y[::-1].copy(), "time": times}
        ),
        "observation_operators.ObservationOperator.observe_ad": Entry(
            op.observe_ad, {"x": y, "y_ad": a.values, "time": times}
        ),
        "observation_operators.Pointwise": Entry(
            operators.Pointwise, {"value": lambda u: 2.0 * u, "slope": lambda u: 2.0}
        ),
        "observation_operators.at_sites": Entry(operators.at_sites, {"which": np.array([1, 4, 7]), "sites": K}),
        "observation_operators.every_site": Entry(operators.every_site, {"sites": K}),
        "observation_operators.every": Entry(operators.every, {"step": 3, "sites": K, "start": 1, "fields": 1}),
        "observation_operators.rotating": Entry(
            operators.rotating, {"step": 3, "sites": K, "fields": 1, "backwards": True}
        ),
        "observation_operators.random_sites": Entry(
            lambda rng, **given: operators.random_sites(**given, rng=_fresh(rng)),
            {"number": 3, "sites": K, "times": 2, "rng": np.random.default_rng(3)},
        ),
        "observation_operators.linear": Entry(operators.linear, {"matrix": a.change}),
        "observation_operators.interpolation": Entry(
            operators.interpolation, {"places": np.array([0.5, 3.25]), "sites": K}
        ),
        "observations.Observations": Entry(
            observations.Observations, {"operator": op, "values": a.values, "sigma": np.full((TIMES, 3), 0.5)}
        ),
        "observations.Observations.__getitem__": Entry(
            lambda window: seen_by_two[window].values, {"window": 1}, lists=("window",)
        ),
        "observations.Observations.of": Entry(a.seen.of, {"y": y}),
        "observations.Observations.misfit": Entry(a.seen.misfit, {"y": y}),
        "observations.observe": Entry(
            lambda rng, **given: observations.observe(**given, rng=_fresh(rng)),
            {"truth": y, "what": 3, "sigma": 1.0, "rng": np.random.default_rng(3), "rotating": True},
        ),
        "observations.interpolate": Entry(observations.interpolate, {"observations": a.seen, "sites": K}),
    }


def _fresh(rng):
    """A generator that has not drawn yet, in place of one."""
    return np.random.default_rng(3) if isinstance(rng, np.random.Generator) else rng


def _of_networks(a):
    network, weights = a.network, a.weights
    y = a.run.trajectory(a.x, 30)
    fast = training.Training(network, 0.05, batch=4, epochs=1)
    layers = (networks.convolution(3, 4), networks.square(), networks.convolution(1, of=[2, 0]))
    settings = {field.name: getattr(fast, field.name) for field in dataclasses.fields(fast)}
    trained = cache(lambda: fast.fit(y, validation=0.2))
    of_times = {"slow": True, "lists": ("trajectories",)}
    return {
        "networks.convolution": Entry(
            networks.convolution, {"channels": 3, "width": 2, "of": [1, 0], "bias": True}, lists=("of",)
        ),
        "networks.product": Entry(networks.product, {"of": [1, 0], "channels": 2}, lists=("of",)),
        "networks.add": Entry(networks.add, {"of": [1, 0]}, lists=("of",)),
        "networks.relu": Entry(networks.relu, {"of": 1}, lists=("of",)),
        "networks.leaky_relu": Entry(networks.leaky_relu, {"of": 1}, lists=("of",)),
        "networks.tanh": Entry(networks.tanh, {"of": (1, 0, 2)}, lists=("of",)),
        "networks.square": Entry(networks.square, {"of": None}, lists=("of",)),
        "networks.Network": Entry(networks.Network, {"layers": layers, "name": "sqNet"}),
        "networks.Network.checked_weights": Entry(network.checked_weights, {"weights": weights}),
        "networks.Network.initial_weights": Entry(
            lambda rng, dtype: network.initial_weights(_fresh(rng), dtype),
            {"rng": np.random.default_rng(3), "dtype": np.float64},
        ),
        "networks.sq_net_of_lorenz96": Entry(networks.sq_net_of_lorenz96, {"F": 8.0, "dtype": np.float64}),
        "networks.bilin_net_of_lorenz96": Entry(networks.bilin_net_of_lorenz96, {"F": 8.0, "dtype": np.float64}),
        "emulators.Emulator": Entry(
            emulators.Emulator, {"network": network, "weights": weights, "sites": K, "base": None}
        ),
        "training.Training": Entry(training.Training, settings),
        "training.Training.gradient": Entry(fast.gradient, {"weights": weights, "trajectories": y}, **of_times),
        "training.Training.loss": Entry(fast.loss, {"weights": weights, "trajectories": y}, **of_times),
        "training.Training.fit": Entry(
            fast.fit,
            {"trajectories": y, "validation": 0.2, "seeds": 2, "weights": weights, "checkpoint": None},
            **of_times,
        ),
        "training.Trained.save": Entry(
            lambda path, attributes: trained().save(path, attributes),
            {"path": a.folder / "trained.h5", "attributes": {"seed": 3}},
            slow=True,
        ),
    }


def _of_assimilation(a):
    methods, radius = {"members": 4, "inflation": 1.05, "rotation": False}, localization.Localization(2.0)
    var = variational.FourDVar(a.run, a.background_cov, iterations=3)
    start, background = a.x[0], a.x[1]
    values = np.stack([a.values, a.values + 0.1], axis=1)
    seen = observations.Observations(a.operator, values, 0.5)
    truth = np.stack([a.x[:2]] * TIMES)
    ensemble = 8 + a.rng.standard_normal((2, 4, K))
    cycles = {"propagator": a.run, "observations": seen, "every": 2, "truth": truth, "progress": False}
    of_start = {**cycles, "start": ensemble[:, 0]}
    window = {"observations": a.seen, "background": background}
    scaled = baselines.CycledFourDVar(a.background_cov)
    return {
        "filters.EnKF": Entry(filters.EnKF, methods),
        "filters.ETKF": Entry(filters.ETKF, methods),
        "filters.ESRF": Entry(filters.ESRF, methods),
        "filters.EnKFN": Entry(filters.EnKFN, {**methods, "strength": 1.0}),
        "filters.LETKF": Entry(filters.LETKF, {**methods, "localization": radius}),
        "filters.IEnKS": Entry(filters.IEnKS, {**methods, "lag": 1, "iterations": 3, "tolerance": 0.0}),
        "filters.ParticleFilter": Entry(filters.ParticleFilter, {**methods, "jitter": 1.0}),
        "filters.EnsembleFilter.assimilate": Entry(
            filters.ETKF(4).assimilate,
            {**cycles, "ensemble": ensemble, "rng": None, "keep": "means", "probabilistic": True},
            slow=True,
        ),
        "filters.Assimilation.averages": Entry(
            lambda burn_in: filters.ETKF(4).assimilate(a.run, seen, ensemble, 2).averages(burn_in),
            {"burn_in": 1},
            slow=True,
        ),
        "ensemble_variational.FourDEnVar": Entry(
            ensemble_variational.FourDEnVar,
            {**methods, "window": 2, "localization": radius},
        ),
        "variational.FourDVar": Entry(
            variational.FourDVar,
            {
                "propagator": a.run,
                "background_cov": np.full(K, 0.5),
                "every": 1,
                "iterations": 3,
                "tolerance": 1e-8,
                "model_cov": a.background_cov,
                "minimiser": "Gauss-Newton",
            },
        ),
        "variational.FourDVar.cost": Entry(var.cost, {"x": start, **window, "model_errors": None}),
        "variational.FourDVar.trajectory": Entry(var.trajectory, {"x": start, "times": 3, "model_errors": None}),
        "variational.FourDVar.assimilate": Entry(var.assimilate, {"first_guess": start, **window, "progress": False}),
        "baselines.climatology": Entry(
            lambda rng, **given: baselines.climatology(**given, rng=_fresh(rng)),
            {"propagator": a.run, "rng": np.random.default_rng(3), "states": 6, "spin_up": 0.5, "spacing": 0.1},
        ),
        "baselines.ThreeDVar": Entry(baselines.ThreeDVar, {"background_cov": a.background_cov}),
        "baselines.ThreeDVar.assimilate": Entry(baselines.ThreeDVar(a.background_cov).assimilate, of_start),
        "baselines.OptimalInterpolation": Entry(
            baselines.OptimalInterpolation, {"background_cov": a.background_cov, "mean": start}
        ),
        "baselines.Climatology": Entry(baselines.Climatology, {"mean": start}),
        "baselines.Climatology.assimilate": Entry(baselines.Climatology(start).assimilate, of_start),
        "baselines.CycledFourDVar": Entry(
            baselines.CycledFourDVar,
            {"background_cov": a.background_cov, "scale": 1.0, "lag": 1, "iterations": 3, "tolerance": 0.0},
        ),
        "baselines.CycledFourDVar.assimilate": Entry(scaled.assimilate, of_start, slow=True),
    }


def _of_experiments(a):
    setting = {"propagator": a.run, "operator": a.operator, "every": 2, "cycles": 4, "seeds": (0, 1), "spin_up": 1.0}
    experiment = twin_experiments.TwinExperiment(**setting)
    method = baselines.ThreeDVar(a.background_cov)
    found = experiment.run(method)
    var, start = variational.FourDVar(a.run, iterations=2), a.x[:2]
    cycled = {"window": 2, "cycles": 1, "number": 3, "sigma": 1.0, "leads": (0, 2), "simulator": None}
    return {
        "twin_experiments.TwinExperiment": Entry(
            twin_experiments.TwinExperiment,
            {**setting, "sigma": 1.0, "start": "truth", "spread": 1.0, "cov": None, "simulator": None},
        ),
        "twin_experiments.TwinExperiment.ensemble": Entry(experiment.ensemble, {"members": 3}),
        "twin_experiments.TwinExperiment.run": Entry(
            experiment.run, {"method": method, "keep": "means", "probabilistic": True, "progress": False}
        ),
        "twin_experiments.TwinExperiment.sweep": Entry(
            experiment.sweep,
            {"method": baselines.CycledFourDVar(a.background_cov), "scale": np.array([0.5, 1.0]), "keep": "means"},
            slow=True,
        ),
        "twin_experiments.TwinExperiment.lead_errors": Entry(
            experiment.lead_errors, {"found": found, "leads": (0, 1), "burn_in": 1, "stride": 1}
        ),
        "twin.spun_up": Entry(
            lambda rng, **given: twin.spun_up(**given, rng=_fresh(rng)),
            {"propagator": a.run, "truths": 2, "time": 1.0, "rng": np.random.default_rng(3)},
        ),
        "twin.cycled_fourdvar": Entry(
            lambda rng, **given: twin.cycled_fourdvar(**given, rng=_fresh(rng)),
            {"method": var, "start": start, **cycled, "rng": np.random.default_rng(3), "rotating": True},
        ),
    }


def _of_files(a):
    from matplotlib.figure import Figure

    array, net, figure = a.folder / "array.h5", a.folder / "net.h5", a.folder / "figure.png"
    store.save(array, {"x": (("time", "site"), a.x)})
    networks.save(net, a.network, a.weights)
    drawn = Figure((1, 1))

    def saved(path, variables, attributes, coordinates):
        store.save(path, variables, attributes, coordinates)
        return store.load(path)

    def saved_network(path, network, weights, attributes):
        networks.save(path, network, weights, attributes)
        return networks.load(path)[1:]

    return {
        "store.writable_folder": Entry(store.writable_folder, {"path": a.folder, "name": "out", "make": True}),
        "store.save": Entry(
            saved,
            {
                "path": a.folder / "new.h5",
                "variables": {"x": (("time", "site"), a.x)},
                "attributes": {"seed": 3},
                "coordinates": {"time": np.arange(4.0)},
            },
        ),
        "store.load": Entry(store.load, {"path": array}),
        "store.save_figure": Entry(store.save_figure, {"figure": drawn, "path": figure}),
        "networks.save": Entry(
            saved_network,
            {"path": a.folder / "new-net.h5", "network": a.network, "weights": a.weights, "attributes": {"seed": 3}},
        ),
        "networks.load": Entry(networks.load, {"path": net}),
    }


def _of_plots(a):
    series, field, dt = np.abs(a.change[0]) + 0.1, a.change, {"dt": 0.1}

    def drawn(draw):
        """The numbers of lines and images, in axes of their own."""

        def draw_alone(**given):
            from matplotlib.figure import Figure

            figure = Figure((2, 2))
            draw(**given, **({"figure": figure} if draw is plots.hovmollers else {"ax": figure.add_subplot()}))
            lines = [np.asarray(line.get_xydata()) for ax in figure.axes for line in ax.lines]
            return lines, [np.ma.filled(image.get_array(), np.nan) for ax in figure.axes for image in ax.images]

        return draw_alone

    calls = {
        "hovmoller": {"field": field, **dt, "title": "x", "limit": 2.0, "diverging": True, "bar": None},
        "hovmollers": {"fields": {"truth": field, "error": field}, **dt},
        "rmse_against_window": {"windows": np.arange(1.0, 10), "scores": {"a": (series, series)}, **dt},
        "sensitivity": {"gradients": field, **dt, "site": 3},
        "growth": {"times": np.arange(4.0), "norms": np.abs(field) + 0.1, "rate": 1.7},
        "lyapunov": {"exponents": series},
        "error_and_spread": {"rmse": series, "spread": series, **dt},
        "rank_histogram": {"counts": series},
        "spread_skill": {"spread": series, "rmse": series, "bins": 3},
        "errors_ahead": {"leads": np.arange(9.0), "errors": {"a": series}},
    }
    return {f"plots.{name}": Entry(drawn(getattr(plots, name)), good) for name, good in calls.items()}
