"""What `l96kit demo` does: the main job, from simulation to assimilation, with tables and figures."""

import time

import numpy as np

from l96kit import _arrays, checks, demo_emulator, demo_filters, plots, predictability, store, twin
from l96kit.models import Lorenz96
from l96kit.propagators import Propagator
from l96kit.variational import FourDVar

LEAD = 40  # steps after the end of a window at which the forecast is scored
SPIN_UP_CYCLES = 3


def run(out, seed, windows, truths, cycles, emulator):
    """Run the demonstration and write its results to the folder `out`."""
    windows = sorted({_arrays.count(window, "windows", 2) for window in windows})
    _arrays.count(truths, "truths", 2)
    _arrays.count(cycles, "cycles", SPIN_UP_CYCLES + 1)
    _arrays.one_of(emulator, tuple(demo_emulator.KINDS), "emulator")
    rng = np.random.default_rng(_arrays.count(seed, "seed", 0))
    out = store.writable_folder(out)
    started = time.perf_counter()
    model = Lorenz96(K=40, F=8.0)

    print("l96kit demo: Lorenz-96, K = 40, F = 8\n")
    slow, fast = Propagator(model, dt=0.05), Propagator(model, dt=0.0125)
    _compile(slow)
    print("Derivatives")
    _derivatives(slow, rng)

    print("\nHow errors grow")
    growth = _growth(slow, rng)

    print("\n4D-Var: 10 of 40 sites observed at each step of 0.0125, error 1, no background term")
    results = {}
    for window in windows:
        start = twin.spun_up(fast, truths, 50, rng)
        results[window] = twin.cycled_fourdvar(
            FourDVar(fast), start, window, cycles, leads=(LEAD,), rng=rng, progress=True
        )
    scores = _scores(results)
    _print_scores(scores, windows, fast.dt, truths, cycles)

    print(f"\nAn emulator: a network trained on {demo_emulator.STEPS:,} steps of {slow.dt}")
    rollout, of_emulator = demo_emulator.run(out, emulator, seed, rng, slow, fast, truths, cycles, SPIN_UP_CYCLES)

    print(f"\nEnsemble filters: 10 of 40 sites in turn, observed every {demo_filters.EVERY * slow.dt:g}, error 1")
    filtered, of_filters = demo_filters.run(seed, slow)

    example = _example(fast, rng)
    attributes = {"model": "Lorenz-96", "K": 40, "F": 8.0, "dt": fast.dt, "scheme": "rk4", "seed": seed}
    _write(out, windows, scores, growth, example, {**of_emulator, **of_filters}, attributes)
    _draw(out, windows, scores, growth, example, rollout, filtered, slow, fast)
    print(
        f"\n{time.perf_counter() - started:.0f} s. Results: {out / 'demo.h5'} (xarray opens it) and figures beside it:"
    )
    for figure in sorted(out.glob("*.png")):
        print(f"  {figure}")


def _compile(propagator):
    """Have everything compiled that the demonstration uses, and say so when it takes time."""
    started = time.perf_counter()
    print("Kernels: compiling on the first run, from the cache later ... ", end="", flush=True)
    for members in (1, 16):
        x = np.full((members, 40), 8.0)
        propagator.trajectory_tl(x, x, 1)
        propagator.step_ad(x, x)
    print(f"{time.perf_counter() - started:.1f} s\n")


def _derivatives(propagator, rng):
    """A table of dot tests and Taylor slopes."""
    model = propagator.model
    x = propagator.forecast(rng.standard_normal((8, model.sites)), 400)
    rows = [("tendency", *_errors(model.tendency, model.tendency_tl, model.tendency_ad, x, model, rng))]
    for scheme in ("euler", "heun", "rk4", "rk38"):
        other = Propagator(model, propagator.dt, scheme)
        rows.append((f"step, {scheme}", *_errors(other.step, other.step_tl, other.step_ad, x, model, rng)))

    def many_tl(x, x_tl, parameters_tl):
        return propagator.trajectory_tl(x, x_tl, 20, 1, parameters_tl)

    many = _errors(lambda x: propagator.trajectory(x, 20), many_tl, propagator.trajectory_ad, x, model, rng)
    rows.append(("trajectory, rk4, 20 steps", *many))
    print(f"  {'operator':<28}{'dot test':>10}   Taylor slopes (1 and 2)")
    for name, error, (first, second) in rows:
        print(f"  {name:<28}{error:>10.1e}   {first:.3f}  {second:.3f}")


def _errors(forward, tl, ad, x, model, rng):
    names = list(model.parameters)
    space = (x, *(np.asarray(model.parameters[name]) for name in names))

    def transposed(v):
        x_ad, parameters_ad = ad(x, v)
        return (x_ad, *(parameters_ad[name] for name in names))

    dot = checks.dot_test(lambda u: tl(x, u[0], dict(zip(names, u[1:]))), transposed, space, rng=rng)
    return dot, checks.taylor_test(forward, lambda h: tl(x, h, None), x, rng=rng)


def _growth(propagator, rng):
    """Lyapunov exponents, and the growth of gradients against the leading one."""
    x = propagator.forecast(rng.standard_normal(40), 2000)
    spectrum = predictability.lyapunov_spectrum(propagator, x, 40_000, progress=True)
    leading, spread = spectrum.exponents[0], spectrum.spread[0]
    print(f"  leading Lyapunov exponent    {leading:.3f} +- {spread:.3f} per time unit (literature: about 1.67)")
    print(f"  positive exponents           {spectrum.positive} beyond three standard errors (about 13)")
    print(f"  Kaplan-Yorke dimension       {spectrum.dimension:.1f} (about 27)")
    starts = propagator.trajectory(spectrum.state, 6400, every=100)[1:]
    steps = 100
    norms = np.array(
        [[np.linalg.norm(g) for g in predictability.sensitivity(propagator, s, steps, 19)] for s in starts]
    )
    times = np.arange(steps + 1) * propagator.dt
    norms = norms[:, ::-1].T  # row t: the gradient of a target t steps later
    late = times >= 1.5
    rate = np.polyfit(times[late], np.log(norms[late]).mean(axis=1), 1)[0]
    print(f"  growth of adjoint gradients  {rate:.3f} per time unit, over times 1.5 to 5 and {len(starts)} starts")
    gains, _, _ = predictability.singular_vectors(propagator, spectrum.state, 20)
    print(f"  leading singular values over one time unit: {', '.join(f'{gain:.1f}' for gain in gains)}")
    return {"spectrum": spectrum, "times": times, "norms": norms, "rate": rate}


def _scores(results):
    """Mean and standard deviation over truths of RMSEs averaged over the scored cycles: label -> (mean, deviation)."""
    series = {
        "background": lambda twin: twin.background_rmse,
        "analysis": lambda twin: twin.analysis_rmse,
        "forecast": lambda twin: twin.forecast_rmse[0],
    }
    return {
        label: tuple(np.transpose([_mean_over_truths(of(result)) for result in results.values()]))
        for label, of in series.items()
    }


def _mean_over_truths(scores):
    means = scores[SPIN_UP_CYCLES:].mean(axis=0)
    return means.mean(), means.std(ddof=1)


def _print_scores(scores, windows, dt, truths, cycles):
    scored = cycles - SPIN_UP_CYCLES
    print(f"  RMSE at the start of the window; of the forecast {LEAD} steps ({LEAD * dt:g} time units) after its end.")
    print(f"  Mean +- standard deviation over {truths} truths, each over {scored} windows. A background is an earlier")
    print("  analysis, run through its window, where most of its errors died down: without a background term, the")
    print("  start of the next window is known less well than that.\n")
    print(f"  {'window':>14}{'background':>17}{'analysis':>17}{'forecast':>17}")
    for index, window in enumerate(windows):
        cells = "".join(f"{mean[index]:>9.3f} +- {deviation[index]:.3f}" for mean, deviation in scores.values())
        print(f"  {window:>3} steps {window * dt:>5.2f}{cells}")


def _example(propagator, rng):
    """One truth observed all along and assimilated in windows of 32 steps, for the picture."""
    window, cycles = 32, 12
    start = twin.spun_up(propagator, 1, 50, rng)
    result = twin.cycled_fourdvar(FourDVar(propagator), start, window, cycles, leads=(0,), rng=rng)
    truth, analysis = (propagator.trajectory(field[:, 0], window - 1) for field in (result.truth, result.analysis))
    truth, analysis, observed = (
        np.concatenate(field) for field in (truth.swapaxes(0, 1), analysis.swapaxes(0, 1), result.observed[:, :, 0])
    )
    return {"truth": truth, "observed": observed, "analysis": analysis, "error": analysis - truth}


def _write(out, windows, scores, growth, example, more, attributes):
    spectrum = growth["spectrum"]
    variables = {
        "lyapunov_exponent": (("exponent",), spectrum.exponents, {"units": "per time unit"}),
        "lyapunov_spread": (("exponent",), spectrum.spread, {"units": "per time unit"}),
        "gradient_length": (("lead", "start"), growth["norms"]),
    }
    for label, (mean, deviation) in scores.items():
        variables[f"{label}_rmse"] = (("window",), mean)
        variables[f"{label}_rmse_deviation"] = (("window",), deviation)
    variables.update(more)
    for label, field in example.items():
        variables[label] = (("time", "site"), field)
    coordinates = {
        "window": (np.array(windows), "time steps"),
        "time": (np.arange(len(example["truth"])) * attributes["dt"], "time units"),
        "lead": (growth["times"], "time units"),
    }
    store.save(out / "demo.h5", variables, attributes, coordinates)


def _draw(out, windows, scores, growth, example, rollout, filtered, slow, fast):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    def save(figure, name):
        store.save_figure(figure, out / name)
        plt.close(figure)

    save(plots.hovmollers(example, fast.dt), "hovmoller.png")
    save(plots.hovmollers(rollout, slow.dt), "emulator.png")
    save(plots.error_and_spread(*filtered, demo_filters.EVERY * slow.dt).figure, "filter.png")
    labels = {"forecast": f"forecast {LEAD * fast.dt:g} after the end"}
    named = {labels.get(label, label): score for label, score in scores.items()}
    save(plots.rmse_against_window(windows, named, fast.dt).figure, "rmse.png")
    gradients = predictability.sensitivity(slow, growth["spectrum"].state, 20, 19)
    save(plots.sensitivity(gradients, slow.dt, 19).figure, "sensitivity.png")
    leading = growth["spectrum"].exponents[0]
    save(plots.growth(growth["times"], growth["norms"], leading).figure, "growth.png")
    save(plots.lyapunov(growth["spectrum"].exponents).figure, "lyapunov.png")
