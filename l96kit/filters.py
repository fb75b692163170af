"""Ensemble filters: cycles of forecasts, observations and analyses, compiled as one loop.

A method is a frozen dataclass of what is tuned, with one `assimilate`. All take the cycle as DAPPER does: forecast,
observation, analysis, inflation of the anomalies, rotation; so nothing is observed at the start.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from l96kit import _arrays
from l96kit._cycles import BLOCK_CYCLES, OfCycles, for_each, prepared
from l96kit._objects import Settings
from l96kit._random import child
from l96kit.kernels import launch as kernels
from l96kit.kernels import scoring
from l96kit.localization import Localization, checked_localization, places_of, ring_distance
from l96kit.observations import Observations
from l96kit.propagators import Propagator

BLOCK_NUMBERS = 2_000_000  # random numbers that are drawn at once
KEPT = ("means", "scores")
RMSE, SPREAD, CRPS = scoring.RMSE, scoring.SPREAD, scoring.CRPS


@dataclass(frozen=True, eq=False, repr=False)
class Assimilation(OfCycles):
    """What a filter did, cycle by cycle; `...` are the experiments.

    An experiment whose ensemble left the finite numbers has NaN from then on.

    ensemble : (..., member, site), after the last analysis; of the iterated smoother at the start of the next window
    forecast, analysis : (time, ..., site), means of the ensembles; None if they were not kept
    forecast_rmse, analysis_rmse : (time, ...), of the means; NaN without a truth
    forecast_spread, analysis_spread : (time, ...), see `scores.spread`; after inflation
    forecast_crps, analysis_crps : (time, ...), see `scores.crps`; NaN if not wanted
    forecast_ranks, analysis_ranks : (..., member + 1), see `scores.rank_histogram`; None if not wanted
    innovation : (time, ...), root of the mean square of observation minus forecast, in units of the observation error
    innovation_expected : (time, ...), what it would be of an ensemble that knows its error: the root of one and the
        mean variance of what the members observe (Desroziers et al. 2005, eq. 1)
    """

    ensemble: np.ndarray
    forecast: Any
    analysis: Any
    forecast_rmse: np.ndarray
    analysis_rmse: np.ndarray
    forecast_spread: np.ndarray
    analysis_spread: np.ndarray
    forecast_crps: np.ndarray
    analysis_crps: np.ndarray
    forecast_ranks: Any
    analysis_ranks: Any
    innovation: np.ndarray
    innovation_expected: np.ndarray

    averaged = tuple(f"{which}_{score}" for which in ("forecast", "analysis") for score in ("rmse", "spread", "crps"))

    def averages(self, burn_in=0) -> dict:
        """Those of `OfCycles`, and of innovations, over the times that have some."""
        means = super().averages(burn_in)
        for name in ("innovation", "innovation_expected"):
            known = ~np.isnan(self.innovation[burn_in:])  # at a time without observations there is none
            total = _arrays.total(np.where(known, getattr(self, name)[burn_in:], 0), axis=0)
            with np.errstate(invalid="ignore"):
                means[name] = np.where(self.blew_up, np.nan, total / known.sum(axis=0))
        return means

    @property
    def blew_up(self):
        """(...), whether an ensemble left the finite numbers."""
        return ~np.isfinite(self.ensemble).all(axis=(-2, -1))


@dataclass(frozen=True, eq=False, repr=False)
class EnsembleFilter(Settings):
    """What all ensemble filters have.

    members : of the ensemble, at least 2
    inflation : what anomalies are multiplied by after each analysis, 1 for none; a number, or an array that broadcasts
        against the experiments
    rotation : whether anomalies are turned at random after each analysis, their mean and covariance unchanged
    """

    members: int
    inflation: Any = 1.0
    rotation: bool = False

    kernel: ClassVar[str] = ""

    def __post_init__(self):
        _arrays.settle(
            self,
            members=_arrays.count(self.members, "members", 2),
            inflation=_arrays.all_positive(self.inflation, "inflation", "stands for none"),
            rotation=_arrays.flag(self.rotation, "rotation", "True turns at random"),
        )
        self._settle()
        if np.min(self.inflation, initial=1) < 1:
            import warnings

            warnings.warn(
                f"inflation: expected at least 1, found {np.min(self.inflation):g}; it makes the ensemble narrower",
                stacklevel=3,
            )

    # what the methods differ in

    def _settle(self):
        """Check the settings that a method has of its own."""

    def _tuned(self):
        """What a method takes besides inflation: its name, and a number or an array that broadcasts likewise."""
        return "nothing", 0.0

    def _normals(self, observations):
        """How many random numbers an analysis takes."""
        return 0

    def _window(self):
        """Lag and iterations."""
        return 0, 0

    def _coefficients(self, observations, model, shape, dtype):
        return np.zeros((1, 0), dtype)

    def assimilate(
        self,
        propagator: Propagator,
        observations: Observations,
        ensemble,
        every=1,
        truth=None,
        rng=None,
        keep="means",
        probabilistic=True,
        progress=False,
    ) -> Assimilation:
        """Go through all observation times; the first is `every` steps after the ensemble given.

        Parameters
        ----------
        propagator : model, step and scheme, on the CPU
        observations : values (time, ..., n), one leading axis or more for experiments that are independent of another
        ensemble : (..., member, site), at the start
        every : time steps from one observation time to the next
        truth : (time, ..., site) at the observation times, to score against, optional
        rng : a NumPy generator, whose numbers seed one for each experiment, or a list of one for each; needed if the
            method draws numbers. From the same state it gives the same analyses, and moves on.
        keep : "means" of forecasts and analyses, or only the "scores"
        probabilistic : whether CRPS and ranks are wanted
        progress : show a bar (on a terminal or in a notebook)

        Raises
        ------
        ValueError, TypeError
            what does not fit, before any work. An ensemble that leaves the finite numbers does not stop the others.
        """
        cycles = prepared(propagator, observations, ensemble, every, truth, self.members, "ensemble")
        _arrays.one_of(keep, KEPT, "keep")
        probabilistic = _arrays.flag(probabilistic, "probabilistic", "False leaves CRPS and ranks out")
        x, leading, times = cycles.x, cycles.leading, len(cycles.values)
        experiments, members, sites = x.shape
        counts = self._normals(observations), self.rotation * members * (members - 1) // 2
        rngs = _three_each(rng, experiments, sum(counts))
        means = np.full((2, times if keep == "means" else 0, experiments, sites), np.nan, x.dtype)
        scores = np.full((times, experiments, 2, 3), np.nan, x.dtype)
        innovations = np.full((times, experiments, 2), np.nan, x.dtype)
        ranks = np.zeros((experiments, 2, members + 1 if probabilistic else 0), np.int64)
        kept = means, scores, ranks, innovations
        self._go_through(cycles, propagator, observations, int(every), (counts, rngs), kept, progress)
        return _result(x, *kept, leading, np.isfinite(cycles.truth).all())

    def _go_through(self, cycles, propagator, observations, every, random, kept, progress):
        """All cycles, which change the ensembles and fill what is kept."""
        x, (counts, (*rngs, of_ranks)), (means, scores, ranks, innovations) = cycles.x, random, kept
        experiments, tuning = len(x), np.empty((len(x), 2), x.dtype)
        for column, (name, numbers) in enumerate((("inflation", self.inflation), self._tuned())):
            tuning[:, column] = for_each(numbers, cycles.leading, name)
        p = propagator._parameters(x)
        seeds = np.array([rng.integers(2**64, dtype=np.uint64) for rng in of_ranks])
        coefficients = self._coefficients(observations, propagator.model, x.shape, x.dtype)
        clock = float(propagator.dt), every, *self._window()
        block = max(1, min(BLOCK_CYCLES, BLOCK_NUMBERS // max(1, experiments * sum(counts))))
        effort = kernels.filter_effort(x, clock) * kernels.weight(cycles.kernel, p)
        for now, observed in cycles.blocks(effort, block, progress, type(self).__name__):
            drawn = [_drawn(*pair, now.stop - now.start, x.dtype) for pair in zip(rngs, counts)]
            kept, found = np.ascontiguousarray(means[:, now]), (scores[now], ranks, innovations[now])
            data = (x, p, clock, *observed, (tuning, *drawn, seeds), coefficients, cycles.truth[now], kept, found)
            kernels.launch_filter(self.kernel, cycles.kernel, propagator.scheme, data, propagator.threads)
            means[:, now] = kept


def _three_each(rng, experiments, numbers):
    """Generators for the analyses of each experiment, for its rotations, and for ranks among members that equal the
    truth, so that it draws the same alone and among others, whatever is drawn at once."""
    if rng is None and not numbers:  # but for ranks, which are then drawn alike in all experiments
        rng = [np.random.default_rng(0) for _ in range(experiments)]
    several = list(rng) if isinstance(rng, (list, tuple)) else [rng] * experiments
    if len(several) != experiments or not all(isinstance(one, np.random.Generator) for one in several):
        found = f"{len(several)} of them" if isinstance(rng, (list, tuple)) else type(rng).__name__
        raise TypeError(
            f"rng: expected a NumPy generator or {experiments} of them, found {found}; pass np.random.default_rng(seed)"
            + " since the method draws numbers" * (numbers > 0)
        )
    return tuple(zip(*((child(one), child(one), child(one)) for one in several)))


def _drawn(rngs, number, cycles, dtype):
    """(experiment, cycle, number)"""
    if not number:
        return np.zeros((len(rngs), cycles, 0), dtype)
    return np.stack([rng.standard_normal((cycles, number), dtype) for rng in rngs])


def _result(x, means, scores, ranks, innovations, leading, scored):
    times, (_, _, _, sites) = len(scores), means.shape
    scores = np.moveaxis(scores.reshape(times, *leading, 2, 3), (-2, -1), (0, 1))
    forecast, analysis = means.reshape(2, -1, *leading, sites) if means.shape[1] else (None, None)
    counts = ranks.reshape(*leading, 2, -1) if ranks.shape[-1] and scored else None
    return Assimilation(
        x.reshape(*leading, *x.shape[1:]),
        forecast,
        analysis,
        *(scores[which, score] for score in range(3) for which in range(2)),
        *((None, None) if counts is None else (counts[..., 0, :], counts[..., 1, :])),
        *np.moveaxis(innovations.reshape(times, *leading, 2), -1, 0),
    )


# --- methods ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class EnKF(EnsembleFilter):
    """The stochastic filter, in which each member sees observations with errors of its own; these are centred.

    Source: Burgers, van Leeuwen & Evensen (1998); Evensen (2003), eq. 63.
    """

    kernel: ClassVar[str] = "perturb"

    def _normals(self, observations):
        return observations.operator.n * self.members


@dataclass(frozen=True, eq=False, repr=False)
class ETKF(EnsembleFilter):
    """The ensemble transform filter with the symmetric square root.

    Source: Hunt, Kostelich & Szunyogh (2007), eqs. 21 and 23; Bishop et al. (2001).
    """

    kernel: ClassVar[str] = "transform"


@dataclass(frozen=True, eq=False, repr=False)
class ESRF(EnsembleFilter):
    """The serial square root filter, one observation after another; their errors must be independent.

    Source: Whitaker & Hamill (2002), eqs. 10 to 13.
    """

    kernel: ClassVar[str] = "serial"

    def _coefficients(self, observations, model, shape, dtype):
        independent(observations, type(self).__name__)
        return super()._coefficients(observations, model, shape, dtype)


@dataclass(frozen=True, eq=False, repr=False)
class EnKFN(EnsembleFilter):
    """The finite-size filter EnKF-N: the transform with an inflation before each analysis, as its innovation asks. It
    is that at the lowest minimum of the cost, which may be far from one where an innovation is far beyond the spread.

    strength : multiplies both constants of the prior of that inflation, `xN` in DAPPER; 1 is the original

    Source: Bocquet (2011); Bocquet, Raanes & Hannart (2015), eqs. 36 and 38; Raanes, Bocquet & Carrassi (2019).
    """

    strength: Any = 1.0

    kernel: ClassVar[str] = "finite size"

    def _settle(self):
        _arrays.settle(self, strength=_arrays.all_positive(self.strength, "strength", "is the original"))

    def _tuned(self):
        return "strength", self.strength


@dataclass(frozen=True, eq=False, repr=False)
class LETKF(EnsembleFilter):
    """The local transform filter: an analysis for each site, in which observations count less the farther they are.

    localization : a `Localization`; its coefficients multiply the precision of the observations

    Source: Hunt, Kostelich & Szunyogh (2007).
    """

    localization: Localization = field(default_factory=lambda: Localization(4.0))

    kernel: ClassVar[str] = "local"

    def _settle(self):
        checked_localization(self.localization)

    def _coefficients(self, observations, model, shape, dtype):
        independent(observations, type(self).__name__)
        places = places_of(self.localization, observations.operator, model.ring)
        own = np.arange(model.sites) % model.ring
        distances = ring_distance(own[:, None], places[:, None, :], model.ring)
        return kernels.in_chunks(self.localization.coefficients(distances), self.kernel, shape, dtype)


@dataclass(frozen=True, eq=False, repr=False)
class IEnKS(EnsembleFilter):
    """The iterative ensemble Kalman smoother, in its transform form, with a window that moves by one cycle; only the
    newest observations are assimilated.

    lag : cycles in the window; with 1 it is the iterative filter
    iterations : at most
    tolerance : stop when the change of the weights is smaller, over the number of members; 0 does all iterations

    Source: Bocquet & Sakov (2014), algorithm 1; the settings of DAPPER.
    """

    lag: int = 1
    iterations: int = 10
    tolerance: float = 0.0

    kernel: ClassVar[str] = "iterated"

    def _settle(self):
        _arrays.settle(
            self,
            lag=_arrays.count(self.lag, "lag"),
            iterations=_arrays.count(self.iterations, "iterations"),
            tolerance=_arrays.not_negative(self.tolerance, "tolerance", "does all iterations"),
        )

    def _tuned(self):
        return "tolerance", self.tolerance * self.members

    def _window(self):
        return self.lag, self.iterations


@dataclass(frozen=True, eq=False, repr=False)
class ParticleFilter(EnsembleFilter):
    """The bootstrap filter for models of a few sites: members are drawn anew by their likelihoods at each analysis,
    systematically, and moved a little, as one model run would stay the same.

    jitter : multiplies the bandwidth of a Gaussian kernel that suits a Gaussian, in the covariance of the weighted
        members; 0 leaves copies, which need a model with noise of its own, and little of it loses the truth

    Where nothing was observed members stay as they are. It takes thousands of members, and CRPS costs their square:
    `probabilistic=False` leaves that out.

    Source: Gordon, Salmond & Smith (1993); Kitagawa (1996) for the draw; Musso, Oudjane & Le Gland (2001).
    """

    jitter: Any = 1.0

    kernel: ClassVar[str] = "resample"

    def _settle(self):
        jitter = _arrays.all_positive(self.jitter, "jitter", "is the usual kernel", or_zero=True)
        _arrays.settle(self, jitter=jitter)

    def _tuned(self):
        return "jitter", self.jitter

    def _normals(self, observations):
        return 1 + self.members * observations.operator.sites


def independent(observations, name):
    if observations.cov is not None:
        raise ValueError(f"observations: expected independent errors for {name}, found a covariance; give sigma")
