"""Train networks on trajectories of any simulator: rollout losses, Adam, and a schedule, without autodiff."""

import json
import math
import time
import warnings
from dataclasses import dataclass, field, fields
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from l96kit import _arrays, _random, networks, store
from l96kit._minimisers import or_infinite
from l96kit._objects import Result, Settings
from l96kit._progress import Pace, progress_bar, turns
from l96kit._samples import Orders, Samples, as_list, cut
from l96kit._steps import step_count
from l96kit._training_run import Run, digest_of
from l96kit.emulators import Emulator
from l96kit.kernels import launch as kernels
from l96kit.kernels.runge_kutta import SCHEMES
from l96kit.models import Model
from l96kit.networks import Network, checked_network
from l96kit.propagators import PIECE, Propagator

BETWEEN_CHECKPOINTS = 5.0  # seconds
AT_ONCE = 1024  # samples whose loss is computed in one go, at most
FEWEST = 32  # the same, at least


@dataclass(frozen=True, eq=False, repr=False)
class Trained(Result):
    """Networks that were trained side by side, one for each seed.

    training : how
    weights : (seed, weight), those with the smallest validation loss
    loss : (seed,), that loss: the mean squared error over samples, leads and sites; infinite for a network that blew up
        before it was validated, whose weights are its first ones
    converged : (seed,), whether training stopped since that loss no longer fell; otherwise all epochs were used up, or
        the network blew up
    updates : (validation,), after how many updates the histories were taken
    training_losses, validation_losses, learning_rates : (validation, seed); NaN after a seed has stopped. The training
        loss is the mean over the minibatches since the validation before, and the learning rate that of these.
    """

    training: "Training" = field(repr=False)
    seeds: tuple
    weights: np.ndarray
    loss: np.ndarray
    converged: np.ndarray
    updates: np.ndarray
    training_losses: np.ndarray
    validation_losses: np.ndarray
    learning_rates: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """The weights (weight,) of the seed with the smallest validation loss."""
        return self.weights[np.argmin(self.loss)]

    def save(self, path, attributes=None):
        """Write the network with its best weights to a file that `l96kit.networks.load` reads.

        Besides it keeps what the weights were trained with: the base, and dt, scheme, every and rollout as attributes.
        attributes : dict of more to keep, numbers and strings
        """
        training = self.training
        kept = {name: getattr(training, name) for name in ("dt", "scheme", "every", "rollout")}
        attributes = _arrays.mapping({} if attributes is None else attributes, "attributes")
        for name in set(kept) & set(attributes):
            raise ValueError(
                f"attributes: expected other names than {', '.join(kept)}, which are those of the "
                f"training, found {name!r}; leave it out"
            )
        networks.save(path, training.network, self.best, {**attributes, **kept}, training.base)

    @property
    def network(self) -> Network:
        return self.training.network


@dataclass(frozen=True, eq=False, repr=False)
class Training(Settings):
    """How a network is trained: it is the tendency of a model that shall follow given trajectories. The loss is

        J(w) = mean over samples m, leads t and sites k of (M_t(x_m; w) - y_{m,t})_k^2,

    with M_t the model after t * every steps from x_m, and y_{m,t} what was t times later in the trajectory.

    Parameters
    ----------
    network : whose weights are sought
    dt : length of a time step of the model, in time units
    every : time steps between the states of a trajectory, stored dt * every apart
    rollout : how many stored times ahead the loss looks; only the states of the steps are kept, all else is computed
        again on the way back, so that memory hardly grows with it
    scheme : of time stepping
    base : a model to which the network is added, such as `Lorenz96(40, 8.0)`, with one number for each of its
        parameters; rings are as long as the trajectories say
    region : samples are regions of so many sites, and what they depend on round them; None takes whole states. If it
        does not divide the ring, the last region overlaps the one before, and the sites in both count twice in J
    ring : whether states are whole rings; otherwise they are pieces of one, whose ends serve as input alone (`halo`)
    batch : samples in a minibatch; those left over at the end of an epoch, in its random order, are passed over
    learning_rate : of Adam, at first
    validate_every : updates between validations; None stands for one epoch
    rate_patience, rate_factor, smallest_rate : after so many validations without a smaller loss the learning rate is
        multiplied by the factor, as long as it is not below the smallest
    patience : after so many validations without a smaller loss, training stops
    epochs : at most so many
    device, threads : as of `Propagator`; networks are shared among threads. The result is the same for any number.

    Source: Kingma & Ba (2015) for Adam; Nonnenmacher & Greenberg (2021) for the schedule and for regions.
    """

    network: Network
    dt: float
    every: int = 1
    rollout: int = 1
    scheme: str = "rk4"
    base: Model | None = None
    region: int | None = None
    ring: bool = True
    batch: int = 32
    learning_rate: float = 1e-3
    validate_every: int | None = None
    rate_patience: int = 10
    rate_factor: float = 0.1
    smallest_rate: float = 1e-10
    patience: int = 50
    epochs: int = 10_000
    device: str = "cpu"
    threads: Any = None

    def __post_init__(self):
        checked_network(self.network)
        for name in ("every", "rollout", "batch", "rate_patience", "patience", "epochs", "region", "validate_every"):
            value = getattr(self, name)
            if value is not None or name not in ("region", "validate_every"):
                _arrays.settle(self, **{name: _arrays.count(value, name)})
        step_count(self.every * self.rollout, "every, rollout")
        for name in ("dt", "learning_rate", "rate_factor", "smallest_rate"):
            _arrays.settle(self, **{name: _arrays.positive(getattr(self, name), name)})
        if self.rate_factor >= 1:
            raise ValueError(f"rate_factor: expected a number below 1, found {self.rate_factor}; 0.1 is usual")
        _arrays.settle(self, ring=_arrays.flag(self.ring, "ring", "False stands for pieces of a ring"))
        if self.region is not None and not self.ring:
            raise ValueError("region: expected None with ring=False, found both; give pieces of the size that you want")
        checked = Propagator(self.model, self.dt, self.scheme, "cpu", self.threads)  # these, and the base
        _arrays.settle(self, scheme=checked.scheme, threads=checked.threads)
        if self.base is not None and not all(np.ndim(value) == 0 for value in self.base.parameters.values()):
            raise ValueError("base: expected one number for each parameter, found an array; train with uniform ones")
        _arrays.one_of(self.device, ("cpu", "cuda"), "device")
        if self.device == "cuda":
            kernels.require_cuda()

    @cached_property
    def model(self) -> Emulator:
        """The model that is trained, with zeros as weights and any number of sites."""
        return Emulator(self.network, 0.0, max(40, 2 * self.network.reach), self.base)

    @property
    def halo(self) -> tuple:
        """How many sites to the left and to the right of a site the end of a rollout depends on."""
        steps = SCHEMES[self.scheme].stages * self.every * self.rollout
        return tuple(steps * sites for sites in self.model.sight)

    def gradient(self, weights, trajectories, progress=False):
        """The loss J of all samples in the trajectories and its gradient (weight,), for a minimiser such as SciPy's.

        weights : (weight,); trajectories : as in `fit`

        progress : show a bar (on a terminal or in a notebook)

        If a rollout blows up, J is infinite and the gradient zero; see `l96kit.variational`.
        """
        samples = Samples(self, trajectories)
        weights = self._plain_weights(weights, samples)
        J, gradient, count = 0.0, np.zeros(weights.shape), samples.count
        steps = self.rollout * self.every
        effort = samples.width * steps * kernels.weight(self.model.kernel, (None, self.network.program))
        together = int(min(AT_ONCE, max(FEWEST, PIECE // effort)))
        whole = count - count % together
        with progress_bar(count, "samples", progress) as bar:
            for batches in (np.arange(whole).reshape(-1, 1, together), np.arange(whole, count)[None, None]):
                for now in turns(len(batches) * (batches.size > 0), PIECE // (effort * together)):
                    chosen = batches[now]  # side by side, for the threads
                    copies = np.repeat(weights[None], len(chosen), axis=0)
                    losses, gradients = self._launch("loss_ad", samples, chosen, copies, count)
                    for own, own_gradient in zip(losses, gradients):  # one by one, however many there are in a turn
                        J, gradient = J + own.sum(), gradient + own_gradient
                    bar.update(chosen.size)
        with np.errstate(over="ignore"):  # as after a blow-up
            J, gradient = or_infinite(J, gradient.astype(weights.dtype))
        return float(J), gradient

    def loss(self, weights, trajectories, progress=False):
        """The loss J of all samples in the trajectories; infinite if a rollout blows up."""
        samples = Samples(self, trajectories)
        return self._loss(self._plain_weights(weights, samples), samples, progress)

    def fit(self, trajectories, validation=0.1, seeds=1, weights=None, checkpoint=None, progress=False) -> Trained:
        """Train a network for each seed, all at once.

        Parameters
        ----------
        trajectories : array (time, ..., site), float32 or float64, which is the precision of the training; or a list
            of such arrays
        validation : trajectories, or which fraction of each trajectory, at its end, is kept for validation; training
            needs one of the two, since it keeps the weights that do best there
        seeds : how many, or a sequence of numbers; a seed draws the first weights and the order of the samples
        weights : (weight,) or (seed, weight), to start from instead
        checkpoint : a file that is written every few seconds and from which an interrupted training goes on, to the
            same bits as if it had not been interrupted; one that has used up its epochs goes on if there are more.
            Where it cannot be written, on a full disk for example, training warns and goes on
        progress : show a bar with the smallest validation loss, the largest learning rate, and how many seeds are
            still trained

        Raises
        ------
        ValueError, TypeError
            what does not fit, before any work; a checkpoint of another training, or one that was changed
        ArithmeticError
            if all networks blew up before they were validated once

        Interrupted, it has what `checkpoint` was last written with.
        """
        training, validation = self._split(trajectories, validation)
        seeds = _random.seeds(seeds)
        if training.count < self.batch:
            raise ValueError(
                f"trajectories: expected at least {self.batch} samples, one minibatch, found {training.count}; pass "
                "longer ones or take a smaller batch"
            )
        run = Run.begin(self, training.dtype, seeds, weights)
        if checkpoint is not None:
            checkpoint = store.path_of(checkpoint, "checkpoint")
            store.writable_folder(checkpoint.parent, "checkpoint", make=False)
            about = _about(self, (training, validation), seeds, run.weights)
            store.sweep(checkpoint)
            if checkpoint.exists():
                run = Run.load(checkpoint, about)
        per_epoch = training.count // self.batch
        between, last = self.validate_every or per_epoch, self.epochs * per_epoch
        if run.done > last:
            raise ValueError(
                f"epochs: expected at least the {run.done // per_epoch} that the checkpoint has been through, found "
                f"{self.epochs}; ask for more or name another file"
            )
        if not run.active.any():  # it had used up its epochs
            run.go_on(self, last)
        saved, pace = time.monotonic(), Pace()
        orders = Orders(seeds, training.count, self.batch)
        with progress_bar(last, "updates", progress, "training") as bar:
            bar.update(run.done)
            resumed = run.done
            while run.active.any():
                due = min(run.done + between - run.done % between, last)
                updates = min(due - run.done, pace.units)
                with pace.turn(updates):
                    self._update(run, training, orders, updates)
                if run.done - updates == resumed:
                    bar.unpause()  # what the first ones took was compilation
                if run.done == due:
                    self._validate(run, validation, last)
                bar.set_postfix(refresh=False, **run.summary())
                bar.update(updates)
                late = time.monotonic() - saved > BETWEEN_CHECKPOINTS
                if checkpoint is not None and (late or not run.active.any()):
                    _save(run, checkpoint, about)
                    saved = time.monotonic()
        if not np.isfinite(run.best_loss).any():
            raise ArithmeticError(
                f"training: expected finite losses, found none for seeds {seeds}; take a smaller learning rate or "
                "other first weights"
            )
        converged = (run.waited >= self.patience) & np.isfinite(run.weights).all(axis=1)
        histories = run.updates, run.training_losses, run.validation_losses, run.learning_rates
        return Trained(self, seeds, run.best, run.best_loss, converged, *histories)

    # --- in between ------------------------------------------------------------------------------------------------

    def _split(self, trajectories, validation):
        """Samples for training and for validation."""
        if validation is None or isinstance(validation, Real):
            if validation is None or not 0 < validation < 1:
                raise ValueError(
                    f"validation: expected trajectories or a fraction between 0 and 1, found "
                    f"{_arrays.shown(validation)}; 0.1 is usual"
                )
            first, last = zip(*(cut(part, validation) for part in as_list(trajectories, "trajectories")))
            if min(map(len, last)) <= self.rollout or min(map(len, first)) <= self.rollout:
                raise ValueError(
                    f"validation: expected more than rollout = {self.rollout} times on either side of the cut, found "
                    f"{min(map(len, first))} and {min(map(len, last))} with a fraction of {validation}; take another "
                    "fraction or longer trajectories"
                )
            trajectories, validation = list(first), list(last)
        training, validation = Samples(self, trajectories), Samples(self, validation, "validation")
        if validation.dtype != training.dtype:
            raise TypeError(
                f"validation: expected {training.dtype} as the trajectories have, found {validation.dtype}; convert one"
            )
        return training, validation

    def _plain_weights(self, weights, samples):
        return _arrays.in_precision(self.network.checked_weights(weights), "weights", samples.dtype)

    def _fields(self, dtype):
        return self.model.kernel_parameters((self.model.sites,), dtype, self.dt)[0]

    def _launch(self, op, samples, chosen, weights, count, more=(), between=()):
        """Losses (network, update) of the samples chosen (network, update, sample) and gradients (network, weight).

        `count` is how many samples J is the mean of; `between` and `more` are what the kernel takes before and after
        the weights.
        """
        (networks, updates, batch), dtype = chosen.shape, samples.dtype
        p = self._fields(dtype), self.network.program
        workers = kernels.workers(self.device)
        losses = np.zeros((networks, updates, workers))  # in double precision, as a sum over many samples
        p_ad = np.zeros((len(p[0]), networks, workers), dtype), np.zeros_like(weights)
        kernel, steps = self.model.kernel, self.rollout * self.every
        with kernels.rollout_tape(kernel, networks, batch, samples.width, steps, dtype, self.device) as tape:
            head = samples.states, p, float(self.dt), self.every, samples.numbered(chosen), samples.weight / count, tape
            data = (*head, *between, weights, *more, losses, p_ad)
            kernels.launch_training(op, kernel, self.scheme, data, 3 + len(more), self.device, self.threads)
        return losses.sum(axis=-1), p_ad[1]

    def _loss(self, weights, samples, progress=False):
        """The loss of some weights (weight,), from rollouts alone."""
        p = self._fields(samples.dtype), self.network.program, weights
        no_tape, total = np.empty((1, 0, 1), samples.dtype), 0.0
        with progress_bar(samples.count, "samples", progress) as bar:
            for begin in range(0, samples.count, AT_ONCE):
                truth = samples.rollouts(np.arange(begin, min(begin + AT_ONCE, samples.count)))
                y = np.empty_like(truth)
                data = (truth[0], p, float(self.dt), self.every, y, no_tape)
                steps = self.rollout * self.every
                kernels.launch("trajectory", self.model.kernel, self.scheme, data, 2, steps, self.device, self.threads)
                with np.errstate(all="ignore"):  # what blew up is told by the total
                    squares = samples.weight[:, None] * np.square(y[1:] - truth[1:], dtype=np.float64)
                    total += squares.sum()
                bar.update(truth.shape[1])
        return total / samples.count if np.isfinite(total) else math.inf

    def _update(self, run, samples, orders, updates):
        """So many updates of all networks that are still trained."""
        active = np.flatnonzero(run.active)
        chosen = np.stack([orders.minibatches(seed, run.done, updates) for seed in active])
        weights, means, squares = (array[active] for array in (run.weights, run.means, run.squares))
        between = run.rates[active], run.done
        losses, _ = self._launch("training", samples, chosen, weights, self.batch, (means, squares), between)
        run.weights[active], run.means[active], run.squares[active] = weights, means, squares
        for loss in losses.T:
            run.training_loss[active] += loss
        run.done += updates

    def _validate(self, run, samples, last):
        losses = np.full(len(run.weights), np.nan)
        for seed in np.flatnonzero(run.active):
            losses[seed] = self._loss(run.weights[seed], samples)
        run.judge(losses, self, last)


def _save(run, checkpoint, about):
    """Write a checkpoint; what training has found is worth more than one that cannot be written."""
    try:
        run.save(checkpoint, about)
    except OSError as problem:
        warnings.warn(f"checkpoint: {problem}; training goes on without it", RuntimeWarning, stacklevel=3)


def _about(training, samples, seeds, weights):
    """All that the result depends on but for the number of epochs, by name."""
    names = [f.name for f in fields(training) if f.name not in ("network", "base", "epochs", "device", "threads")]
    model = training.model
    return {
        **{name: repr(getattr(training, name)) for name in names},
        "network": json.dumps(training.network.layers),
        "base": f"{model.kernel.NAME} {training._fields(weights.dtype).tolist()}",
        "seeds": repr(seeds),
        "data or first weights": digest_of([weights, *(part for s in samples for part in (s.states, s.rows))]),
    }
