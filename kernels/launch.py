"""From arrays to a finished kernel: choose the tile, build and compile once, run over all tiles on CPU or CUDA."""

import math
import sys
from collections import deque
from contextlib import contextmanager
from functools import wraps

import numpy as np

from l96kit.kernels import _fingerprint, _targets, filters, gauss_newton, observing, training, trajectory
from l96kit.kernels.dynamics import is_spectral
from l96kit.kernels.layers import SPARE, Row, tile_size
from l96kit.kernels.networks import channels_of, multiplications
from l96kit.kernels.schemes import SCHEMES
from l96kit.kernels.tile import cutting, fields_of

SPARE_BYTES = 64 * 2**20  # of tape that are kept for the next adjoint
TRANSFORMS = 20  # how much longer a step takes with Fourier transforms
MATRIX_NUMBERS = 40_000  # of the small matrices of neighbouring sites at once: then three fit into a cache
LONG_RING = 2048  # sites; beyond, the arrays of a full tile leave the second-level cache

_spare = deque(maxlen=4)


def lanes_for(members, sites, dtype):
    """Members in a tile: as many as fill a vector, half as many if the ring is long, one if there is but one."""
    if members == 1:
        return 1
    lanes = _targets.ALIGNMENT // np.dtype(dtype).itemsize
    return lanes // 2 if sites > LONG_RING else lanes


def tape(model, members, sites, steps, dtype, device="cpu"):
    """Room (tile, step, tile array) for the states that an adjoint is linearised about, lent for a while.

    Used room is lent again: fresh memory costs as much as the adjoint itself, page by page.
    """
    lanes = lanes_for(members, sites, dtype)
    return _lent((-(-members // lanes), steps, _with_halos(model, sites) * lanes), dtype, device)


def rollout_tape(model, networks, batch, sites, steps, dtype, device="cpu"):
    """The same for `kernels.training`: room (network, step, tile array), of one tile of samples, for all states."""
    return _lent((networks, steps + 1, _with_halos(model, sites) * lanes_for(batch, sites, dtype)), dtype, device)


def _with_halos(model, sites):
    return sites + 2 * model.REACH * fields_of(model)


@contextmanager
def _lent(shape, dtype, device):
    if device != "cpu":
        yield empty(shape, dtype, device)
        return
    wanted = math.prod(shape) * np.dtype(dtype).itemsize
    try:
        room = _spare.pop()
    except IndexError:
        room = np.empty(0, np.uint8)
    if room.size < wanted + _targets.ALIGNMENT:
        room = np.empty(wanted + _targets.ALIGNMENT, np.uint8)
    yield _targets.aligned(room, wanted).view(dtype).reshape(shape)
    if room.size <= SPARE_BYTES:  # after an interruption a thread may still write to it, so then it is not lent again
        _spare.append(room)


def tape_bytes(model, members, sites, dtype):
    """Bytes of tape for one step."""
    lanes = lanes_for(members, sites, dtype)
    return -(-members // lanes) * lanes * _with_halos(model, sites) * np.dtype(dtype).itemsize


def workers(device):
    """How many of a team add up sums of their own."""
    return 1 if device == "cpu" else _cuda().THREADS


def zero_gradients(model, p, members, sites, dtype, device="cpu", weights=True):
    """Where an adjoint adds what comes back to p: to the parameters (see `parameters.Gathering`), to the weights.

    Without the latter, which take a third of its time, the room for them is empty.
    """
    fields, _, own = p
    tiles = -(-members // lanes_for(members, sites, dtype))
    shape = (members, sites // fields_of(model))
    if _are_uniform(p):
        shape = (tiles, workers(device))
    return np.zeros((len(fields), *shape), dtype), np.zeros((tiles, len(own) * weights), dtype)


def _are_uniform(p):
    return p[0].shape[1:] == (1, 1)


def _family(op):
    if op in filters.METHODS:
        return filters
    if op == gauss_newton.METHOD:
        return gauss_newton
    if op in OBSERVING:
        return observing
    return training if op in ("loss_ad", "training") else trajectory


def built(op, model, scheme, team, lanes, uniform):
    """An operation for a team: its body and the layout of its tile arrays."""
    return _family(op).bodies(model, SCHEMES[scheme], team, lanes, uniform)[op]


OBSERVING = ("observe", "observe_tl", "observe_ad")
ROOMS = {
    **dict.fromkeys(("tendency", "trajectory", *filters.METHODS), 1),
    **dict.fromkeys(("tendency_tl", "trajectory_tl", gauss_newton.METHOD), 2),
}


def _arrays_beyond(op, model, program, stages):
    """How many tile arrays a network's channels take, beyond those of the layout; by default one room for each stage
    and one for the adjoint."""
    if is_spectral(model):
        return 0
    return ROOMS.get(op, 1 + stages) * (channels_of(program) + SPARE) + 1 if len(program) else 0


def launch(op, model, scheme, data, outputs, steps, device="cpu", threads=None):
    """Run `op` of `kernels.trajectory` on `data`, whose last `outputs` arrays are written; all other are only read.

    Second in `data` is p as `kernels.dynamics` describes it, and the first output is as large as the ensemble. `steps`
    is the number of time steps that the call amounts to. Returns nothing: the results are in the arrays.
    """
    first_output = data[-outputs]
    (members, sites), dtype = first_output.shape[-2:], np.dtype(first_output.dtype)
    lanes = lanes_for(members, sites, dtype)
    shape = -(-members // lanes), lanes, sites, dtype
    _launch(op, model, scheme, data, outputs, shape, members * sites * max(1, steps), device, threads)


def launch_training(op, model, scheme, data, outputs, device="cpu", threads=None):
    """The same for `kernels.training`, where a tile stands for a network."""
    states, _, _, every, samples, weight = data[:6]
    networks, updates, batch, _ = samples.shape
    leads, sites = weight.shape
    shape = networks, lanes_for(batch, sites, states.dtype), sites, states.dtype
    _launch(op, model, scheme, data, outputs, shape, samples.size * sites * leads * every, device, threads)


def launch_observing(op, kernel, data, outputs, observations, device="cpu", threads=None):
    """The same for `kernels.observing`."""
    p = np.zeros((0, 1, 1)), np.zeros((0, len(Row._fields)), np.int64), np.zeros(0)
    x = data[0]
    members, sites = x.shape
    lanes = lanes_for(members, sites, x.dtype)
    team = _targets.cpu_team if device == "cpu" else _cuda().team
    arrays = -(-observations // _array_size(kernel, team, lanes, sites))
    shape = -(-members // lanes), lanes, sites, x.dtype
    _launch(op, kernel, "euler", (x, p, *data[1:]), outputs, shape, members * observations, device, threads, arrays)


def launch_filter(method, model, scheme, data, threads=None):
    """The same for `kernels.filters`, where a tile stands for an experiment; on the CPU alone."""
    x, clock, values = data[0], data[2], data[4][0]
    (experiments, _, sites), lanes = x.shape, lanes_for(*x.shape[1:], x.dtype)
    sizes, numbers = filter_room(method, x.shape, values.shape[2], x.dtype)
    arrays = -(-numbers // _array_size(model, _targets.cpu_team, lanes, sites))
    effort = len(values) * filter_effort(x, clock)
    shape = experiments, lanes, sites, x.dtype
    _launch(method, model, scheme, (*data, (*sizes, arrays)), 0, shape, effort, "cpu", threads, arrays)


def launch_gauss_newton(model, scheme, data, threads=None):
    """The same for `kernels.gauss_newton`."""
    x, clock, values, columns = data[0], data[3], data[5][0], data[6][0]
    (experiments, _, sites), lanes = x.shape, lanes_for(*columns.shape, x.dtype)
    numbers = gauss_newton.room_of(len(columns), values.shape[2], sites, lanes)
    arrays = -(-numbers // _array_size(model, _targets.cpu_team, lanes, sites))
    effort = len(values) * gauss_newton_effort(experiments, columns, clock)
    shape = experiments, lanes, sites, x.dtype
    _launch(gauss_newton.METHOD, model, scheme, (*data, arrays), 0, shape, effort, "cpu", threads, arrays)


def filter_effort(x, clock):
    """Site-steps of a cycle of all experiments x (experiment, member, site); `clock` as `kernels.filters` has it."""
    _, every, lag, iterations = clock
    return x.size * (every + x.shape[1]) * (1 + lag * iterations)


def gauss_newton_effort(experiments, columns, clock):
    """The same of `kernels.gauss_newton`."""
    _, every, lag, iterations = clock
    return experiments * columns.size * (1 + every * lag * iterations)


def padded(matrix, members, dtype):
    """A matrix of observations with room for whole vectors, as filters take it."""
    n, lanes = len(matrix), lanes_for(members, 1, dtype)
    found = np.zeros((-(-n // 4) * 4, -(-n // lanes) * lanes), dtype)
    found[:n, :n] = matrix
    return found


def in_chunks(coefficients, method, shape, dtype):
    """Coefficients (period, site, observation) as `kernels.local` has them: (period, number)."""
    period, sites, n = coefficients.shape
    (sites_in_row, chunk, _), _ = filter_room(method, shape, n, dtype)
    found = np.zeros((period, sites_in_row, -(-n // 4) * 4), dtype)
    found[:, :sites, :n] = coefficients
    chunks = np.moveaxis(found.reshape(period, -1, chunk, found.shape[-1]), 3, 2)
    return np.ascontiguousarray(chunks).reshape(period, -1)


def filter_room(method, shape, observations, dtype):
    """See `filters.room_of`."""
    _, members, sites = shape
    return filters.room_of(method, members, observations, sites, lanes_for(members, sites, dtype), MATRIX_NUMBERS)


def weight(model, p):
    """How many times longer than one of Lorenz-96 a site-step takes, about."""
    return TRANSFORMS if is_spectral(model) else 1 + multiplications(p[1])


def _array_size(model, team, lanes, sites):
    fields = fields_of(model)
    return fields * tile_size(team, lanes, sites // fields, model.REACH)


def _launch(op, model, scheme, data, outputs, shape, effort, device, threads, arrays=0):
    """`arrays` are those that an operation needs beyond what model and scheme do."""
    tiles, lanes, sites, dtype = shape
    effort *= weight(model, data[1])
    uniform = _are_uniform(data[1])
    team = _targets.cpu_team if device == "cpu" else _cuda().team
    size = _array_size(model, team, lanes, sites)
    beyond = arrays + _arrays_beyond(op, model, data[1][1], SCHEMES[scheme].stages)
    if device == "cpu":
        kernel, layout = _cpu_kernel(model, op, scheme, lanes, uniform, dtype)
        threads = _targets.default_threads() if threads is None else threads
        _targets.run_cpu(kernel, sum(layout) + beyond, data, tiles, size, dtype, threads, effort)
    else:
        layout = _layout(model, op, scheme, lanes, uniform)
        arrays = sum(layout) + beyond
        shared = _cuda().fits_shared_memory(arrays, size, dtype)
        kernel, layout = _cuda_kernel(model, op, scheme, lanes, uniform, dtype, shared)
        _cuda().run(kernel, arrays, data, outputs, tiles, size, dtype, shared)


def is_watched():
    """Whether a person sees what goes to stderr: on a terminal or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def is_compiled(op, model, scheme, members, sites, uniform, dtype):
    """Whether a call on the CPU would start at once."""
    kernel, _ = _cpu_kernel(model, op, scheme, lanes_for(members, sites, dtype), uniform, np.dtype(dtype))
    return _targets.is_compiled(kernel)


def kept_with_owner(build):
    """Build once for each owner, the first argument, such as the kernel of a model; it lives as long as that."""

    @wraps(build)
    def found(owner, *choices):
        kept, key = vars(owner).setdefault("_built", {}), (build, *choices)
        return kept[key] if key in kept else kept.setdefault(key, build(owner, *choices))

    return found


@kept_with_owner
def _cpu_bodies(model, family, scheme, lanes, uniform):
    return family.bodies(model, SCHEMES[scheme], _targets.cpu_team, lanes, uniform)


@kept_with_owner
def _cpu_kernel(model, op, scheme, lanes, uniform, dtype):
    _require_unchanged(model)
    found = _cpu_bodies(model, _family(op), scheme, lanes, uniform)[op]
    name = f"{model.NAME}-{op}-{scheme}-{lanes}-{'uniform' if uniform else 'field'}-{dtype.name}"
    kernel = _targets.compile_cpu(found.body, cutting(found.layout), name)
    if is_watched() and not _targets.is_compiled(kernel):
        print(f"l96kit: compiling {op} of {model.NAME}, {scheme}, {dtype.name}, for the first time", file=sys.stderr)
    return kernel, found.layout


def _require_unchanged(model):
    """A kernel goes to the disk under what its model was made of, so it must be compiled of just that."""
    for made_of, functions in getattr(model, "MADE_OF", ()):
        if made_of != _fingerprint.fingerprint(*functions):
            raise RuntimeError(
                "model: expected what its functions use to stay as it was when the model was made, found that a value "
                "in a module has changed; make the model anew"
            )


@kept_with_owner
def _layout(model, op, scheme, lanes, uniform):
    return built(op, model, scheme, _cuda().team, lanes, uniform).layout


@kept_with_owner
def _cuda_kernel(model, op, scheme, lanes, uniform, dtype, shared):
    found = built(op, model, scheme, _cuda().team, lanes, uniform)
    return _cuda().compile_cuda(found.body, found.layout, dtype, shared), found.layout


def empty(shape, dtype, device):
    """An uninitialised array on the host or the device."""
    return np.empty(shape, dtype) if device == "cpu" else _cuda().cuda.device_array(shape, dtype)


def as_device(x):
    """Any array on the device as one of Numba's, without a copy."""
    return _cuda().as_device(x)


def require_cuda():
    """Refuse at once what could not run later."""
    try:
        available = _cuda().is_available()
    except ImportError as problem:
        raise RuntimeError(
            f"device: expected CUDA, found no package for it ({problem}); install l96kit[cuda] or take device='cpu'"
        ) from None
    except AttributeError as problem:
        raise RuntimeError(
            f"device: expected a NumPy that numba-cuda can compile for, found NumPy {np.__version__} ({problem}); "
            "install l96kit[cuda], which has an older one, or take device='cpu'"
        ) from None
    if not available:
        raise RuntimeError("device: expected an NVIDIA GPU with its driver, found none; take device='cpu'")


def _cuda():
    from l96kit.kernels import _cuda

    return _cuda
