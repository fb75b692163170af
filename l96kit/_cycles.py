"""What compiled cycles take of experiments: checked, in one precision, their leading axes made one."""

import contextlib
from typing import NamedTuple

import numpy as np

from l96kit import _arrays
from l96kit._objects import Result
from l96kit._progress import progress_bar, turns
from l96kit._steps import step_count
from l96kit.kernels import launch as kernels
from l96kit.observation_operators import observed_model
from l96kit.observations import checked_observations
from l96kit.propagators import PIECE, BlowUpError, checked_propagator

BLOCK_CYCLES = 500  # that one call goes through, at most


class OfCycles(Result):
    """What a method did in cycles: its scores (time, ...), of which some are averaged."""

    averaged = "forecast_rmse", "analysis_rmse"

    def averages(self, burn_in=0) -> dict:
        """Means over the cycles after the first `burn_in`: name of a score -> (...); NaN where one blew up.

        RMSE and spread of a mean are means of those of each time, as in DAPPER.
        """
        cycles = len(self.analysis_rmse)
        if not 0 <= _arrays.count(burn_in, "burn_in", 0) < cycles:
            raise ValueError(f"burn_in: expected 0..{cycles - 1} of {cycles} cycles, found {burn_in}; leave some")
        return {name: _arrays.mean(getattr(self, name)[burn_in:], axis=0) for name in self.averaged}


class Cycles(NamedTuple):
    """x (experiment, member, site), a copy; the observed model; (indices, weights) of the operator; values (time,
    experiment, n); what takes observations to units of their error: 1 / sigma (1, n), or a matrix with room for whole
    vectors; truth (time, experiment, site), NaN if there is none; and the axes of the experiments."""

    x: np.ndarray
    kernel: object
    operator: tuple
    values: np.ndarray
    root: np.ndarray
    truth: np.ndarray
    leading: tuple

    def blocks(self, effort, most, progress, name):
        """Slices of at most so many cycles, with a bar; and for each what `kernels.filters` has of the observations.

        effort : of a cycle of all experiments, in site-steps
        """
        with progress_bar(len(self.values), "cycles", progress, name) as bar:
            for now in turns(len(self.values), PIECE // max(1, effort), most):
                yield now, ((*self.operator, now.start), (self.values[now], self.root))
                bar.update(now.stop - now.start)


def checked(propagator, observations, x, every, members=None, name="start"):
    """x (..., site), or (..., members, site), if it fits the observations and all is what it should be.

    Raises TypeError and ValueError.
    """
    sites = checked_propagator(propagator).model.sites
    checked_observations(observations).check_sites(sites)
    if observations.operator.windows:
        raise ValueError(
            "observations: expected one operator for all experiments, found one for each; run them one by one"
        )
    x = _arrays.state(x, sites, name)
    leading = observations.values.shape[1:-1]
    expected = (*leading, sites) if members is None else (*leading, members, sites)
    if x.shape != expected:
        wanted = "one state" if members is None else f"an ensemble of {members} members"
        raise ValueError(
            f"{name}: expected shape {expected}, {wanted} for each experiment, found {x.shape}; those of the "
            f"observations are {leading}"
        )
    step_count(every, "every")
    return x


def prepared(propagator, observations, x, every, truth, members=None, name="start") -> Cycles:
    """The same as compiled cycles take it; they run on the CPU. Rows of observations are as long as members are many,
    or as sites, whose tangents are then propagated."""
    x = checked(propagator, observations, x, every, members, name)
    if propagator.device != "cpu":
        raise ValueError(f"propagator: expected device='cpu', found {propagator.device!r}; cycles run there alone")
    operator, sites, leading = observations.operator, propagator.model.sites, observations.values.shape[1:-1]
    x = np.array(x.reshape(-1, members or 1, sites), order="C")
    if propagator._parameters(x)[0].shape[1] > 1:
        raise ValueError("propagator: expected the same parameters for all members, found some of their own")
    shape = len(observations), len(x)
    return Cycles(
        x,
        observed_model(propagator.model.kernel, operator.function),
        (_arrays.plain(operator.indices), _arrays.in_precision(operator.weights, "weights", x.dtype)),
        _arrays.in_precision(observations.values, "values", x.dtype).reshape(*shape, -1),
        _root(observations, members or sites, x.dtype),
        checked_truth(truth, (len(observations), *leading, sites), x.dtype).reshape(*shape, sites),
        leading,
    )


def as_among_others(propagator, states, steps, every=None, progress=False):
    """The trajectory (time, state, site) of states (state, site), with the bits that each has among others: a second
    one goes along with a state alone, whose code would be another."""
    both = np.concatenate([states, states[:1]])
    every = max(steps, 1) if every is None else every
    return propagator.trajectory(both, steps, every, progress=progress)[:, :-1]


def forecast_of_each(propagator, x, steps):
    """A forecast of states (..., site); those that are not finite, or leave the finite numbers, are NaN."""
    found, states = np.full(x.shape, np.nan, x.dtype).reshape(-1, x.shape[-1]), x.reshape(-1, x.shape[-1])
    good = np.flatnonzero(np.isfinite(states).all(axis=-1))
    try:
        found[good] = as_among_others(propagator, states[good], steps)[-1] if good.size else 0
    except BlowUpError:
        for at in good:
            with contextlib.suppress(BlowUpError):
                found[at] = as_among_others(propagator, states[at : at + 1], steps)[-1, 0]
    return found.reshape(x.shape)


def for_each(numbers, leading, name):
    """(experiment,) of a number or an array that broadcasts against the leading axes."""
    try:
        return np.broadcast_to(numbers, leading).ravel()
    except ValueError:
        raise ValueError(
            f"{name}: expected a number or a shape that broadcasts to the experiments {leading}, found "
            f"{np.shape(numbers)}; give one for all or one each"
        ) from None


def _root(observations, columns, dtype):
    own = observations.cov is None
    with np.errstate(all="ignore"):
        found = (np.diag(observations.covariance)[None] ** -0.5 if own else observations._root).astype(dtype)
        sizes = (found**2).sum(axis=-1) if not own else found**2
    if not (np.isfinite(sizes) & (sizes >= np.finfo(dtype).tiny)).all():
        raise ValueError(
            f"{'sigma' if own else 'cov'}: expected variances whose inverse is within the range of {np.dtype(dtype)}, "
            "found others; choose units in which errors are nearer to one, or float64"
        )
    return found if own else kernels.padded(found, columns, dtype)


def checked_truth(truth, shape, dtype):
    """The truth (time, ..., site) of that shape, NaN if there is none."""
    if truth is None:
        return np.full(shape, np.nan, dtype)
    truth = _arrays.state(truth, shape[-1], "truth")
    if truth.shape != shape:
        raise ValueError(
            f"truth: expected shape {shape}, a state for each observation time, found {truth.shape}; leave out the "
            "start"
        )
    return _arrays.in_precision(truth, "truth", dtype)
