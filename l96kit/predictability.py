"""How fast errors grow: Lyapunov exponents, singular vectors, adjoint sensitivities."""

from dataclasses import dataclass

import numpy as np

from l96kit import _arrays
from l96kit._blas import one_blas_thread
from l96kit._objects import Result
from l96kit._progress import progress_bar
from l96kit._random import generator
from l96kit._steps import step_count
from l96kit.propagators import Propagator, checked_propagator


@dataclass(frozen=True, eq=False, repr=False)
class LyapunovSpectrum(Result):
    """Lyapunov exponents of a model.

    exponents : (count,), per time unit, in descending order
    spread : (count,), standard deviation of the mean, from ten successive parts of the run
    dimension : Kaplan-Yorke dimension, or None if too few exponents were computed to tell
    state : (site,), where the run ended
    """

    exponents: np.ndarray
    spread: np.ndarray
    dimension: float | None
    state: np.ndarray

    @property
    def positive(self) -> int:
        """How many exponents are greater than three times their spread, which takes a run of several parts."""
        if np.isnan(self.spread).any():
            raise ValueError("spread: expected numbers, found NaN, as of one part alone; take more `steps`")
        return int((self.exponents > 3 * self.spread).sum())


def lyapunov_spectrum(
    propagator: Propagator, x, steps, count=None, every=10, spin_up=1000, progress=False, rng=None
) -> LyapunovSpectrum:
    """Lyapunov exponents by the tangent of the discrete flow and repeated orthonormalisation.

    Parameters
    ----------
    propagator : model and scheme; one step is `propagator.dt` time units
    x : (site,), a state on or near the attractor
    steps : length of the run, in time steps, a multiple of `every`
    count : how many exponents; by default all
    every : time steps between orthonormalisations
    spin_up : time steps before the average begins, for state and directions
    progress : show a bar (on a terminal or in a notebook)

    Source: Benettin et al. (1980).
    """
    x = checked_propagator(propagator)._one_state(x)
    count = propagator.model.sites if count is None else _arrays.count(count, "count")
    if count > propagator.model.sites:
        raise ValueError(
            f"count: expected at most {propagator.model.sites}, the number of sites, found {count}; lower it"
        )
    every = _arrays.count(every, "every")
    rounds = propagator._intervals(step_count(steps, "steps"), every)
    _arrays.require_memory(8 * propagator.model.sites * count, "count", "take fewer exponents")
    _arrays.require_memory(8 * rounds * count, "steps", "take fewer, or a larger `every`")
    before = step_count(spin_up, "spin_up", 0) // every
    rng = generator(rng, default=0)
    directions = np.linalg.qr(rng.standard_normal((propagator.model.sites, count)))[0].T.astype(x.dtype)
    growth = np.empty((rounds, count))
    small = one_blas_thread(propagator.model.sites)
    with progress_bar(before + rounds, "rounds", progress, "Lyapunov exponents") as bar, small:
        for index in range(-before, rounds):
            directions = propagator.trajectory_tl(x, directions, every, every)[1]
            x = propagator.forecast(x, every)
            q, r = np.linalg.qr(directions.T)
            lengths = np.abs(np.diag(r))
            if not lengths.min() > 10 * np.finfo(x.dtype).eps * lengths.max():
                raise ValueError(
                    f"every: expected directions that {every} steps leave apart, found that their lengths differ "
                    f"beyond the precision of {x.dtype}; take a smaller `every` or a smaller `count`"
                )
            directions = np.ascontiguousarray(q.T)
            if index >= 0:
                growth[index] = np.log(lengths)
            bar.update()
    rates = growth / (every * propagator.dt)
    parts = np.array([part.mean(axis=0) for part in np.array_split(rates, min(10, rounds))])
    order = np.argsort(-rates.mean(axis=0), kind="stable")
    exponents = rates.mean(axis=0)[order]
    spread = (parts.std(axis=0, ddof=1) / np.sqrt(len(parts)))[order] if len(parts) > 1 else np.full(count, np.nan)
    return LyapunovSpectrum(exponents, spread, kaplan_yorke_dimension(exponents), x)


def kaplan_yorke_dimension(exponents) -> float | None:
    """The Kaplan-Yorke dimension of a spectrum (count,): j + (sum of the first j) / |exponent j + 1|, j the largest
    number whose sum is not negative; j itself if that sum is zero. None if the sum of all that is given is positive.

    Source: Kaplan & Yorke (1979).
    """
    exponents = _arrays.finite(_arrays.real(exponents, "exponents").astype(float), "exponents")
    if exponents.ndim != 1 or not len(exponents):
        raise ValueError(f"exponents: expected shape (count,), found {exponents.shape}; give one number an exponent")
    exponents = np.sort(exponents)[::-1]
    sums = np.cumsum(exponents)
    if sums[0] < 0:
        return 0.0
    if abs(sums[-1]) <= np.finfo(float).eps * np.abs(exponents).sum():
        return float(len(exponents))
    if sums[-1] > 0:
        return None
    j = int(np.argmax(sums < 0))
    return float(j + sums[j - 1] / abs(exponents[j]))


def singular_vectors(propagator: Propagator, x, steps, count=3, progress=False):
    """The perturbations of one state x (site,) that grow most over `steps` time steps, in the Euclidean norm.

    progress : show how many products with tangent and adjoint were taken (on a terminal or in a notebook)

    Returns
    -------
    growth : (count,), the singular values of the tangent, in descending order
    initial : (count, site), the perturbations at the start, of length one
    final : (count, site), what they become, of length one

    Source: Lorenz (1965); Buizza & Palmer (1995). Found by SciPy with tangent and adjoint products.
    """
    from scipy.sparse.linalg import LinearOperator, svds

    x = checked_propagator(propagator)._one_state(x)
    count = _arrays.count(count, "count")
    if count >= propagator.model.sites:
        u, s, vt = np.linalg.svd(propagator.jacobian(x, steps, progress))
    else:
        start = np.random.default_rng(0).standard_normal(propagator.model.sites).astype(x.dtype)
        tangent = propagator.linear_operator(x, steps)
        with progress_bar(None, "products", progress, "singular vectors") as bar, one_blas_thread():

            def counted(product):
                def of(v):
                    bar.update()
                    return product(v)

                return of

            products = {"matvec": counted(tangent.matvec), "rmatvec": counted(tangent.rmatvec)}
            u, s, vt = svds(LinearOperator(tangent.shape, dtype=tangent.dtype, **products), k=count, v0=start)
    order = np.argsort(-s)[:count]
    return s[order], vt[order], u.T[order]


def sensitivity(propagator: Propagator, x, steps, site, progress=False):
    """How the state at one site and one time depends on all earlier states: d x_site(steps) / d x_k(t).

    Parameters
    ----------
    x : (site,), the state at t = 0
    steps : the time of the target, in time steps
    site : index of the target
    progress : show a bar (on a terminal or in a notebook)

    Returns
    -------
    (steps + 1, site), the adjoint run backwards from the target; row t is the gradient with respect to the state at t

    Source: Nonnenmacher & Greenberg (2021), Fig. 1c.
    """
    x, steps = checked_propagator(propagator)._one_state(x), step_count(steps, "steps", 0)
    site = _arrays.count(site, "site", -len(x))
    if site >= len(x):
        raise ValueError(f"site: expected an index below {len(x)}, found {site}; sites count from 0")
    states = propagator.trajectory(x, steps)
    gradients = np.zeros_like(states)
    gradients[-1, site] = 1
    with progress_bar(steps, "steps", progress) as bar:
        for t in range(steps - 1, -1, -1):
            gradients[t], _ = propagator.step_ad(states[t], gradients[t + 1])
            bar.update()
    return gradients
