"""A training while it goes on: weights, moments, histories, and the schedule."""

import hashlib
import json
import operator
from dataclasses import dataclass

import numpy as np

from l96kit import _arrays, store

HISTORIES = "updates", "training_losses", "validation_losses", "learning_rates"


@dataclass
class Run:
    """All that a training knows while it goes on; arrays are (seed, ...), histories (validation, seed)."""

    weights: np.ndarray
    means: np.ndarray
    squares: np.ndarray
    best: np.ndarray
    best_loss: np.ndarray
    rates: np.ndarray
    waited: np.ndarray  # validations without a smaller loss
    waited_at_rate: np.ndarray  # the same, since the learning rate was last changed
    active: np.ndarray
    training_loss: np.ndarray  # added up since the last validation
    updates: np.ndarray
    training_losses: np.ndarray
    validation_losses: np.ndarray
    learning_rates: np.ndarray
    done: int = 0

    @classmethod
    def begin(cls, training, dtype, seeds, weights):
        count, size = len(seeds), training.network.size
        if weights is None:
            weights = [training.network.initial_weights(np.random.default_rng(seed), dtype) for seed in seeds]
        else:
            weights = _first_weights(training.network, weights, count, dtype)
        history = np.zeros((0, count))
        return cls(
            weights=np.array(weights, dtype),
            means=np.zeros((count, size), dtype),
            squares=np.zeros((count, size), dtype),
            best=np.array(weights, dtype),
            best_loss=np.full(count, np.inf),
            rates=np.full(count, training.learning_rate),
            waited=np.zeros(count, np.int64),
            waited_at_rate=np.zeros(count, np.int64),
            active=np.ones(count, bool),
            training_loss=np.zeros(count),
            updates=np.zeros(0, np.int64),
            training_losses=history,
            validation_losses=history,
            learning_rates=history,
        )

    def judge(self, losses, training, last):
        """After a validation: keep the best weights, lower the learning rates, stop."""
        since = self.done - (self.updates[-1] if len(self.updates) else 0)
        self.updates = np.append(self.updates, self.done)
        self.training_losses = np.vstack([self.training_losses, _known(self.training_loss / since, self.active)])
        self.validation_losses = np.vstack([self.validation_losses, losses])
        self.learning_rates = np.vstack([self.learning_rates, _known(self.rates, self.active)])
        self.training_loss[:] = 0
        better = self.active & (losses < self.best_loss)
        self.best[better], self.best_loss[better] = self.weights[better], losses[better]
        self.waited, self.waited_at_rate = (
            np.where(better, 0, n + self.active) for n in (self.waited, self.waited_at_rate)
        )
        lower = (self.waited_at_rate >= training.rate_patience) & (self.rates >= training.smallest_rate)
        self.rates = np.where(lower, self.rates * training.rate_factor, self.rates)
        self.waited_at_rate[lower] = 0
        self.go_on(training, last)

    def go_on(self, training, last):
        """Which networks are trained further; `last` is how many updates there may be."""
        self.active = (self.waited < training.patience) & np.isfinite(self.weights).all(axis=1) & (self.done < last)

    def summary(self):
        """For the progress bar."""
        best = {"best": f"{self.best_loss.min():.3g}"} if len(self.updates) else {}
        return {**best, "rate": f"{self.rates.max():.0e}", "seeds": int(self.active.sum())}

    def save(self, path, about):
        """`about` tells all that the result depends on, by name."""
        variables = {}
        for name, value in self._arrays().items():
            dimensions = ("validation", "seed") if name in HISTORIES else ("seed", "weight")
            variables[name] = dimensions[: value.ndim], value
        store.save(path, variables, {"training": json.dumps(about), "done": self.done, "digest": self._digest(about)})

    @classmethod
    def load(cls, path, about):
        variables, attributes = store.load(path)
        try:
            found = dict(json.loads(attributes["training"]))
            done = operator.index(attributes["done"])
            run = cls(**{name: data for name, (_, data) in variables.items()}, done=done)
            is_whole = attributes["digest"] == run._digest(found)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
            is_whole = False
        if not is_whole:
            raise ValueError(
                f"checkpoint: expected one as a training wrote it, found another or a changed file at {path}; name "
                "another one"
            )
        others = [name for name, value in about.items() if found.get(name) != value]
        if others:
            raise ValueError(
                f"checkpoint: expected one of this training, found {path} with other {', '.join(others)}; name another "
                "file"
            )
        return run

    def _arrays(self):
        return {name: value for name, value in vars(self).items() if name != "done"}

    def _digest(self, about):
        """Of all that a checkpoint holds: one whose numbers or kinds were edited is not gone on from."""
        named = self._arrays()
        return digest_of([named[name] for name in sorted(named)], json.dumps([about, self.done]))


def digest_of(arrays, text=""):
    """What tells arrays and a text from any others."""
    digest = hashlib.sha256(text.encode())
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:32]


def _known(values, active):
    return np.where(active, values, np.nan)


def _first_weights(network, weights, count, dtype):
    weights = _arrays.array(weights, "weights")
    rows = weights if weights.ndim == 2 else [weights] * count
    if len(rows) != count:
        raise ValueError(f"weights: expected one row for each of {count} seeds, found {len(rows)}; give as many")
    return np.array([_arrays.in_precision(network.checked_weights(row), "weights", dtype) for row in rows])
