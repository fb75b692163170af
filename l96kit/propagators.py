"""A model and a time-stepping scheme together: steps, trajectories, and their derivatives."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from l96kit import _arrays
from l96kit._adjoint import AdjointRun
from l96kit._arrays import members, times
from l96kit._objects import Settings
from l96kit._progress import Pace, progress_bar
from l96kit._steps import step_count
from l96kit.kernels import launch as kernels
from l96kit.kernels.schemes import SCHEMES
from l96kit.models import Model

PIECE = 20_000_000  # site-steps of the first turn of a run, a hundredth of a second for Lorenz-96
SMALL_ENSEMBLE = 100  # sites, of all members; a step of fewer takes as long
MOST_TIMES = 2**31
TAPE_BYTES = 64 * 2**20  # of the states of a window, up to which its cost is asked but once
PART_BYTES = 2 * 2**20  # the same of a part of a longer window; what allocators keep at hand is not zeroed anew


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


@dataclass(frozen=True, eq=False, repr=False)
class Propagator(Settings):
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

    A member has the same bits in every ensemble of two or more, at every place in it, on every run. One state alone has
    compiled code of its own, and so have parameters that are numbers, all of them, beside those that are arrays, even
    of equal numbers: between these, roundings differ, by about one unit in the last place a step.

    Source: Hairer, Norsett & Wanner (1993), chapter II.1; the adjoint is that of the discrete scheme.
    """

    model: Model
    dt: float
    scheme: str | None = None
    device: str = "cpu"
    threads: Any = None

    def __post_init__(self):
        remedy = "see l96kit.StencilModel for one of your own"
        _arrays.instance(self.model, Model, "model", "a model such as l96kit.Lorenz96()", remedy)
        scheme = self.model.usual_scheme if self.scheme is None else self.scheme
        _arrays.settle(
            self,
            dt=_arrays.positive(self.dt, "dt", " (time units)"),
            scheme=_arrays.one_of(scheme, self.model.schemes, "scheme"),
        )
        _arrays.one_of(self.device, ("cpu", "cuda"), "device")
        if self.threads is not None:
            _arrays.settle(self, threads=_arrays.count(self.threads, "threads"))
        if self.device == "cuda":
            kernels.require_cuda()

    # --- forward ---------------------------------------------------------------------------------------------------

    def step(self, x, out=None):
        """One step: x (..., site) to (..., site). `out` may be x itself."""
        return self.forecast(x, 1, out)

    def forecast(self, x, steps, out=None, progress=False):
        """The state `steps` steps later: x (..., site) to (..., site); nothing in between is kept.

        `out` may be x itself, and changes only when the run has come to its end; progress : show a bar.
        """
        x, steps = self._ensemble(x), step_count(steps, "steps", 0)
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
        out : array (steps / every + 1, ..., site), optional. If the run is interrupted or blows up, it has the states
            up to there, and NaN beyond.
        progress : show a bar (on a terminal or in a notebook)

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
        whole, done = times(y), 0
        try:
            with progress_bar(intervals * every, "steps", progress) as bar:
                for more in self._run(members(x), self._parameters(x), whole, every, x.shape):
                    done += more
                    bar.update(more)
        except BaseException:
            if out is not None:
                whole[0], whole[done // every + 1 :] = members(x), np.nan
            raise
        finally:
            if isinstance(y, np.ndarray) and not np.shares_memory(whole, y):
                y[...] = whole.reshape(y.shape)
        return y

    # --- tangent ---------------------------------------------------------------------------------------------------

    def trajectory_tl(self, x, x_tl, steps, every=1, parameters_tl=None, progress=False):
        """The tangent of `trajectory` about the run from x, in the direction x_tl (and of the parameters).

        x, x_tl : (..., site), broadcast against each other; parameters_tl : dict of name -> change, optional;
        progress : show a bar. Returns (time, ..., site), linear in (x_tl, parameters_tl).
        """
        x = self._state(x)
        x_tl = self._state(x_tl, "x_tl", x.dtype)
        intervals, every = self._intervals(steps, every), int(every)
        x_wide, x_tl = _arrays.broadcast(x, x_tl, "x_tl")
        x = x if x.size == self.model.sites else x_wide  # one state alone serves all members as it is
        shape = x_tl.shape
        p, p_tl = self.model.parameter_pair(parameters_tl, shape, x.dtype, self.dt)
        y_tl = _arrays.output(None, (intervals + 1, *shape), x.dtype)

        def advance(states, every, y_tl):
            later, (state, tangent) = np.empty_like(y_tl[0]), states
            data = (state, p, tangent, p_tl, float(self.dt), every, later, y_tl)
            self._launch("trajectory_tl", data, 2, (len(y_tl) - 1) * every)
            return later, y_tl[-1]

        done = 0
        with progress_bar(intervals * every, "steps", progress) as bar:
            for piece, more in self._in_turns(advance, (members(x), members(x_tl)), times(y_tl), every, p):
                done += more
                bar.update(more)
                if not np.isfinite(piece[-1]).all():
                    self.forecast(x, done)  # if it is the run itself that blew up, then this says where
                    raise OverflowError(
                        f"x_tl: expected a tangent within the range of {x.dtype}, found it beyond after {done} steps "
                        f"for member {_first_bad(piece[-1], shape)}; take fewer steps and rescale it in between"
                    )
        return y_tl

    def step_tl(self, x, x_tl, parameters_tl=None):
        """The tangent of `step`: x, x_tl (..., site) to (..., site)."""
        return self.trajectory_tl(x, x_tl, 1, 1, parameters_tl)[1]

    # --- adjoint ---------------------------------------------------------------------------------------------------

    def trajectory_ad(self, x, y_ad, every=1, parameters=True, progress=False):
        """The transpose of `trajectory_tl`: from a forcing at each stored time back to the start and the parameters.

        x : (..., site), where the trajectory starts; y_ad : (time, ..., site), the derivative of a scalar with respect
        to each stored state; parameters, progress : as in `gradient`. Returns x_ad (..., site) and a dict of name ->
        gradient, shaped as the parameter.
        """
        x = self._state(x)
        y_ad = self._state(y_ad, "y_ad", x.dtype)
        every = _arrays.count(every, "every")
        if y_ad.shape[1:] != x.shape:
            raise ValueError(
                f"y_ad: expected shape (time, {', '.join(map(str, x.shape))}), found {y_ad.shape}; "
                "one slice for each stored time"
            )
        intervals = self._intervals((len(y_ad) - 1) * every, every)
        return self._adjoint(x, intervals, every, times(y_ad), None, None, parameters, progress)

    def step_ad(self, x, y_ad):
        """The transpose of `step_tl`: y_ad (..., site) to (x_ad, dict of parameter gradients)."""
        x, y_ad = self._state(x), self._state(y_ad, "y_ad")
        if y_ad.shape != x.shape:
            raise ValueError(f"y_ad: expected shape {x.shape} like x, found {y_ad.shape}; give one forcing a member")
        return self.trajectory_ad(x, np.stack([np.zeros_like(y_ad), y_ad]))

    def gradient(self, x, cost, steps, every=1, checkpoints=None, parameters=True, progress=False):
        """A scalar of a trajectory and its gradient with respect to where it starts and to the parameters.

        Parameters
        ----------
        x : (..., site)
        cost : function (y, t) -> (J, y_ad). y (time, ..., site) are the states at the steps t (time,) of an integer
            array; J is a number or one a member; y_ad, like y, is dJ/dy. A cost must be a sum over times if the window
            is long or `checkpoints` is given, since it is then called for one part of the trajectory after another.
        steps, every : as in `trajectory`
        checkpoints : how many states may be kept at once. None asks the cost for the whole trajectory if the states of
            all its steps take 64 MiB or less, otherwise for parts of 2 MiB, which is several times faster than fresh
            memory for all. The gradient is the same to the last bit; fewer checkpoints compute states again.
        parameters : whether the gradient in the parameters is wanted; without that in its weights, the adjoint of a
            network takes two thirds of the time
        progress : show a bar (on a terminal or in a notebook)

        Returns
        -------
        J : as `cost` gave it
        x_ad : (..., site), dJ/dx
        parameters_ad : dict of name -> array shaped as the parameter, dJ/dp; empty if it is not wanted

        Raises
        ------
        BlowUpError, OverflowError
            where the run or its adjoint leaves the finite numbers. What is made for minimisers gives an infinite cost
            instead: see `l96kit.variational`.

        Source: Griewank & Walther (2000), algorithm 799, for the schedule of checkpoints.
        """
        x, cost = self._state(x), _arrays.function(cost, "cost", "(y, t)")
        parameters = _arrays.flag(parameters, "parameters", "False leaves their gradient out")
        intervals, every = self._intervals(steps, every), int(every)
        total = []

        def forcing(y, t):
            J, y_ad = self._cost(cost, y.reshape(len(y), *x.shape), t)
            total.append(J)
            return times(y_ad)

        bytes_of_step = kernels.tape_bytes(self.model.kernel, *members(x).shape, x.dtype)
        if checkpoints is not None:
            checkpoints = part = _arrays.count(checkpoints, "checkpoints")
        elif intervals * every * bytes_of_step <= TAPE_BYTES:
            part = max(1, intervals * every)
        else:
            part = max(1, min(TAPE_BYTES, PART_BYTES) // bytes_of_step)
        found = self._adjoint(x, intervals, every, forcing, part, checkpoints, parameters, progress)
        return _arrays.total(np.stack(total), axis=0), *found

    def _adjoint(self, x, intervals, every, forcing, part, checkpoints, parameters, progress):
        """What comes back to x and to the parameters; see `AdjointRun`."""
        steps = intervals * every
        with progress_bar(steps, "steps", progress) as bar:
            run = AdjointRun(self, x, every, forcing, part, checkpoints, parameters, bar)
            run.through(intervals)
        x_ad, p_ad = run.x_ad, run.p_ad
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
        return x_ad.reshape(x.shape), self.model.parameter_gradients(p_ad, x.shape) if parameters else {}

    # --- matrices --------------------------------------------------------------------------------------------------

    def jacobian(self, x, steps=1, progress=False):
        """The matrices d x_i(steps) / d x_j(0) about the runs from x (..., site): (..., site, site).

        Perturbations of sites so far apart that no site feels two of them share a tangent. progress : show a bar.
        """
        x, steps, sites = self._state(x), step_count(steps, "steps"), self.model.sites
        _arrays.require_memory(x.nbytes * sites, "jacobian", "use `linear_operator`, or fewer members at once")
        fields, ring = self.model.fields, self.model.ring
        left, right = (SCHEMES[self.scheme].stages * steps * reach for reach in self.model.sight)
        between = _spacing(ring, left + right + 1)
        directions = np.zeros((fields, between, *(1,) * (x.ndim - 1), fields, ring), x.dtype)
        for field in range(fields):
            directions[field, np.arange(ring) % between, ..., field, np.arange(ring)] = 1
        directions = directions.reshape(fields * between, *directions.shape[2:-2], sites)
        found = self.trajectory_tl(x, directions, steps, steps, progress=progress)[1]
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
        from l96kit._tangent import Tangent  # which takes SciPy's solvers along

        return Tangent(self, self._one_state(x).copy(), step_count(steps, "steps"))

    # --- in between ------------------------------------------------------------------------------------------------

    def _state(self, x, name="x", dtype=None):
        return _arrays.state(x, self.model.sites, name, dtype)

    def _ensemble(self, x):
        """The same, but x may lie on the GPU that this propagator runs on; then it comes as an array of Numba's."""
        if self.device == "cuda" and _arrays.on_device(x):
            return _arrays.state(kernels.as_device(x), self.model.sites, device=True)
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
        steps, every = step_count(steps, "steps", 0), step_count(every, "every")
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
            raise TypeError(f"cost: expected J of real numbers, found {_arrays.kind(J)}; return one or one a member")
        if J.shape not in ((), y.shape[1:-1]):
            raise ValueError(f"cost: expected J of shape () or {y.shape[1:-1]}, found {J.shape}; return one a member")
        if y_ad.shape != y.shape:
            raise ValueError(f"cost: expected y_ad of shape {y.shape} like y, found {y_ad.shape}; return dJ/dy")
        if y_ad.dtype.kind not in "fiu":
            raise TypeError(f"cost: expected y_ad of real numbers, found {_arrays.kind(y_ad)}; return dJ/dy")
        return J[()], _arrays.plain(y_ad, y.dtype)

    def _launch(self, op, data, outputs, steps):
        kernels.launch(op, self.model.kernel, self.scheme, data, outputs, steps, self.device, self.threads)

    def _run(self, x, p, y, every, shape, first_step=0):
        """Fill y (time, member, site) from x (member, site); yields after each turn how many steps it took.

        A blow-up is reported with its step; `shape` is that of the user's ensemble, and `first_step` the step at x.
        """
        no_tape, done = kernels.empty((1, 0, 1), x.dtype, self.device), 0

        def advance(state, every, y):
            self._step_on(state, p, every, y, no_tape)
            return y[len(y) - 1]

        for piece, more in self._in_turns(advance, x, y, every, p):
            if not _arrays.on_device(y) and not np.isfinite(piece[-1]).all():
                good, broken = self._where(p, piece, more // (len(piece) - 1))
                yield good
                done += good
                kept = y[: done // every + 1].reshape(-1, *shape)
                raise BlowUpError(first_step + done + 1, _first_bad(broken, shape), kept, self.dt)
            done += more
            yield more

    def _run_taped(self, x, p, y, every, tape, shape, first_step):
        """The same in one call, with the state before each step on a tape."""
        self._step_on(x, p, every, y, tape)
        if not np.isfinite(y[-1]).all():
            good, broken = self._where(p, y, every)
            kept = y[: good // every + 1].reshape(-1, *shape)
            raise BlowUpError(first_step + good + 1, _first_bad(broken, shape), kept, self.dt)

    def _in_turns(self, advance, state, y, every, p):
        """Fill y, times `every` steps apart, in turns; yields after each what it filled and how many steps it took.

        advance(state, every, piece) fills a piece of y, or two states within an interval, and returns what the next
        one goes on from.
        """
        steps, done = (len(y) - 1) * every, 0
        if not steps:
            y[0] = state[1] if isinstance(state, tuple) else state
        size = max(y.shape[1] * y.shape[2], SMALL_ENSEMBLE)
        pace = Pace(PIECE // (size * kernels.weight(self.model.kernel, p)))
        while done < steps:
            time, begun = divmod(done, every)
            if begun or pace.units < every:
                between = min(pace.units, every - begun)
                piece = np.empty((2, *y.shape[1:]), y.dtype)
            else:
                between = every
                piece = y[time : time + 1 + min(pace.units // every, len(y) - 1 - time)]
            taken = (len(piece) - 1) * between
            with pace.turn(taken):
                state = advance(state, between, piece)
            done += taken
            if between < every:
                if not begun:
                    y[time] = piece[0]
                y[time + 1] = piece[1]
            yield piece, taken

    def _step_on(self, x, p, every, y, tape):
        data = (x, p, float(self.dt), every, y, tape)
        self._launch("trajectory", data, 2, (len(y) - 1) * every)

    def _where(self, p, y, every):
        """How many steps were good, of those from y[0] to the first time that is not finite, and the state after the
        next one; found by halves, as nothing heals later."""
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
        return good, broken


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


def checked_propagator(value, name="propagator"):
    """A propagator; anything else is refused."""
    return _arrays.instance(value, Propagator, name, "l96kit.Propagator", "make one from a model and its time step")
