"""What filters are compared with: climatology, optimal interpolation, 3D-Var and 4D-Var, each with one state and fixed
statistics.

Their cycle is that of `filters`: forecast, observation, analysis.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from l96kit import _arrays
from l96kit._blas import one_blas_thread
from l96kit._cycles import BLOCK_CYCLES, OfCycles, checked, checked_truth, for_each, forecast_of_each, prepared
from l96kit._objects import Settings
from l96kit._progress import progress_bar
from l96kit._random import generator
from l96kit._steps import steps_of
from l96kit.kernels import launch as kernels
from l96kit.observations import Observations
from l96kit.propagators import Propagator, checked_propagator
from l96kit.scores import rmse


@dataclass(frozen=True, eq=False, repr=False)
class Baseline(OfCycles):
    """What a method did; `...` are the experiments.

    forecast, analysis : (time, ..., site)
    forecast_rmse, analysis_rmse : (time, ...), NaN without a truth
    """

    forecast: np.ndarray
    analysis: np.ndarray
    forecast_rmse: np.ndarray
    analysis_rmse: np.ndarray

    @property
    def blew_up(self):
        """(...), whether a state left the finite numbers."""
        return ~np.isfinite(self.analysis[-1]).all(axis=-1)


def climatology(propagator: Propagator, rng, states=20_000, spin_up=50.0, spacing=1.0, progress=False):
    """Mean (site,) and covariance (site, site) of a long free run, from so many states.

    spin_up, spacing : time units, before the first state and between states; 200 runs go side by side
    progress : show a bar (on a terminal or in a notebook)
    """
    states = _arrays.count(states, "states", 2)
    runs, sites = min(200, states), checked_propagator(propagator).model.sites
    before = steps_of(spin_up, "spin_up", propagator)
    apart = max(1, steps_of(spacing, "spacing", propagator))
    _arrays.require_memory(8 * sites * states, "states", "take fewer")
    x = propagator.forecast(generator(rng).standard_normal((runs, sites)), before, progress=progress)
    y = propagator.trajectory(x, apart * (-(-states // runs) - 1), apart, progress=progress)
    y = y.reshape(-1, sites)[:states]
    return y.mean(axis=0), np.cov(y.T)


@dataclass(frozen=True, eq=False, repr=False)
class ThreeDVar(Settings):
    """3D-Var as cycles of x + K (y - H(x)), K = B H^T (H B H^T + R)^-1, with a background covariance that stays.

    background_cov : B (site, site)

    Where observations are functions of the state, these are linearised once, about the background.

    Source: Lorenc (1986); for a linear H this is the minimum of the cost.
    """

    background_cov: Any

    def __post_init__(self):
        object.__setattr__(self, "background_cov", _arrays.covariance(self.background_cov, "background_cov"))

    def _start_of_analysis(self, forecast):
        return forecast

    def assimilate(
        self, propagator: Propagator, observations: Observations, start, every=1, truth=None, progress=False
    ) -> Baseline:
        """Go through all observation times; the first is `every` steps after `start` (..., site).

        truth : (time, ..., site) at the observation times, to score against, optional
        progress : show a bar (on a terminal or in a notebook)
        """
        x, every, truth = _checked(propagator, observations, start, every, truth)
        _check_size(self.background_cov, x.shape[-1])
        self._start_of_analysis(x)
        forecasts, analyses = (np.empty((len(observations), *x.shape), x.dtype) for _ in range(2))
        gain = cache(lambda turn: self._gain(observations, np.zeros(x.shape[-1], x.dtype), turn))
        small = one_blas_thread(x.shape[-1])
        with progress_bar(len(observations), "cycles", progress, type(self).__name__) as bar, small:
            for t in range(len(observations)):
                forecasts[t] = forecast_of_each(propagator, x, every)
                background = self._start_of_analysis(forecasts[t])
                lost = ~np.isfinite(background).all(axis=-1, keepdims=True)
                found = self._analysis(np.where(lost, 0, background), observations, t, gain)
                x = analyses[t] = np.where(lost, np.nan, found).astype(forecasts.dtype)
                bar.update()
        return Baseline(forecasts, analyses, rmse(forecasts, truth), rmse(analyses, truth))

    def _analysis(self, background, observations, t, gain):
        values, operator = observations.values[t], observations.operator
        innovation, missing = values - operator.observe(background, t), np.isnan(values)
        if operator.function == "identity" and not missing.any():
            return background + innovation @ gain(t % operator.period).T
        own = self._gain(observations, background, t, missing)
        return background + (own @ np.where(missing, 0, innovation)[..., None])[..., 0]

    def _gain(self, observations, x, time, missing=False):
        """K (..., site, n) about x (..., site); that of what is missing (..., n) is zero."""
        eye = np.eye(x.shape[-1], dtype=x.dtype).reshape(-1, *(1,) * (x.ndim - 1), x.shape[-1])
        H = np.moveaxis(observations.operator.observe_tl(x, eye, int(time)), 0, -1)
        H = np.where(np.asarray(missing)[..., None], 0, H)
        B = self.background_cov.astype(float)
        return np.swapaxes(np.linalg.solve(H @ B @ np.swapaxes(H, -1, -2) + observations.covariance, H @ B), -1, -2)


@dataclass(frozen=True, eq=False, repr=False)
class OptimalInterpolation(ThreeDVar):
    """The same from the climatological mean at each time: what was observed before is forgotten.

    mean : (site,), and its covariance as `background_cov`; see `climatology`

    Source: Gandin (1963); the convention of DAPPER.
    """

    mean: Any = None

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "mean", _checked_mean(self.mean))

    def _start_of_analysis(self, forecast):
        return np.broadcast_to(_arrays.state(self.mean, forecast.shape[-1], "mean", forecast.dtype), forecast.shape)


@dataclass(frozen=True, eq=False, repr=False)
class Climatology(Settings):
    """The climatological mean at all times, whatever is observed.

    mean : (site,)
    """

    mean: Any

    def __post_init__(self):
        object.__setattr__(self, "mean", _checked_mean(self.mean))

    def assimilate(
        self, propagator: Propagator, observations: Observations, start, every=1, truth=None, progress=False
    ) -> Baseline:
        """As that of `ThreeDVar`; of `start` only the shape counts."""
        x, every, truth = _checked(propagator, observations, start, every, truth)
        mean = _arrays.state(self.mean, x.shape[-1], "mean", x.dtype)
        _arrays.flag(progress, "progress", "there is no bar for what takes no time")
        always = np.broadcast_to(mean, (len(observations), *x.shape))
        return Baseline(always, always, rmse(always, truth), rmse(always, truth))


@dataclass(frozen=True, eq=False, repr=False)
class CycledFourDVar(Settings):
    """Incremental 4D-Var as cycles, with a background covariance that stays and a window that moves by one cycle; only
    the newest observations are assimilated, at its end.

    background_cov : B (site, site), at the start of the window
    scale : multiplies B; a number, or an array that broadcasts against the experiments
    lag : cycles in the window
    iterations : at most, of Gauss and Newton, each about a trajectory of its own and solved exactly
    tolerance : stop when the change is smaller, as a length in units of the background error; 0 does all iterations

    All tangents of a root of B are propagated, so an iteration costs as much as `site` members. `FourDVar` is for
    windows with observations throughout, and for large states.

    Source: Courtier, Thepaut & Hollingsworth (1994); the settings of DAPPER.
    """

    background_cov: Any
    scale: Any = 1.0
    lag: int = 1
    iterations: int = 10
    tolerance: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "background_cov", _arrays.covariance(self.background_cov, "background_cov"))
        _arrays.settle(
            self,
            scale=_arrays.all_positive(self.scale, "scale", "takes background_cov as it is"),
            lag=_arrays.count(self.lag, "lag"),
            iterations=_arrays.count(self.iterations, "iterations"),
            tolerance=_arrays.not_negative(self.tolerance, "tolerance", "does all iterations"),
        )

    def assimilate(
        self, propagator: Propagator, observations: Observations, start, every=1, truth=None, progress=False
    ) -> Baseline:
        """As that of `ThreeDVar`."""
        cycles = prepared(propagator, observations, start, every, truth)
        x, leading, (times, _, sites) = cycles.x, cycles.leading, cycles.truth.shape
        _check_size(self.background_cov, sites)
        columns = np.ascontiguousarray(np.linalg.cholesky(self.background_cov).T.astype(x.dtype))
        tuning = np.full((len(x), 2), self.tolerance, x.dtype)
        tuning[:, 0] = for_each(self.scale, leading, "scale") ** 0.5
        p = propagator.model.parameter_pair(None, (1, sites), x.dtype, propagator.dt)
        means = np.full((2, times, len(x), sites), np.nan, x.dtype)
        errors = np.full((times, len(x), 2), np.nan, x.dtype)
        clock = float(propagator.dt), int(every), self.lag, self.iterations
        effort = kernels.gauss_newton_effort(len(x), columns, clock) * kernels.weight(cycles.kernel, p[0])
        for now, observed in cycles.blocks(effort, BLOCK_CYCLES, progress, type(self).__name__):
            kept = np.ascontiguousarray(means[:, now])
            data = (x, *p, clock, *observed, (columns, tuning), cycles.truth[now], kept, errors[now])
            kernels.launch_gauss_newton(cycles.kernel, propagator.scheme, data, propagator.threads)
            means[:, now] = kept
        forecast, analysis = means.reshape(2, times, *leading, sites)
        return Baseline(forecast, analysis, *np.moveaxis(errors.reshape(times, *leading, 2), -1, 0))


METHODS = Climatology, ThreeDVar, CycledFourDVar


def _checked_mean(mean):
    """A copy of a mean state (site,)."""
    if mean is None:
        raise ValueError("mean: expected a state (site,), found None; see `climatology`")
    found = _arrays.floating(mean, "mean")
    if found.ndim != 1:
        raise ValueError(f"mean: expected a state (site,), found shape {found.shape}; see `climatology`")
    return _arrays.kept(_arrays.state(found, len(found), "mean"))


def _check_size(background_cov, sites):
    if len(background_cov) != sites:
        raise ValueError(
            f"background_cov: expected shape ({sites}, {sites}), found {background_cov.shape}; make it for the model"
        )


def _checked(propagator, observations, start, every, truth):
    x = checked(propagator, observations, start, every)
    return x, int(every), checked_truth(truth, (len(observations), *x.shape), x.dtype)
