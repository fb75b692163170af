"""Strong-constraint 4D-Var with the hand-written adjoint."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from l96kit import _arrays
from l96kit._progress import progress_bar
from l96kit.observations import Observations
from l96kit.propagators import BlowUpError, Propagator


@dataclass(frozen=True)
class Analysis:
    """What 4D-Var found, for each window.

    state : (..., site), the analysis at the start of the window
    cost : (...), the cost there
    iterations, evaluations : (...), of the minimiser
    converged : (...), whether the minimiser met its tolerance
    """

    state: np.ndarray
    cost: np.ndarray
    iterations: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray


@dataclass(frozen=True)
class FourDVar:
    """Strong-constraint 4D-Var: find the start x of a window that minimises

        J(x) = 1/2 sum_t |(H_t M_t(x) - y_t) / sigma|^2 + 1/2 (x - background)^T B^{-1} (x - background),

    with the perfect model M and observations y_t at the start of the window and after every `every` steps.

    Parameters
    ----------
    propagator : model, step and scheme
    background_cov : B: None for no background term, (site,) for a diagonal, or (site, site)
    every : time steps between observation times
    iterations : at most so many of L-BFGS
    tolerance : stop when the cost falls by less than this fraction, or the gradient is below it

    With a background term the minimiser works on the coordinates v of x = background + B^{1/2} v, in which that term
    is a sphere. Windows are independent of one another: each has its own minimisation.

    Source: Le Dimet & Talagrand (1986); Fertig, Harlim & Hunt (2007) for the twin experiment; SciPy for L-BFGS.
    """

    propagator: Propagator
    background_cov: Any = None
    every: int = 1
    iterations: int = 500
    tolerance: float = 1e-10

    def __post_init__(self):
        if not isinstance(self.propagator, Propagator):
            raise TypeError(
                f"propagator: expected l96kit.Propagator, found {type(self.propagator).__name__}; make one from the "
                "model and its time step"
            )
        _arrays.count(self.every, "every")
        _arrays.count(self.iterations, "iterations")
        _arrays.positive(self.tolerance, "tolerance")
        object.__setattr__(self, "_root", _square_root(self.background_cov, self.propagator.model.sites))

    def cost(self, x, observations: Observations, background=None):
        """The cost (...) of starts x (..., site), one a window, and its gradient (..., site)."""
        self._check(observations)
        x = self._states(x, observations, "x")
        background = self._background(background, x.shape)
        J, x_ad = self._misfit(x, observations)
        if self._root is not None:
            v = _solve(self._root, x - background)
            J = J + 0.5 * (v**2).sum(axis=-1)
            x_ad = x_ad + _solve_transposed(self._root, v)
        return J, x_ad

    def assimilate(self, observations: Observations, first_guess, background=None, progress=False) -> Analysis:
        """Find the analysis of each window.

        Parameters
        ----------
        observations : of one window (time, n), or of many (time, ..., n)
        first_guess : (..., site), where the minimisation starts
        background : (..., site), needed if there is a background_cov
        progress : show a bar (on a terminal)
        """
        self._check(observations)
        first_guess = self._states(first_guess, observations, "first_guess")
        shape = first_guess.shape[:-1]
        background = self._background(background, first_guess.shape)
        state = np.empty_like(first_guess)
        cost, converged = np.empty(shape), np.empty(shape, bool)
        iterations, evaluations = np.empty(shape, int), np.empty(shape, int)
        with progress_bar(int(np.prod(shape)), "windows", progress, "4D-Var") as bar:
            for at in np.ndindex(*shape):
                found = self._one_window(
                    observations[at] if shape else observations,
                    first_guess[at],
                    None if background is None else background[at],
                )
                state[at], cost[at], converged[at] = found.state, found.fun, found.success
                iterations[at], evaluations[at] = found.nit, found.nfev
                bar.update()
        return Analysis(state, cost, iterations, evaluations, converged)

    def _misfit(self, x, observations):
        """The observation term of the cost (...) and its gradient (..., site)."""
        steps = (len(observations) - 1) * self.every
        return self.propagator.gradient(x, lambda y, t: observations.misfit(y), steps, self.every, parameters=False)[:2]

    def _one_window(self, observations, first_guess, background):
        from scipy.optimize import minimize

        root, costs = self._root, []

        def to_state(v):
            return (v if root is None else background + _multiply(root, v)).astype(first_guess.dtype)

        def to_minimise(v):
            x = to_state(v)
            try:
                J, x_ad = self._misfit(x, observations) if np.isfinite(x).all() else (np.inf, x)
            except BlowUpError:
                if not costs:  # the first guess itself
                    raise
                J = np.inf
            if not np.isfinite(J):
                return 10 * costs[0], np.zeros_like(v)  # a trial far off: the line search comes back from it
            costs.append(float(J))
            if root is None:
                return float(J), x_ad.astype(float)
            return float(J) + 0.5 * v @ v, _multiply_transposed(root, x_ad) + v

        start = first_guess if root is None else _solve(root, first_guess - background)
        tolerance = max(self.tolerance, float(np.finfo(first_guess.dtype).eps))  # a cost is known no better
        options = {
            "maxiter": self.iterations,
            "maxfun": 10 * self.iterations,
            "ftol": tolerance,
            "gtol": tolerance,
        }
        found = minimize(to_minimise, start.astype(float), jac=True, method="L-BFGS-B", options=options)
        if not np.isfinite(found.x).all():  # SciPy lost its way, and does not say so
            found.update(x=start, fun=to_minimise(start)[0], success=False)
        found.state = to_state(found.x)
        return found

    def _check(self, observations):
        if not isinstance(observations, Observations):
            raise TypeError(
                f"observations: expected l96kit.observations.Observations, found {type(observations).__name__}; "
                "make one from what is observed, the values and its error"
            )
        observations.check_sites(self.propagator.model.sites)

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
        if self._root is None:
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


def _square_root(cov, sites):
    """B^{1/2}: standard deviations (site,), or the lower Cholesky factor (site, site)."""
    if cov is None:
        return None
    cov = _arrays.finite(_arrays.floating(cov, "background_cov"), "background_cov")
    if cov.shape not in ((sites,), (sites, sites)):
        raise ValueError(
            f"background_cov: expected shape ({sites},) for variances or ({sites}, {sites}), found {cov.shape}; "
            "give one row a site"
        )
    if cov.ndim == 1:
        if not (cov > 0).all():
            raise ValueError(
                f"background_cov: expected positive variances, found {cov.min():g}; it must be positive definite"
            )
        return np.sqrt(cov)
    return _arrays.cholesky(cov, sites, "background_cov")


def _multiply(root, v):
    return root * v if root.ndim == 1 else v @ root.T


def _multiply_transposed(root, x):
    return root * x if root.ndim == 1 else x @ root


def _solve(root, x):
    from scipy.linalg import solve_triangular

    return (
        x / root
        if root.ndim == 1
        else solve_triangular(root, np.moveaxis(x, -1, 0).reshape(len(root), -1), lower=True).T.reshape(x.shape)
    )


def _solve_transposed(root, v):
    from scipy.linalg import solve_triangular

    if root.ndim == 1:
        return v / root
    return solve_triangular(root, v.reshape(-1, len(root)).T, lower=True, trans="T").T.reshape(v.shape)
