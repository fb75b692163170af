"""4D-Var with the hand-written tangent and adjoint, with a perfect model or a weak constraint.

What is made for minimisers, `FourDVar.cost` here and `Training.gradient`, is infinite where the model blows up, and its
gradient zero: a line search takes that for a step too long. (L-BFGS-B of SciPy needs a large number in place of the
infinite one, as `FourDVar.assimilate` gives it.) Operators raise instead, `Propagator.gradient` among them, and so does
`assimilate` if the first guess itself blows up.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from l96kit import _arrays
from l96kit._blas import one_blas_thread
from l96kit._covariances import SquareRoot
from l96kit._minimisers import BLOW_UPS, MINIMISERS, or_infinite
from l96kit._objects import Result, Settings
from l96kit._progress import progress_bar
from l96kit._steps import step_count
from l96kit._window import Window
from l96kit.observations import Observations, checked_observations
from l96kit.propagators import Propagator, checked_propagator


@dataclass(frozen=True, eq=False, repr=False)
class Analysis(Result):
    """What 4D-Var found, for each window.

    state : (..., site), the analysis at the start of the window
    model_errors : (time - 1, ..., site), added at each observation time but the first; None with a perfect model
    cost : (...), the cost there
    iterations : (...), of the minimiser
    evaluations : (...), of the cost, and of tangents and adjoints
    converged : (...), whether the minimiser met its tolerance
    """

    state: np.ndarray
    model_errors: Any
    cost: np.ndarray
    iterations: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class FourDVar(Settings):
    """4D-Var: find the start x_0 = x of a window, and with the weak constraint the errors of the model, that minimise

        J = 1/2 sum_t |R^-1/2 (H_t(x_t) - y_t)|^2 + 1/2 |B^-1/2 (x - background)|^2 + 1/2 sum_t |Q^-1/2 error_t|^2

    with x_{t+1} = M(x_t) + error_t and observations y_t at the start of the window and after every `every` steps.

    Parameters
    ----------
    propagator : model, step and scheme
    background_cov : B: None for no background term, (site,) for a diagonal, or (site, site)
    every : time steps between observation times
    iterations : of the minimiser, at most
    tolerance : stop when the cost falls by less than this fraction, or the gradient is below it
    model_cov : Q, of the error from one observation time to the next, like B: the weak constraint. None stands for a
        perfect model, the strong one.
    minimiser : "L-BFGS", of SciPy; or "Gauss-Newton": incremental 4D-Var, in which each iteration linearises about a
        trajectory and solves that problem by conjugate gradients with tangent and adjoint

    The minimiser works on coordinates in which background and error terms are spheres. Windows are independent of one
    another: each has its own minimisation.

    Source: Le Dimet & Talagrand (1986); Courtier, Thepaut & Hollingsworth (1994) for the increments; Tremolet (2006),
    section 3, for the weak constraint; SciPy for L-BFGS and LSMR.
    """

    propagator: Propagator
    background_cov: Any = None
    every: int = 1
    iterations: int = 500
    tolerance: float = 1e-10
    model_cov: Any = None
    minimiser: str = "L-BFGS"

    def __post_init__(self):
        checked_propagator(self.propagator)
        _arrays.settle(
            self,
            every=step_count(self.every, "every"),
            iterations=_arrays.count(self.iterations, "iterations"),
            tolerance=_arrays.positive(self.tolerance, "tolerance"),
        )
        _arrays.one_of(self.minimiser, tuple(MINIMISERS), "minimiser")
        for name in ("background_cov", "model_cov"):
            cov, sites = getattr(self, name), self.propagator.model.sites
            root = None if cov is None else SquareRoot(cov, sites, name)
            _arrays.settle(self, **{name: None if cov is None else _arrays.kept(cov), f"_{name}": root})

    def cost(self, x, observations: Observations, background=None, model_errors=None):
        """The cost (...) of starts x (..., site), one a window, and its gradient (..., site), for a minimiser.

        With the weak constraint also of `model_errors` (time - 1, ..., site), None for zeros, and then their gradient.
        The cost of a window that blows up is infinite, and its gradient zero.
        """
        self._check(observations)
        x = self._states(x, observations, "x")
        background = self._background(background, x.shape)
        errors = self._errors(model_errors, len(observations), x)
        with np.errstate(over="ignore", invalid="ignore"):
            return self._cost(x, observations, background, errors)

    def _cost(self, x, observations, background, errors):
        try:
            J, x_ad, errors_ad = self._misfit(x, errors, observations)
        except BLOW_UPS:  # of any window
            if x.ndim > 1:
                return self._cost_of_each(x, observations, background, errors)
            return or_infinite(np.nan, x) if errors is None else or_infinite(np.nan, x, errors)
        if self._background_cov is not None:
            v = self._background_cov.solve(x - background)
            J = J + 0.5 * (v**2).sum(axis=-1)
            x_ad = x_ad + self._background_cov.solve_transposed(v).astype(x.dtype)
        if self._model_cov is None:
            return or_infinite(J, x_ad)
        q = self._model_cov.solve(errors)
        errors_ad = errors_ad + self._model_cov.solve_transposed(q).astype(x.dtype)
        return or_infinite(J + 0.5 * (q**2).sum(axis=(0, -1)), x_ad, errors_ad)

    def _cost_of_each(self, x, observations, background, errors):
        """The same, window by window."""
        J = np.empty(x.shape[:-1])
        gradients = [np.empty_like(part) for part in (x, errors) if part is not None]
        for at in np.ndindex(*J.shape):
            own_background = None if background is None else background[at]
            own_errors = None if errors is None else errors[(slice(None), *at)]
            J[at], *own = self._cost(x[at], observations[at], own_background, own_errors)
            for gradient, part in zip(gradients, own):
                gradient[(..., *at, slice(None))] = part
        return J, *gradients

    def trajectory(self, x, times, model_errors=None, progress=False):
        """The states (time, ..., site) at so many observation times from x (..., site)."""
        x, times = _arrays.state(x, self.propagator.model.sites), _arrays.count(times, "times")
        model_errors = self._errors(model_errors, times, x)
        if model_errors is None:
            return self.propagator.trajectory(x, (times - 1) * self.every, self.every, progress=progress)
        y = [x]
        with progress_bar(times - 1, "times", progress) as bar:
            for t, error in enumerate(model_errors, 1):
                with np.errstate(over="ignore"):  # said below
                    y.append(self.propagator.forecast(y[-1], self.every) + error)
                if not np.isfinite(y[-1]).all():
                    raise OverflowError(
                        f"model_errors: expected finite states, found none at time {t}; take smaller ones"
                    )
                bar.update()
        return np.stack(y)

    def assimilate(self, observations: Observations, first_guess, background=None, progress=False) -> Analysis:
        """Find the analysis of each window.

        Parameters
        ----------
        observations : of one window (time, n), or of many (time, ..., n)
        first_guess : (..., site), where the minimisation starts
        background : (..., site), needed if there is a background_cov
        progress : show a bar (on a terminal or in a notebook)
        """
        self._check(observations)
        first_guess = self._states(first_guess, observations, "first_guess")
        shape = first_guess.shape[:-1]
        background = self._background(background, first_guess.shape)
        state, errors = np.empty_like(first_guess), self._errors(None, len(observations), first_guess)
        cost, converged = np.empty(shape), np.empty(shape, bool)
        iterations, evaluations = np.empty(shape, int), np.empty(shape, int)
        tolerance = max(self.tolerance, float(np.finfo(state.dtype).eps))  # a cost is known no better
        with progress_bar(int(np.prod(shape)), "windows", progress, "4D-Var") as bar, one_blas_thread():
            for at in np.ndindex(*shape):
                own = observations[at] if shape else observations
                window = Window(self, own, first_guess[at], None if background is None else background[at])
                found = MINIMISERS[self.minimiser](window, window.start(), self.iterations, tolerance)
                state[at], own_errors = window.split(found.z)
                if errors is not None:
                    errors[(slice(None), *at)] = own_errors
                cost[at], converged[at] = found.cost, found.converged
                iterations[at], evaluations[at] = found.iterations, found.evaluations
                bar.update()
        return Analysis(state, errors, cost, iterations, evaluations, converged)

    # --- the observation term ----------------------------------------------------------------------------------------

    def _misfit(self, x, errors, observations):
        """The observation term (...) of the cost and what comes back from it to x and to the errors."""
        if errors is None:
            found, intervals = [], len(observations) - 1

            def forcing(y, t):  # all times at once, since observations know no others
                J, y_ad = observations.misfit(y.reshape(len(y), *x.shape))
                found.append(J)
                return _arrays.times(y_ad)

            whole = max(1, intervals * self.every)
            x_ad, _ = self.propagator._adjoint(x, intervals, self.every, forcing, whole, None, False, False)
            return found[0], x_ad, None
        y = self.trajectory(x, len(observations), errors)
        J, y_ad = observations.misfit(y)
        return J, *self._adjoint(y, y_ad, True)

    def _tangent(self, y, x_tl, errors_tl):
        """The change of a trajectory y (time, ..., site)."""
        if errors_tl is None:
            return self.propagator.trajectory_tl(y[0], x_tl, (len(y) - 1) * self.every, self.every)
        y_tl = [x_tl]
        for start, error_tl in zip(y, errors_tl):
            y_tl.append(self.propagator.trajectory_tl(start, y_tl[-1], self.every, self.every)[1] + error_tl)
        return np.stack(y_tl)

    def _adjoint(self, y, y_ad, weak):
        """Its transpose: what comes back to x, and to the errors if there are any."""
        if not weak:
            return self._back(y[0], y_ad), None
        found, errors_ad = y_ad[-1], np.empty_like(y_ad[1:])
        for t in range(len(y) - 2, -1, -1):
            errors_ad[t] = found
            found = self._back(y[t], np.stack([y_ad[t], found]))
        return found, errors_ad

    def _back(self, x, y_ad):
        return self.propagator.trajectory_ad(x, y_ad, self.every, parameters=False)[0]

    # --- what was given ----------------------------------------------------------------------------------------------

    def _check(self, observations):
        checked_observations(observations).check_sites(self.propagator.model.sites)

    def _states(self, x, observations, name):
        """One state for each window (..., site)."""
        x = _arrays.state(x, self.propagator.model.sites, name)
        if x.shape[:-1] != observations.values.shape[1:-1]:
            raise ValueError(
                f"{name}: expected shape {(*observations.values.shape[1:-1], x.shape[-1])}, one state a window, found "
                f"{x.shape}; give each window its own"
            )
        return x

    def _background(self, background, shape):
        """The background of each window (..., site); None without its term."""
        if self._background_cov is None:
            if background is not None:
                raise ValueError("background: expected none without a background_cov, found one; give both or neither")
            return None
        if background is None:
            raise ValueError("background: expected a state (..., site), found None; a background_cov needs one")
        background = _arrays.state(background, self.propagator.model.sites, "background")
        try:
            return np.broadcast_to(background, shape)
        except ValueError:
            raise ValueError(
                f"background: expected a shape that broadcasts to {shape}, found {background.shape}; give one state or "
                "one a window"
            ) from None

    def _errors(self, errors, times, x):
        """Of the model (time - 1, ..., site); None if it is perfect."""
        shape = times - 1, *x.shape
        if self._model_cov is None:
            if errors is not None:
                raise ValueError("model_errors: expected none, found some; give a model_cov for the weak constraint")
            return None
        if errors is None:
            _arrays.require_memory(x.nbytes * (times - 1), "model_errors", "take fewer observation times")
            return np.zeros(shape, x.dtype)
        errors = _arrays.floating(errors, "model_errors")
        if times > 1:
            errors = _arrays.state(errors, x.shape[-1], "model_errors", x.dtype)
        if errors.shape != shape:
            raise ValueError(
                f"model_errors: expected shape {shape}, one for each observation time but the first, found "
                f"{errors.shape}; they are added before these"
            )
        return errors
