"""Twin experiments: a truth from the model, observations drawn from it, and how well it is found again."""

import math
from dataclasses import dataclass

import numpy as np

from l96kit import _arrays
from l96kit._objects import Result
from l96kit._progress import progress_bar
from l96kit._random import generator
from l96kit._steps import step_count, steps_of
from l96kit.observations import interpolate, observe
from l96kit.propagators import Propagator, checked_propagator
from l96kit.scores import rmse
from l96kit.variational import FourDVar


@dataclass(frozen=True, eq=False, repr=False)
class Twin(Result):
    """A cycled 4D-Var experiment; truths are independent of one another.

    window : time steps in a window; it is also how far one window lies from the next
    truth : (cycle, truths, site), at the start of each window
    background : (cycle, truths, site), the first guess: the last analysis one window later
    analysis : (cycle, truths, site)
    observed : (cycle, time, truths, site), what was observed at each step of the windows, NaN where nothing was
    forecast_leads : (lead,), time steps after the end of a window
    forecast_rmse : (lead, cycle, truths), of the forecast from the analysis
    evaluations : (cycle, truths), gradients that the minimiser asked for
    """

    window: int
    truth: np.ndarray
    background: np.ndarray
    analysis: np.ndarray
    observed: np.ndarray
    forecast_leads: np.ndarray
    forecast_rmse: np.ndarray
    evaluations: np.ndarray

    @property
    def background_rmse(self):
        """(cycle, truths)"""
        return rmse(self.background, self.truth)

    @property
    def analysis_rmse(self):
        """(cycle, truths)"""
        return rmse(self.analysis, self.truth)


def spun_up(propagator: Propagator, truths, time, rng, progress=False):
    """States (truths, site) on the attractor: small random perturbations of rest, run for `time` time units.

    progress : show a bar (on a terminal or in a notebook)
    """
    shape = _arrays.count(truths, "truths"), checked_propagator(propagator).model.sites
    _arrays.require_memory(8 * math.prod(shape), "truths", "take fewer")
    steps, start = steps_of(time, "time", propagator), generator(rng).standard_normal(shape)
    return propagator.forecast(start, steps, progress=progress)


def cycled_fourdvar(
    method: FourDVar,
    start,
    window,
    cycles,
    number=10,
    sigma=1.0,
    leads=(0, 20, 40),
    rng=None,
    progress=False,
    simulator: Propagator | None = None,
    rotating=False,
) -> Twin:
    """Strong-constraint 4D-Var in successive windows, with some sites observed at each step, the first one included.

    Parameters
    ----------
    method : model, background term and minimiser
    start : (truths, site), states of the truth at the start of the first window
    window, cycles : time steps in a window, and how many windows follow one another
    number, sigma : sites observed at each step, drawn anew each time, and the standard deviation of the error
    leads : time steps after the end of a window at which the forecast from its analysis is scored, ascending
    simulator : what the truth comes from, at the same dt; None takes the method's own model, which is then perfect
    rotating : whether sites are observed in turn (see `observations.observe`)

    The first window begins from the first observations, interpolated round the ring; with a background term that is
    also its background.

    Source: Fertig, Harlim & Hunt (2007); Nonnenmacher & Greenberg (2021), section 3.6.
    """
    rng = generator(np.random.default_rng() if rng is None else rng)
    _arrays.instance(method, FourDVar, "method", "l96kit.FourDVar", "make one from a propagator")
    window, cycles = _arrays.count(window, "window", 2), _arrays.count(cycles, "cycles")
    step_count(window * cycles, "cycles")
    leads = _arrays.array(leads, "leads")
    whole = leads.ndim == 1 and leads.dtype.kind in "iu" and len(leads)
    if not whole or (np.diff(leads.astype(np.int64), prepend=-1) < 1).any():
        raise ValueError(
            f"leads: expected whole numbers from 0 on, ascending, found {_arrays.shown(leads)}; give time steps"
        )
    propagator, sites = method.propagator, method.propagator.model.sites
    simulator = propagator if simulator is None else checked_propagator(simulator, "simulator")
    if (simulator.dt, simulator.model.sites) != (propagator.dt, sites):
        raise ValueError(
            f"simulator: expected dt = {propagator.dt} and {sites} sites like the method's, found {simulator.dt} and "
            f"{simulator.model.sites}; give both the same"
        )
    start = _arrays.state(start, sites, "start")
    states, observed, evaluations, scores = [], [], [], []
    guess = None
    with progress_bar(cycles, "windows", progress, f"window of {window} steps") as bar:
        for _ in range(cycles):
            truth = simulator.trajectory(start, window + int(leads[-1]))
            observations = observe(truth[:window], number, sigma, rng, rotating)
            if guess is None:
                guess = interpolate(observations, sites)
            analysis = method.assimilate(observations, guess, None if method.background_cov is None else guess)
            forecast = propagator.trajectory(analysis.state, window + int(leads[-1]))
            states.append((start, guess, analysis.state))
            observed.append(_on_the_ring(observations, truth[:window]))
            evaluations.append(analysis.evaluations)
            scores.append(rmse(forecast[window + leads], truth[window + leads]))
            start, guess = truth[window], forecast[window]
            bar.update()
    truth, background, analysis = np.stack(states, axis=1)
    return Twin(
        window, truth, background, analysis, np.stack(observed), leads, np.stack(scores, axis=1), np.stack(evaluations)
    )


def _on_the_ring(observations, truth):
    ring = np.full_like(truth, np.nan)
    np.put_along_axis(ring, observations.sites, observations.values, axis=-1)
    return ring
