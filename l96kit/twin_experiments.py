"""Twin experiments for filters: a truth, observations of it and ensembles to start from, the same for every method."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from l96kit import _arrays, _random
from l96kit._cycles import as_among_others, forecast_of_each
from l96kit._objects import Settings
from l96kit._progress import progress_bar
from l96kit._steps import step_count, steps_of
from l96kit.baselines import METHODS, Baseline
from l96kit.filters import KEPT, Assimilation, EnsembleFilter
from l96kit.observation_operators import ObservationOperator, checked_operator
from l96kit.observations import Observations, error_of, observe
from l96kit.propagators import Propagator, checked_propagator
from l96kit.scores import rmse

SWEPT = ("inflation", "strength", "jitter", "scale")  # what may differ from experiment to experiment
STARTS = ("climatology", "truth")
_TRUTH, _NOISE, _ENSEMBLE, _METHOD = range(4)  # what random numbers are for


@dataclass(frozen=True, eq=False, repr=False)
class TwinExperiment(Settings):
    """One experiment for each seed; a seed alone gives the same bits as among others.

    Parameters
    ----------
    propagator : model, step and scheme
    operator : what is observed
    sigma : standard deviation of the errors, 1 if there is no `cov` (n, n) either, their covariance
    every : time steps from one observation time to the next
    cycles : observation times
    seeds : how many, or a sequence of whole numbers
    spin_up : time units from small random perturbations of rest to the start of the truth
    start : where ensembles start: "climatology", other runs of what the truth comes from, or "truth", that with errors
    spread : standard deviation of these errors
    simulator : what the truth comes from; None takes the propagator, which is then perfect

    Source: for "truth", McCabe & Brown (2021).
    """

    propagator: Propagator
    operator: ObservationOperator
    sigma: Any = None
    every: int = 1
    cycles: int = 1000
    seeds: Any = 3
    spin_up: float = 50.0
    start: str = "climatology"
    spread: float = 1.0
    cov: Any = None
    simulator: Any = None

    def __post_init__(self):
        checked_propagator(self.propagator)
        checked_propagator(self._source, "simulator")
        checked_operator(self.operator)
        sites = self.propagator.model.sites
        for name, found in (("operator", self.operator.sites), ("simulator", self._source.model.sites)):
            if found != sites:
                raise ValueError(
                    f"{name}: expected one for the {sites} sites of the model, found {found}; make another"
                )
        if self.operator.windows:
            raise ValueError("operator: expected one for all seeds, found one for each; run them one by one")
        sigma = error_of(self.sigma, self.cov)
        if self.cov is None:
            _arrays.settle(self, sigma=_arrays.positive(sigma, "sigma"))
        else:
            _arrays.cholesky(self.cov, self.operator.n, "cov")
            _arrays.settle(self, sigma=None, cov=_arrays.covariance(self.cov, "cov"))
        _arrays.settle(
            self,
            every=step_count(self.every, "every"),
            cycles=_arrays.count(self.cycles, "cycles"),
            spin_up=_arrays.positive(self.spin_up, "spin_up", " of time units"),
            spread=_arrays.positive(self.spread, "spread"),
            seeds=_random.seeds(self.seeds),
        )
        step_count(self.cycles * self.every, "cycles")
        steps_of(self.spin_up, "spin_up", self._source)
        _arrays.require_memory(8 * len(self.seeds) * self.cycles * sites, "cycles", "take fewer cycles or seeds")
        _arrays.one_of(self.start, STARTS, "start")
        ratio = self._steps_of_a_cycle
        if abs(ratio - round(ratio)) > 1e-9 or round(ratio) < 1:
            raise ValueError(
                f"simulator: expected a step that divides the {self.every * self.propagator.dt:g} time units of a "
                f"cycle, found {self._source.dt:g}; choose another"
            )

    @property
    def _source(self):
        return self.propagator if self.simulator is None else self.simulator

    @property
    def _steps_of_a_cycle(self):
        """Of the simulator."""
        return self.every * self.propagator.dt / self._source.dt

    def _rngs(self, purpose):
        return [np.random.default_rng([seed, purpose]) for seed in self.seeds]

    def _spun_up(self, states, run, progress=False):
        return as_among_others(run, states, steps_of(self.spin_up, "spin_up", run), progress=progress)[-1]

    @cached_property
    def _simulated(self):
        run = self._source
        rest = np.stack([rng.standard_normal(run.model.sites) for rng in self._rngs(_TRUTH)])
        start = self._spun_up(rest, run)
        steps = round(self._steps_of_a_cycle)
        return start, _arrays.kept(as_among_others(run, start, self.cycles * steps, steps)[1:])

    @property
    def truth(self):
        """(time, seed, site), at the observation times."""
        return self._simulated[1]

    @cached_property
    def observations(self) -> Observations:
        """Of all seeds."""
        each = [
            observe(self.truth[:, e], self.operator, self.sigma, rng, cov=self.cov)
            for e, rng in enumerate(self._rngs(_NOISE))
        ]
        return Observations(self.operator, np.stack([own.values for own in each], axis=1), self.sigma, self.cov)

    def ensemble(self, members, progress=False):
        """Ensembles to start from: (seed, member, site)."""
        shape = _arrays.count(members, "members"), self.propagator.model.sites
        _arrays.require_memory(8 * len(self.seeds) * math.prod(shape), "members", "take fewer")
        drawn = np.stack([rng.standard_normal(shape) for rng in self._rngs(_ENSEMBLE)])
        if self.start == "truth":
            return self._simulated[0][:, None] + self.spread * drawn
        return self._spun_up(drawn.reshape(-1, shape[1]), self._source, progress).reshape(drawn.shape)

    def run(self, method, keep="means", probabilistic=True, progress=False):
        """What a method makes of it: an `Assimilation` of a filter, a `Baseline` of one of `l96kit.baselines`, which
        keeps means and has no more scores. `...` are the seeds.
        """
        _check_method(method, keep, probabilistic)
        if isinstance(method, METHODS):
            start = self.ensemble(1, progress)[:, 0]
            return method.assimilate(self.propagator, self.observations, start, self.every, self.truth, progress)
        return method.assimilate(
            self.propagator,
            self.observations,
            self.ensemble(method.members, progress),
            self.every,
            self.truth,
            self._rngs(_METHOD),
            keep,
            probabilistic,
            progress,
        )

    def sweep(self, method, keep="means", probabilistic=True, progress=False, **values):
        """The same for several values of one number that is tuned, all in one call: `...` are (value, seed).

        values : one keyword, such as inflation=[1.0, 1.02, 1.05]. A seed has the same truth, observations, ensemble and
            random numbers for all values.
        """
        _check_method(method, keep, probabilistic)
        if len(values) != 1:
            raise TypeError(
                f"values: expected one keyword such as inflation=[1.0, 1.02], found {len(values)}; give one"
            )
        ((name, tried),) = values.items()
        swept = [swept for swept in SWEPT if hasattr(method, swept)]
        if name not in swept:
            names = " or ".join(map(repr, swept)) or "nothing"
            raise ValueError(
                f"values: expected {names} of {type(method).__name__}, found {name!r}; of others, run a method for each"
            )
        is_array = hasattr(tried, "__array__") or not np.iterable(tried)
        tried = _arrays.array(tried if is_array else list(tried), name)
        if tried.ndim != 1 or not tried.size:
            raise ValueError(f"{name}: expected a sequence of numbers, found shape {tried.shape}; give at least one")
        count = len(tried)
        wide = replace(method, **{name: np.repeat(tried[:, None], len(self.seeds), axis=1)})
        observations = replace(self.observations, values=_repeated(self.observations.values, count, 1))
        given, truth = (self.propagator, observations), _repeated(self.truth, count, 1)
        if isinstance(method, METHODS):
            return wide.assimilate(*given, _repeated(self.ensemble(1)[:, 0], count), self.every, truth, progress)
        start = _repeated(self.ensemble(method.members), count)
        rngs = [rng for _ in range(count) for rng in self._rngs(_METHOD)]
        return wide.assimilate(*given, start, self.every, truth, rngs, keep, probabilistic, progress)

    def lead_errors(self, found, leads, burn_in=0, stride=1, progress=False):
        """RMSE of forecasts from the analyses of a method, their means, so many cycles ahead: (lead, time, seed).

        found : what `run` gave, with means
        leads : whole numbers of cycles, 0 for the analysis itself
        burn_in, stride : the first cycle from which there is a forecast, and cycles to the next one
        progress : show a bar (on a terminal or in a notebook)

        Times are those of the start of a forecast; all leads have the same. What blew up is NaN.
        """
        leads = [_arrays.count(lead, "leads", 0) for lead in np.ravel(_arrays.array(leads, "leads")).tolist()]
        burn_in, stride = _arrays.count(burn_in, "burn_in", 0), _arrays.count(stride, "stride")
        if not leads:
            raise ValueError("leads: expected whole numbers of cycles, found none; give at least one")
        if not isinstance(found, (Assimilation, Baseline)):
            raise TypeError(f"found: expected what `run` gave, found {type(found).__name__}; run a method first")
        if found.analysis is None:
            raise ValueError("found: expected means of analyses, found scores alone; run with keep='means'")
        last = self.cycles - max(leads)
        shape = self.truth.shape
        if found.analysis.shape != shape:
            raise ValueError(
                f"found: expected analyses {shape} (time, seed, site), those of this experiment, found "
                f"{found.analysis.shape}; of a sweep, pass one value at a time"
            )
        if not 0 <= burn_in < last:
            raise ValueError(
                f"leads: expected forecasts that end within the {self.cycles} cycles, found none of {max(leads)} after "
                f"{burn_in}; choose shorter ones"
            )
        begins = np.arange(burn_in, last, stride)
        ahead = [found.analysis[begins]]
        with progress_bar(max(leads), "cycles ahead", progress) as bar:
            for _ in range(max(leads)):
                ahead.append(forecast_of_each(self.propagator, ahead[-1], self.every))
                bar.update()
        return np.stack([rmse(ahead[lead], self.truth[begins + lead]) for lead in leads])


def _check_method(method, keep, probabilistic):
    _arrays.one_of(keep, KEPT, "keep")
    _arrays.flag(probabilistic, "probabilistic", "False leaves CRPS and ranks out")
    if not isinstance(method, (EnsembleFilter, *METHODS)):
        raise TypeError(f"method: expected a filter such as ETKF(28), found {type(method).__name__}; see filters")


def _repeated(x, count, axis=0):
    return np.repeat(np.expand_dims(x, axis), count, axis=axis)
