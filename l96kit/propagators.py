"""A model and a time-stepping scheme together: steps, trajectories, and their derivatives."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from l96kit import _arrays
from l96kit._arrays import members, times
from l96kit._progress import progress_bar
from l96kit.checkpoints import reverse_in_segments
from l96kit.kernels import launch as kernels
from l96kit.kernels.schemes import SCHEMES
from l96kit.models import Model, _broadcast

PIECE = 400_000_000  # site-steps of one call of a kernel, under a second: then the bar moves and Ctrl-C is heard
SMALL_ENSEMBLE = 100  # sites, of all members; a step of fewer takes as long
MOST_TIMES = 2**31
TAPE_BYTES = 512 * 2**20  # of states that an adjoint keeps at once; a longer window is cut into segments


class BlowUpError(ArithmeticError):
    """A run left the finite numbers.

    step : the first step after which a value is not finite
    member : the first such member: its index, or a tuple of indices if the ensemble has several axes
    trajectory : what was computed before, (time, ..., site); with `gradient`, of the part that it was working on
    """

    def __init__(self, step, member, trajectory, dt):
        super().__init__(
            f"the run blew up: expected finite numbers, found none for member {member} at step {step} "
            f"(time {step * dt:g}); take a smaller dt or look at that member's initial state"
        )
        self.step, self.member, self.trajectory, self.dt = step, member, trajectory, dt

    def __reduce__(self):
        return type(self), (self.step, self.member, self.trajectory, self.dt)


@dataclass(frozen=True, eq=False)
class Propagator:
    """Steps a model through time with an explicit scheme, and differentiates exactly what it computes.

    Parameters
    ----------
    model : Lorenz96, StencilModel, ...
    dt : length of a step, in time units of the model
    scheme : "euler", "heun" (predictor-corrector), "rk4" (classic) or "rk38" (3/8 rule); for KuramotoSivashinsky also
        "etdrk4" (exponential time differencing). None takes the usual one of the model: "rk4" or "etdrk4".
    device : "cpu" or "cuda"
    threads : how many threads may share an ensemble; None takes $L96KIT_NUM_THREADS or all cores. The result is the
        same, to the last bit, for every number.

    Arrays are (..., site): every leading axis is an ensemble. The precision of the output is that of the input. With
    device="cuda", NumPy arrays are sent and fetched; device arrays (CuPy, PyTorch, Numba: anything with
    `__cuda_array_interface__`, shape (member, site)) stay there in `step`, `forecast` and `trajectory`, whose result is
    then an array of Numba's on the device.

    Source: Hairer, Norsett & Wanner (1993), chapter II.1; the adjoint is that of the discrete scheme.
    """

    model: Model
    dt: float
    scheme: str | None = None
    device: str = "cpu"
    threads: Any = None

    def __post_init__(self):
        if not isinstance(self.model, Model):
            raise TypeError(
                f"model: expected a model such as l96kit.Lorenz96(), found {type(self.model).__name__}; "
                "see l96kit.StencilModel for one of your own"
            )
        _arrays.positive(self.dt, "dt", " (time units)")
        if self.scheme is None:
            object.__setattr__(self, "scheme", self.model.usual_scheme)
        _arrays.one_of(self.scheme, self.model.schemes, "scheme")
        _arrays.one_of(self.device, ("cpu", "cuda"), "device")
        if self.threads is not None:
            _arrays.count(self.threads, "threads")
        if self.device == "cuda":
            kernels.require_cuda()

    # --- forward ---------------------------------------------------------------------------------------------------

    def step(self, x, out=None):
        """One step: x (..., site) to (..., site). `out` may be x itself."""
        return self.forecast(x, 1, out)

    def forecast(self, x, steps, out=None, progress=False):
        """The state `steps` steps later: x (..., site) to (..., site); nothing in between is kept."""
        x, steps = self._ensemble(x), _arrays.count(steps, "steps", 0)
        if not _arrays.on_device(x):
            out = _arrays.output(out, x.shape, x.dtype)
        y = self.trajectory(x, steps, every=max(steps, 1), progress=progress)
        last = y[len(y) - 1]
        if _arrays.on_device(x):
            return last
        out[...] = last
        return out

    def trajectory(self, x, steps, every=1, out=None, progress=False):
        """The states at steps 0, every, 2 every, ..., steps.

        Parameters
        ----------
        x : (..., site) float32 or float64, dimensionless
        steps : how many time steps, a multiple of `every`; 0 gives x alone
        out : array (steps / every + 1, ..., site), optional
        progress : show a bar (on a terminal)

        Returns
        -------
        (time, ..., site)

        Raises
        ------
        BlowUpError
            with step, member, and the trajectory up to there
        """
        x = self._ensemble(x)
        intervals, every = self._intervals(steps, every), int(every)
        if _arrays.on_device(x):
            y = kernels.empty((intervals + 1, *x.shape), x.dtype, self.device)
        else:
            y = _arrays.output(out, (intervals + 1, *x.shape), x.dtype)
            x = x.copy() if np.may_share_memory(x, y) else x  # kernels are told that their arrays are distinct
        whole = times(y)
        contiguous = np.shares_memory(whole, y) if isinstance(y, np.ndarray) else True
        self._run(members(x), self._parameters(x), whole, every, progress, x.shape)
        if not contiguous:
            y[...] = whole.reshape(y.shape)
        return y

    # --- tangent ---------------------------------------------------------------------------------------------------

    def trajectory_tl(self, x, x_tl, steps, every=1, parameters_tl=None):
        """The tangent of `trajectory` about the run from x, in the direction x_tl (and of the parameters).

        x, x_tl : (..., site), broadcast against each other; parameters_tl : dict of name -> change, optional.
        Returns (time, ..., site), linear in (x_tl, parameters_tl).
        """
        x = self._state(x)
        x_tl = self._state(x_tl, "x_tl", x.dtype)
        intervals, every = self._intervals(steps, every), int(every)
        x_wide, x_tl = _broadcast(x, x_tl, "x_tl")
        x = x if x.size == self.model.sites else x_wide  # one state alone serves all members as it is
        shape = x_tl.shape
        p, p_tl = self.model.parameter_pair(parameters_tl, shape, x.dtype, self.dt)
        y_tl = np.empty((intervals + 1, *shape), x.dtype)
        data = (members(x), p, members(x_tl), p_tl, float(self.dt), every, times(y_tl))
        self._launch("trajectory_tl", data, 1, intervals * every)
        if not np.isfinite(y_tl[-1]).all():
            self.trajectory(x, steps, every)  # if it is the run itself that blew up, then this says where
            raise OverflowError(
                f"x_tl: expected a tangent within the range of {x.dtype}, found it beyond after {steps} steps for "
                f"member {_first_bad(y_tl[-1], shape)}; take fewer steps and rescale it in between"
            )
        return y_tl

    def step_tl(self, x, x_tl, parameters_tl=None):
        """The tangent of `step`: x, x_tl (..., site) to (..., site)."""
        return self.trajectory_tl(x, x_tl, 1, 1, parameters_tl)[1]

    # --- adjoint ---------------------------------------------------------------------------------------------------

    def trajectory_ad(self, x, y_ad, every=1):
        """The transpose of `trajectory_tl`: from a forcing at each stored time back to the start and the parameters.

        x : (..., site), where the trajectory starts; y_ad : (time, ..., site), the derivative of a scalar with respect
        to each stored state. Returns x_ad (..., site) and a dict of name -> gradient, shaped as the parameter.
        """
        x = self._state(x)
        y_ad = self._state(y_ad, "y_ad", x.dtype)
        every = _arrays.count(every, "every")
        if y_ad.shape[1:] != x.shape:
            raise ValueError(
                f"y_ad: expected shape (time, {', '.join(map(str, x.shape))}), found {y_ad.shape}; "
                "one slice for each stored time"
            )
        return self.gradient(x, lambda y, t: (0.0, y_ad[t // every]), (len(y_ad) - 1) * every, every)[1:]

    def step_ad(self, x, y_ad):
        """The transpose of `step_tl`: y_ad (..., site) to (x_ad, dict of parameter gradients)."""
        y_ad = self._state(y_ad, "y_ad")
        if y_ad.shape != np.shape(x):
            raise ValueError(
                f"y_ad: expected shape {np.shape(x)} like x, found {y_ad.shape}; give one forcing a member"
            )
        return self.trajectory_ad(x, np.stack([np.zeros_like(y_ad), y_ad]))

    def gradient(self, x, cost, steps, every=1, checkpoints=None, parameters=True):
        """A scalar of a trajectory and its gradient with respect to where it starts and to the parameters.

        Parameters
        ----------
        x : (..., site)
        cost : function (y, t) -> (J, y_ad). y (time, ..., site) are the states at the steps t (time,) of an integer
            array; J is a number or one a member; y_ad, like y, is dJ/dy. A cost must be a sum over times if the window
            is long or `checkpoints` is given, since it is then called for one part of the trajectory after another.
        steps, every : as in `trajectory`
        checkpoints : how many states may be kept at once; None keeps all up to half a GiB. The gradient is the same
            to the last bit, at the cost of computing states again.
        parameters : whether the gradient in the parameters is wanted; without that in its weights, the adjoint of a
            network takes two thirds of the time

        Returns
        -------
        J : as `cost` gave it
        x_ad : (..., site), dJ/dx
        parameters_ad : dict of name -> array shaped as the parameter, dJ/dp; empty if it is not wanted

        Source: Griewank & Walther (2000), algorithm 799, for the schedule of checkpoints.
        """
        x = self._state(x)
        intervals, every = self._intervals(steps, every), int(every)
        start, p = members(x), self._parameters(x)
        per_interval = every * kernels.tape_bytes(self.model.kernel, *start.shape, x.dtype)
        segment = max(1, TAPE_BYTES // per_interval)
        if checkpoints is not None:
            segment = max(1, _arrays.count(checkpoints, "checkpoints") // every)
        segment = min(segment, max(intervals, 1))
        x_ad = np.zeros_like(start)
        p_ad = kernels.zero_gradients(self.model.kernel, p, *start.shape, x.dtype, self.device, weights=parameters)
        total = []

        def advance(state, first, last):
            y = np.empty((2, *start.shape), x.dtype)
            self._run(state, p, y, (last - first) * every, False, x.shape, first * every)
            return y[1]

        def reverse(state, first, last):
            y = np.empty((last - first + 1, *start.shape), x.dtype)
            with kernels.tape(self.model.kernel, *start.shape, (last - first) * every, x.dtype) as tape:
                self._run(state, p, y, every, False, x.shape, first * every, tape)
                begin = 0 if first == 0 else 1  # the first state of a segment is the last of the one before
                t = np.arange(first + begin, last + 1) * every
                J, forcing = self._cost(cost, y.reshape(len(y), *x.shape)[begin:], t)
                total.append(J)
                y_ad = forcing.reshape(len(t), *start.shape)
                if (first, last) != (0, intervals):
                    y_ad = np.concatenate([np.zeros_like(y[:begin]), y_ad])
                    y_ad[-1] += x_ad
                    x_ad[...] = 0
                data = (tape, p, float(self.dt), every, y_ad, x_ad, p_ad)
                self._launch("trajectory_ad", data, 2, (last - first) * every)

        reverse_in_segments(start, intervals, segment, checkpoints, advance, reverse)
        if not np.isfinite(x_ad).all():
            raise OverflowError(
                f"gradient: expected finite numbers, found none for member {_first_bad(x_ad, x.shape)}; either y_ad "
                f"is not finite or the adjoint left the range of {x.dtype} on its {steps} steps back: take fewer steps"
            )
        if not all(np.isfinite(part).all() for part in p_ad):
            names = ", ".join(self.model.parameters)
            raise OverflowError(
                f"gradient: expected numbers within the range of {x.dtype}, found more for {names}; use float64"
            )
        parameters_ad = self.model.parameter_gradients(p_ad, x.shape) if parameters else {}
        return sum(total[1:], total[0]), x_ad.reshape(x.shape), parameters_ad

    # --- matrices --------------------------------------------------------------------------------------------------

    def jacobian(self, x, steps=1):
        """The matrices d x_i(steps) / d x_j(0) about the runs from x (..., site): (..., site, site).

        Perturbations of sites so far apart that no site feels two of them share a tangent.
        """
        x, steps, sites = self._state(x), _arrays.count(steps, "steps"), self.model.sites
        fields, ring = self.model.fields, self.model.ring
        left, right = (SCHEMES[self.scheme].stages * steps * reach for reach in self.model.sight)
        between = _spacing(ring, left + right + 1)
        directions = np.zeros((fields, between, *(1,) * (x.ndim - 1), fields, ring), x.dtype)
        for field in range(fields):
            directions[field, np.arange(ring) % between, ..., field, np.arange(ring)] = 1
        directions = directions.reshape(fields * between, *directions.shape[2:-2], sites)
        found = self.trajectory_tl(x, directions, steps, steps)[1]
        if between < ring:
            shared = found.reshape(fields, between, *x.shape[:-1], fields, ring)
            columns = np.zeros((fields, ring, *x.shape[:-1], fields, ring), x.dtype)
            offsets = np.arange(-right, left + 1)  # of the sites that feel a perturbation
            for site in range(ring):
                felt = (site + offsets) % ring
                columns[:, site, ..., felt] = shared[:, site % between, ..., felt]
            found = columns.reshape(sites, *x.shape)
        return np.moveaxis(found, 0, -1)

    def linear_operator(self, x, steps=1):
        """The same as a `scipy.sparse.linalg.LinearOperator` (site, site): products with tangent and adjoint alone."""
        from scipy.sparse.linalg import LinearOperator

        x, steps = self._one_state(x), _arrays.count(steps, "steps")

        def forward(v):
            if np.iscomplexobj(v):
                return forward(v.real) + 1j * forward(v.imag)
            v = np.asarray(v, x.dtype)
            return self.trajectory_tl(x, v.T, steps, steps)[1].T

        def transposed(w):
            if np.iscomplexobj(w):
                return transposed(w.real) + 1j * transposed(w.imag)
            w = np.asarray(w, x.dtype)
            y_ad = np.stack([np.zeros_like(w.T), w.T])
            return self.trajectory_ad(np.broadcast_to(x, w.T.shape), y_ad, steps)[0].T

        return LinearOperator(
            (self.model.sites,) * 2,
            matvec=lambda v: forward(np.ravel(v)),
            rmatvec=lambda w: transposed(np.ravel(w)),
            matmat=forward,
            rmatmat=transposed,
            dtype=x.dtype,
        )

    # --- in between ------------------------------------------------------------------------------------------------

    def _state(self, x, name="x", dtype=None):
        return _arrays.state(_arrays.on_host(x, name), self.model.sites, name, dtype)

    def _ensemble(self, x):
        """The same, but x may lie on the GPU that this propagator runs on; then it comes as an array of Numba's."""
        if self.device == "cuda" and _arrays.on_device(x):
            return _arrays.state(kernels.as_device(x), self.model.sites)
        return self._state(x)

    def _one_state(self, x):
        x = self._state(x)
        if x.ndim != 1:
            raise ValueError(f"x: expected one state ({self.model.sites},), found {x.shape}; call once for each member")
        return x

    def _parameters(self, x):
        return self.model.kernel_parameters(tuple(x.shape), x.dtype, self.dt)

    @staticmethod
    def _intervals(steps, every):
        steps, every = _arrays.count(steps, "steps", 0), _arrays.count(every, "every")
        if steps % every:
            below = steps - steps % every
            raise ValueError(
                f"steps: expected a multiple of every = {every}, found {steps}; take {below} or {below + every}"
            )
        if steps // every > MOST_TIMES:
            raise ValueError(
                f"steps: expected at most {MOST_TIMES} stored times, found {steps // every}; take a larger `every` "
                "or go in several calls"
            )
        return steps // every

    @staticmethod
    def _cost(cost, y, t):
        """What the user's function returns, checked, with y_ad in the precision of y."""
        found = cost(y, t)
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(f"cost: expected it to return a pair (J, y_ad), found {type(found).__name__}; return both")
        J, y_ad = np.array(_arrays.array(found[0], "J")), _arrays.array(found[1], "y_ad")
        if J.dtype.kind not in "fiu":
            raise TypeError(f"cost: expected J of real numbers, found {J.dtype}; return a number, or one a member")
        if J.shape not in ((), y.shape[1:-1]):
            raise ValueError(f"cost: expected J of shape () or {y.shape[1:-1]}, found {J.shape}; return one a member")
        if y_ad.shape != y.shape:
            raise ValueError(f"cost: expected y_ad of shape {y.shape} like y, found {y_ad.shape}; return dJ/dy")
        if y_ad.dtype.kind not in "fiu":
            raise TypeError(f"cost: expected y_ad of real numbers, found {y_ad.dtype}; return dJ/dy")
        return J[()], _arrays.plain(y_ad, y.dtype)

    def _launch(self, op, data, outputs, steps):
        kernels.launch(op, self.model.kernel, self.scheme, data, outputs, steps, self.device, self.threads)

    def _run(self, x, p, y, every, progress, shape, first_step=0, tape=None):
        """Fill y (time, member, site) from x (member, site), in pieces; a blow-up is reported with its step.

        `shape` is that of the user's ensemble, and `first_step` the step at x, for that report.
        """
        intervals, size = len(y) - 1, max(x.shape[0] * x.shape[1], SMALL_ENSEMBLE)
        inner = every if tape is not None else max(1, min(every, PIECE // size))
        no_tape = kernels.empty((1, 0, 1), x.dtype, self.device)
        if intervals == 0:
            y[0] = x
            return
        with progress_bar(intervals * every, "steps", progress) as bar:
            done = 0
            while done < intervals:
                more = intervals - done if tape is not None else min(intervals - done, max(1, PIECE // (size * every)))
                state = x if done == 0 else y[done]
                if inner == every:
                    piece = y[done : done + more + 1]
                    self._step_on(state, p, every, piece, no_tape if tape is None else tape)
                else:
                    y[done] = state
                    for begin in range(0, every, inner):
                        pair = np.empty((2, *x.shape), x.dtype)
                        self._step_on(state, p, min(inner, every - begin), pair, no_tape)
                        state = pair[1]
                        bar.update(min(inner, every - begin))
                    y[done + 1] = state
                if not _arrays.on_device(y) and not np.isfinite(y[done + more]).all():
                    self._report(p, y[: done + more + 1], every, shape, first_step)
                done += more
                if inner == every:
                    bar.update(more * every)

    def _step_on(self, x, p, every, y, tape):
        data = (x, p, float(self.dt), every, y, tape)
        self._launch("trajectory", data, 2, (len(y) - 1) * every)

    def _report(self, p, y, every, shape, first_step):
        """Find the first bad step: the first stored time that is not finite, then by halves, as nothing heals later."""
        bad = next(t for t in range(len(y)) if not np.isfinite(y[t]).all())
        good, state, step, broken = (bad - 1) * every, y[bad - 1], bad * every, y[bad]
        while step - good > 1:
            middle = (good + step) // 2
            pair = np.empty((2, *state.shape), state.dtype)
            self._step_on(state, p, middle - good, pair, kernels.empty((1, 0, 1), state.dtype, self.device))
            if np.isfinite(pair[1]).all():
                good, state = middle, pair[1]
            else:
                step, broken = middle, pair[1]
        raise BlowUpError(first_step + step, _first_bad(broken, shape), y[:bad].reshape(bad, *shape), self.dt)


def _spacing(sites, width):
    """How far apart perturbations may lie so that those which share a tangent reach `width` sites each."""
    for shared in range(sites // width, 1, -1):
        between = -(-sites // shared)
        if sites - (shared - 1) * between >= width:
            return between
    return sites


def _first_bad(state, shape):
    """The first member that is not finite in an ensemble of `shape`: its index, or indices if it has several axes."""
    index = np.unravel_index(np.argmin(np.isfinite(state).reshape(-1, shape[-1]).all(axis=-1)), shape[:-1] or (1,))
    return int(index[0]) if len(index) == 1 else tuple(map(int, index))
