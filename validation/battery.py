"""The checks of an operator, the same for all: each returns a number, and `LIMITS` says how large it may be.

The reference is evaluated in double precision at the very numbers that the kernel was given. Errors are relative: the
largest difference over the largest value, of all inputs together where an adjoint has several.
"""

from dataclasses import replace
from functools import cached_property
from unittest import mock

import numpy as np

from l96kit import _adjoint, propagators
from l96kit._arrays import members
from l96kit.checks import dot_test, taylor_test
from l96kit.kernels import _targets, launch
from l96kit.reference import linearize
from l96kit.validation.operator_kinds import Loss, Step, Trajectory, launching

MOST_INPUTS = 5000


def battery(operator, inputs, rng, device="cpu", only=None, few=1):
    """The checks of an operator at some inputs: dict of check -> number, in the order of `CHECKS`.

    `only` names the checks to make, by default all that apply. `few` is how many members are run alone and compared
    with the same members of the ensemble: one has a kernel of its own.
    """
    about = _About(operator, inputs, rng, device, few)
    names = CHECKS if only is None else only
    return {name: CHECKS[name](about) for name in names if about.applies(name)}


def failures(numbers, dtype):
    """The checks that do not hold, NaN among them: list of text with what was found and what was expected."""
    limits = LIMITS[np.dtype(dtype).name]
    found = []
    for name, number in numbers.items():
        wanted = SLOPES.get(name, 0.0)
        if not abs(number - wanted) <= limits[name]:
            found.append(f"{name}: expected {wanted:g} to within {limits[name]:g}, found {number:.4g}")
    return found


def relative(found, expected):
    """The largest difference over the largest expected value; arrays or tuples of arrays."""
    return difference(found, expected) / max(float(np.abs(part).max()) for part in _parts(expected))


def difference(found, expected):
    """The largest difference; infinite if a shape differs."""
    pairs = list(zip(_parts(found), _parts(expected), strict=True))
    if any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    return float(np.max([np.abs(one - other).max() for one, other in pairs]))


def _parts(arrays):
    return [np.asarray(part, float) for part in (arrays if isinstance(arrays, tuple) else (arrays,))]


class _About:
    """An operator about some inputs, in a random direction, with a random forcing of its adjoint."""

    def __init__(self, operator, inputs, rng, device, few):
        self.operator, self.inputs, self.rng, self.device, self.few = operator, inputs, rng, device, few
        self.exact = tuple(np.asarray(part, float) for part in inputs)
        self.direction, self.y = self.random(inputs), self.forward(inputs)
        self.y_ad = self.random((self.y,))[0]
        self.y_tl, self.inputs_ad = self.tl(self.direction), self.ad(self.y_ad)

    def applies(self, name):
        if name in SLOPES:  # in single precision the second remainder drowns in rounding
            one_number = isinstance(self.operator, Loss)  # which may hardly change in first or in second order
            return self.inputs[0].dtype == np.float64 and not self.operator.kinks and not one_number
        if name == "ad":  # a matrix of all inputs: where they are too many, the dot test must do
            return sum(np.size(part) for part in self.inputs) <= MOST_INPUTS
        if name == "threads":
            return self.device == "cpu"
        if name in ("rows", "state alone", "broadcast", "overwriting"):
            return not isinstance(self.operator, Loss)  # one number, which is added up with its gradient
        return name not in ("checkpoints", "no steps") or isinstance(self.operator, Trajectory)

    def random(self, like):
        return tuple(np.asarray(self.rng.standard_normal(np.shape(part)), part.dtype) for part in like)

    def forward(self, inputs):
        return self.operator.forward(inputs, self.device)

    def tl(self, direction, inputs=None):
        return self.operator.tl(self.inputs if inputs is None else inputs, direction, self.device)

    def ad(self, y_ad):
        return self.operator.ad(self.inputs, y_ad, self.device)

    def forward_error(self):
        return relative(self.y, self.operator.reference(*self.exact))

    def tl_error(self):
        direction = [np.asarray(part, float) for part in self.direction]
        return relative(self.y_tl, linearize.tangent(self.operator.reference, self.exact, direction))

    def ad_error(self):
        """Against the transposed complex step: every entry of the matrix, not one product with it."""
        expected = linearize.adjoint(self.operator.reference, self.exact, np.asarray(self.y_ad, float))
        return relative(self.inputs_ad, tuple(expected))

    def dot_error(self):
        """Over all inputs, parameters included."""
        return dot_test(self.tl, self.ad, self.inputs, self.y_ad, self.rng)

    @cached_property
    def slopes(self):
        return taylor_test(self.forward, self.tl, self.inputs, self.direction)

    def linearity_error(self):
        """L (2 u - 3 v) against 2 L u - 3 L v, for the tangent and the adjoint."""
        other, other_ad = self.random(self.inputs), self.random((self.y,))[0]
        two, three = (self.inputs[0].dtype.type(number) for number in (2, 3))
        tangent = self.tl(tuple(two * u - three * v for u, v in zip(self.direction, other)))
        adjoint = self.ad(two * self.y_ad - three * other_ad)
        expected_ad = tuple(two * u - three * v for u, v in zip(self.inputs_ad, self.ad(other_ad)))
        return max(relative(tangent, two * self.y_tl - three * self.tl(other)), relative(adjoint, expected_ad))

    def zero_error(self):
        """Of a zero direction and a zero forcing nothing may come."""
        tangent = self.tl(tuple(np.zeros_like(part) for part in self.inputs))
        adjoint = self.ad(np.zeros_like(self.y_ad))
        return float(np.max([np.abs(part).max() for part in (tangent, *adjoint)]))

    def accumulation_error(self):
        """An adjoint adds to what it is given: launched twice, it leaves twice as much."""
        with launching(times=2):
            return relative(self.ad(self.y_ad), tuple(2 * part for part in self.inputs_ad))

    def overwriting_error(self):
        """Forward and tangent do not: launched twice, they leave the same."""
        with launching(times=2):
            return difference((self.forward(self.inputs), self.tl(self.direction)), (self.y, self.y_tl))

    def rows_error(self):
        """The first members alone against the same members of the ensemble; likewise the last ones."""
        members = len(self.inputs[0])
        first, last = slice(0, self.few), slice(max(0, members - self.few), members)
        return max(self._rows_error(first), self._rows_error(last))

    def _rows_error(self, rows):
        members = len(self.inputs[0])
        own = [i for i, part in enumerate(self.inputs) if np.ndim(part) > 1 and len(part) == members]

        def some(parts):
            return tuple(part[rows] if i in own else part for i, part in enumerate(parts))

        inputs, y_ad = some(self.inputs), np.ascontiguousarray(self.y_ad[..., rows, :])
        adjoint = self.operator.ad(inputs, y_ad, self.device)
        return max(  # the gradients of parameters that members share are sums over all of them, and left out here
            relative(self.forward(inputs), self.y[..., rows, :]),
            relative(self.tl(some(self.direction), inputs), self.y_tl[..., rows, :]),
            relative(tuple(adjoint[i] for i in own), tuple(self.inputs_ad[i][rows] for i in own)),
        )

    def state_alone_error(self):
        """Tangent and gradient that leave the parameters out, against those in which they do not change."""
        nothing = tuple(np.zeros_like(part) for part in self.direction[1:])
        found, expected = (self.tl((self.direction[0], *parameters)) for parameters in ((), nothing))
        if not isinstance(self.operator, Step):
            return relative(found, expected)
        run, steps, every, forcing = self.operator.propagator(self.inputs, self.device), 1, 1, self.y_ad
        if isinstance(self.operator, Trajectory):
            steps, every = self.operator.steps, self.operator.every
        else:
            forcing = np.stack([np.zeros_like(forcing), forcing])

        def cost(y, t):
            return 0.0, forcing[t // every]

        _, x_ad, _ = run.gradient(self.inputs[0], cost, steps, every, parameters=False)
        return max(relative(found, expected), relative(x_ad, self.inputs_ad[0]))

    def broadcast_error(self):
        """One state with the directions of all members, and all states with two directions each.

        Where it costs little, also a change at each site of a parameter that is one number, and one more leading axis.
        """
        x, *parameters = self.inputs
        alone = self.tl(self.direction, (x[0], *parameters))
        expected = self.tl(self.direction, (np.repeat(x[:1], len(x), axis=0), *parameters))
        x_tl, *parameters_tl = self.direction
        twice = self.tl((np.stack([x_tl, 2 * x_tl]), *parameters_tl))
        one_by_one = [self.y_tl, self.tl((2 * x_tl, *parameters_tl))]
        error = max(relative(alone, expected), relative(twice, np.stack(one_by_one, axis=-3)))
        if self.operator.op != "tendency":
            return error
        return max(error, self._changes_per_site_error(), self._another_axis_error())

    def _changes_per_site_error(self):
        """Of parameters that are numbers."""
        ring = self.operator.model_of(self.inputs).ring
        spread = [np.full(ring, part) if np.ndim(part) == 0 else part for part in self.exact]
        direction = self.random(tuple(part.astype(self.inputs[0].dtype) for part in spread))
        exact = [np.asarray(part, float) for part in direction]
        return relative(self.tl(direction), linearize.tangent(self.operator.reference, spread, exact))

    def _another_axis_error(self):
        """The adjoint of one ensemble of one more axis."""
        x, *parameters = self.inputs
        x_ad, *parameters_ad = self.operator.ad((x[None], *parameters), self.y_ad[None], self.device)
        pairs = zip((x_ad[0], *parameters_ad), self.inputs_ad)
        return max(relative(found, expected) for found, expected in pairs)

    def threads_error(self):
        """Zero if one and two threads, which share even the smallest ensemble here, give the same bits."""

        def everything(threads):
            return (
                self.operator.forward(self.inputs, self.device, threads),
                self.operator.tl(self.inputs, self.direction, self.device, threads),
                *self.operator.ad(self.inputs, self.y_ad, self.device, threads),
            )

        with mock.patch.object(_targets, "WORTH_A_THREAD", 1):
            return difference(everything(1), everything(2))

    def checkpoints_error(self):
        """Zero if states computed again, in turns, give the same bits as stored ones; the forcing depends on them."""
        return max(self._checkpoints_error(intervals) for intervals in (2, 3))

    def _checkpoints_error(self, intervals):
        longer = replace(self.operator, steps=intervals * self.operator.every)
        y = longer.forward(self.inputs, self.device)
        weights = self.random((y,))[0]
        run, expected = longer.propagator(self.inputs, self.device), longer.ad(self.inputs, weights * y, self.device)

        def cost(y, t):
            return 0.0, weights[t // longer.every] * y

        def gradient(checkpoints):
            _, x_ad, parameters_ad = run.gradient(self.inputs[0], cost, longer.steps, longer.every, checkpoints)
            return (x_ad, *parameters_ad.values())

        found = [difference(gradient(checkpoints), expected) for checkpoints in range(1, intervals + 1)]
        y_tl = longer.tl(self.inputs, self.direction, self.device)
        step = launch.tape_bytes(run.model.kernel, *members(self.inputs[0]).shape, y.dtype)
        for steps in range(1, longer.steps):
            with mock.patch.object(_adjoint, "CACHE_BYTES", steps * step), mock.patch.object(propagators, "PIECE", 1):
                found += [
                    difference(gradient(None), expected),
                    difference(longer.ad(self.inputs, weights * y, self.device), expected),
                    difference(longer.tl(self.inputs, self.direction, self.device), y_tl),
                ]
        return max(found)

    def no_steps_error(self):
        """A trajectory of no steps is where it starts, and so are its derivatives."""
        still = replace(self.operator, steps=0)
        found = still.forward(self.inputs, self.device), still.tl(self.inputs, self.direction, self.device)
        adjoint = still.ad(self.inputs, self.y_ad[:1], self.device)
        nothing = tuple(np.zeros_like(part) for part in self.inputs[1:])
        expected = self.inputs[0][None], self.direction[0][None], self.y_ad[0], *nothing
        return difference((*found, *adjoint), expected)


CHECKS = {
    "forward": _About.forward_error,
    "tl": _About.tl_error,
    "ad": _About.ad_error,
    "dot": _About.dot_error,
    "slope 1": lambda about: about.slopes[0],
    "slope 2": lambda about: about.slopes[1],
    "linearity": _About.linearity_error,
    "zero": _About.zero_error,
    "accumulation": _About.accumulation_error,
    "overwriting": _About.overwriting_error,
    "rows": _About.rows_error,
    "state alone": _About.state_alone_error,
    "broadcast": _About.broadcast_error,
    "threads": _About.threads_error,
    "checkpoints": _About.checkpoints_error,
    "no steps": _About.no_steps_error,
}
SLOPES = {"slope 1": 1.0, "slope 2": 2.0}  # all other numbers are errors

# What correct code keeps to: a few roundings against the reference, and the same bits where the same operations are
# done in the same order.
_EXACT = dict.fromkeys(("zero", "overwriting", "threads", "checkpoints", "no steps"), 0.0)
LIMITS = {
    "float64": {**dict.fromkeys(CHECKS, 1e-12), **_EXACT, "dot": 1e-13, "slope 1": 0.1, "slope 2": 0.1},
    "float32": {**dict.fromkeys(CHECKS, 1e-5), **_EXACT},
}
