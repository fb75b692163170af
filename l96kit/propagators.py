"""A model and a time-stepping scheme together: steps, trajectories, and their derivatives."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from l96kit import _arrays
from l96kit._arrays import members, times
from l96kit._progress import progress_bar
from l96kit.checkpoints import reverse_in_segments
from l96kit.kernels import launch as kernels
from l96kit.kernels.runge_kutta import SCHEMES
from l96kit.models import Model, _broadcast

PIECE = 400_000_000  # site-steps of one call of a kernel, under a second: then the bar moves and Ctrl-C is heard
TAPE_BYTES = 512 * 2**20  # of states that an adjoint keeps at once; a longer window is cut into segments


class BlowUpError(ArithmeticError):
    """A run left the finite numbers.

    step : the first step after which a value is not finite
    member : index of the (first) member in the leading axes of the ensemble
    trajectory : what was computed before, (time, ..., site)
    """

    def __init__(self, step, member, trajectory, dt):
        super().__init__(
            f"the run blew up: expected finite numbers, found none for member {member} at step {step} "
            f"(time {step * dt:g}); take a smaller dt or look at that member's initial state"
        )
        self.step, self.member, self.trajectory = step, member, trajectory


@dataclass(frozen=True)
class Propagator:
    """Steps a model through time with an explicit Runge-Kutta scheme, and differentiates exactly what it computes.

    Parameters
    ----------
    model : Lorenz96, StencilModel, ...
    dt : length of a step, in time units of the model
    scheme : "euler", "heun" (predictor-corrector), "rk4" (classic) or "rk38" (3/8 rule)
    device : "cpu" or "cuda"
    threads : how many threads may share an ensemble; None takes $L96KIT_NUM_THREADS or all cores. The result is the
        same, to the last bit, for every number.

    Arrays are (..., site): every leading axis is an ensemble. The precision of the output is that of the input. With
    device="cuda", NumPy arrays are sent and fetched; device arrays (CuPy, PyTorch, Numba: anything with
    `__cuda_array_interface__`, shape (member, site)) stay there and so does the result.

    Source: Hairer, Norsett & Wanner (1993), chapter II.1; the adjoint is that of the discrete scheme.
    """

    model: Model
    dt: float
    scheme: str = "rk4"
    device: str = "cpu"
    threads: Any = None

    def __post_init__(self):
        if not isinstance(self.model, Model):
            raise TypeError(
                f"model: expected a model such as l96kit.Lorenz96(), found {type(self.model).__name__}; "
                "see l96kit.StencilModel for one of your own"
            )
        _arrays.positive(self.dt, "dt", " (time units)")
        _arrays.one_of(self.scheme, tuple(SCHEMES), "scheme")
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
        steps = _arrays.count(steps, "steps")
        y = self.trajectory(x, steps, every=steps, progress=progress)
        if _arrays.on_device(y):
            return y[1]
        out = _arrays.output(out, y.shape[1:], y.dtype)
        out[...] = y[1]
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
        x = self._state(x)
        intervals = self._intervals(steps, every)
        if _arrays.on_device(x):
            y = kernels.empty((intervals + 1, *x.shape), x.dtype, self.device)
        else:
            y = _arrays.output(out, (intervals + 1, *x.shape), x.dtype)
        whole = times(y)
        contiguous = np.shares_memory(whole, y) if isinstance(y, np.ndarray) else True
        self._run(members(x), self._parameters(x), whole, every, progress)
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
        x_tl = _arrays.state(x_tl, self.model.sites, "x_tl", x.dtype)
        intervals = self._intervals(steps, every)
        shape = _broadcast(x, x_tl, "x_tl")[1].shape
        if x.size > self.model.sites:
            x, _ = _broadcast(x, x_tl, "x_tl")  # one state alone serves all members as it is
        x_tl = np.broadcast_to(x_tl, shape)
        p, p_tl = self.model.parameter_pair(parameters_tl, shape, x.dtype)
        y_tl = np.empty((intervals + 1, *shape), x.dtype)
        data = (members(x), p, members(x_tl), p_tl, float(self.dt), every, times(y_tl))
        self._launch("trajectory_tl", data, 1, len(members(x_tl)), steps)
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
        y_ad = _arrays.state(y_ad, self.model.sites, "y_ad", x.dtype)
        if y_ad.shape[1:] != x.shape:
            raise ValueError(
                f"y_ad: expected shape (time, {', '.join(map(str, x.shape))}), found {y_ad.shape}; "
                "one slice for each stored time"
            )
        return self.gradient(x, lambda y, t: (0.0, y_ad[t // every]), (len(y_ad) - 1) * every, every)[1:]

    def step_ad(self, x, y_ad):
        """The transpose of `step_tl`: y_ad (..., site) to (x_ad, dict of parameter gradients)."""
        y_ad = _arrays.state(y_ad, self.model.sites, "y_ad")
        return self.trajectory_ad(x, np.stack([np.zeros_like(y_ad), y_ad]))

    def gradient(self, x, cost, steps, every=1, checkpoints=None):
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

        Returns
        -------
        J : as `cost` gave it
        x_ad : (..., site), dJ/dx
        parameters_ad : dict of name -> array shaped as the parameter, dJ/dp

        Source: Griewank & Walther (2000), algorithm 799, for the schedule of checkpoints.
        """
        x = self._state(x)
        intervals = self._intervals(steps, every)
        start, p = members(x), self._parameters(x)
        per_interval = every * kernels.tape_bytes(*start.shape, x.dtype)
        segment = max(1, TAPE_BYTES // per_interval)
        if checkpoints is not None:
            segment = max(1, _arrays.count(checkpoints, "checkpoints") // every)
        segment = min(segment, max(intervals, 1))
        x_ad, p_ad = np.zeros_like(start), self.model.zero_gradients(x)
        total = []

        def advance(state, first, last):
            y = np.empty((2, *start.shape), x.dtype)
            self._run(state, p, y, (last - first) * every, False, first * every)
            return y[1]

        def reverse(state, first, last):
            y = np.empty((last - first + 1, *start.shape), x.dtype)
            with kernels.tape(*start.shape, (last - first) * every, x.dtype) as tape:
                self._run(state, p, y, every, False, first * every, tape)
                begin = 0 if first == 0 else 1  # the first state of a segment is the last of the one before
                t = np.arange(first + begin, last + 1) * every
                J, forcing = cost(y.reshape(len(y), *x.shape)[begin:], t)
                total.append(J)
                y_ad = self._forcing(forcing, (len(t), *x.shape), x.dtype).reshape(len(t), *start.shape)
                if (first, last) != (0, intervals):
                    y_ad = np.concatenate([np.zeros_like(y[:begin]), y_ad])
                    y_ad[-1] += x_ad
                    x_ad[...] = 0
                data = (p, float(self.dt), every, tape, y_ad, x_ad, p_ad)
                self._launch("trajectory_ad", data, 2, len(start), (last - first) * every)

        reverse_in_segments(start, intervals, segment, checkpoints, advance, reverse)
        return sum(total[1:], total[0]), x_ad.reshape(x.shape), self.model.parameter_gradients(p_ad, x.shape)

    # --- matrices --------------------------------------------------------------------------------------------------

    def jacobian(self, x, steps=1):
        """The matrix d x_i(steps) / d x_j(0) about the run from one state x (site,): (site, site)."""
        x = self._one_state(x)
        identity = np.eye(self.model.sites, dtype=x.dtype)
        return self.trajectory_tl(x, identity, steps, _arrays.count(steps, "steps"))[1].T

    def linear_operator(self, x, steps=1):
        """The same as a `scipy.sparse.linalg.LinearOperator` (site, site): products with tangent and adjoint, no matrix."""
        from scipy.sparse.linalg import LinearOperator

        x, steps = self._one_state(x), _arrays.count(steps, "steps")

        def forward(v):
            v = np.asarray(v, x.dtype)
            return self.trajectory_tl(x, v.T, steps, steps)[1].T

        def transposed(w):
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

    def _state(self, x):
        return _arrays.state(x, self.model.sites)

    def _one_state(self, x):
        x = self._state(x)
        if x.ndim != 1:
            raise ValueError(f"x: expected one state ({self.model.sites},), found {x.shape}; call once for each member")
        return x

    def _parameters(self, x):
        return self.model.parameter_array(tuple(x.shape), x.dtype)

    @staticmethod
    def _intervals(steps, every):
        steps, every = _arrays.count(steps, "steps", 0), _arrays.count(every, "every")
        if steps % every:
            raise ValueError(
                f"steps: expected a multiple of every = {every}, found {steps}; take {steps - steps % every} or {steps - steps % every + every}"
            )
        return steps // every

    @staticmethod
    def _forcing(y_ad, shape, dtype):
        y_ad = np.asarray(y_ad)
        if y_ad.shape != shape:
            raise ValueError(f"cost: expected it to return (J, y_ad) with y_ad {shape} like y, found {y_ad.shape}; return dJ/dy")
        return np.ascontiguousarray(y_ad, dtype)

    def _launch(self, op, data, outputs, ensemble, steps):
        kernels.launch(op, self.model.kernel, self.scheme, data, outputs, ensemble, steps, self.device, self.threads)

    def _run(self, x, p, y, every, progress, first_step=0, tape=None):
        """Fill y (time, member, site) from x (member, site), in pieces; a blow-up is reported with its step."""
        intervals, size = len(y) - 1, x.shape[0] * x.shape[1]
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
                    self._report(p, y, done, done + more, every, first_step)
                done += more
                if inner == every:
                    bar.update(more * every)

    def _step_on(self, x, p, every, y, tape):
        data = (x, p, float(self.dt), every, y, tape)
        self._launch("trajectory", data, 2, len(x), (len(y) - 1) * every)

    def _report(self, p, y, done, last, every, first_step):
        """Find the first bad step: the first stored time that is not finite, then every step before it once more."""
        bad = next(t for t in range(done, last + 1) if not np.isfinite(y[t]).all())
        member = int(np.argmin(np.isfinite(y[bad]).all(axis=-1)))
        state, step = y[bad - 1], (bad - 1) * every
        one = np.empty((2, *state.shape), state.dtype)
        for step in range(step + 1, bad * every + 1):
            self._step_on(state, p, 1, one, kernels.empty((1, 0, 1), state.dtype, self.device))
            state = one[1].copy()
            if not np.isfinite(state).all():
                member = int(np.argmin(np.isfinite(state).all(axis=-1)))
                break
        raise BlowUpError(first_step + step, member, y[:bad], self.dt)
