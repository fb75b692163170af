"""The CUDA side of `_targets`: the team is a block of threads. Imported only when CUDA or its simulator is asked for.

`cuda` must be a global of this module, since the simulator puts its own in its place.
"""

from importlib import import_module
from types import SimpleNamespace
from unittest import mock

import numpy as np
from numba import config, cuda

from l96kit.kernels._compilers import FASTMATH, garbage_waits
from l96kit.kernels._signals import signals_held_back
from l96kit.kernels._targets import Team, inline
from l96kit.kernels.tile import cutting

THREADS = 128  # in a block; the loops over a tile do not depend on it
SHARED_BYTES = 48 * 1024  # what every device grants a block without being asked


@inline
def _share(start, stop):
    return range(start + cuda.threadIdx.x, stop, cuda.blockDim.x)


@inline
def _share_of_rows(start, stop, width):
    """As many workers to a row as it is wide, if there are so many; those who are left over get none."""
    rank, at_once = cuda.threadIdx.x // width, max(cuda.blockDim.x // width, 1)
    return range(start + rank if rank < at_once else stop, stop, at_once)


@inline
def _place_within(width):
    return range(cuda.threadIdx.x % width, width, min(cuda.blockDim.x, width))


@inline
def _one_by_one(count):
    return np.uintp(1)


@inline
def _wait():
    cuda.syncthreads()


@inline
def _rank():
    return cuda.threadIdx.x


team = Team(_share, _wait, _rank, 1, _share_of_rows, _place_within, _one_by_one)


def kernel(body, layout, dtype, shared):
    """The CUDA kernel (size, data, scratch) of a body: one block for each tile.

    Tile arrays lie in shared memory if they fit there, else in the block's row of `scratch`.
    """
    cut = cutting(layout)

    def in_shared_memory(size, data, scratch):
        room = cuda.shared.array(0, dtype)
        body(cuda.blockIdx.x, data, cut(room, size))

    def in_global_memory(size, data, scratch):
        room = scratch[cuda.blockIdx.x]
        body(cuda.blockIdx.x, data, cut(room, size))

    return in_shared_memory if shared else in_global_memory


def compile_cuda(body, layout, dtype, shared):
    return cuda.jit(kernel(body, layout, dtype, shared), fastmath=FASTMATH)


def ptx(body, layout, dtype, signature, capability, shared=True):
    """The PTX text of a kernel for a compute capability such as (8, 0); needs no device.

    Build the body anew for each capability: its parts stay compiled for the first. They ask the current device for its
    capability, so one is made up here.
    """
    device = SimpleNamespace(compute_capability=capability)
    with garbage_waits(), mock.patch("numba.cuda.dispatcher.get_current_device", lambda: device):
        text, _ = cuda.compile_ptx(kernel(body, layout, dtype, shared), signature, cc=capability, fastmath=FASTMATH)
    return text


def fits_shared_memory(arrays, size, dtype):
    return arrays * size * np.dtype(dtype).itemsize <= SHARED_BYTES


def run(compiled, arrays, data, outputs, tiles, size, dtype, shared):
    """Launch on the current device; host arrays go there and those that are written come back, device arrays stay."""
    on_device = _to_device(data)
    room = arrays * size
    scratch = cuda.device_array((1, 1) if shared else (tiles, room), dtype)
    launch = compiled[tiles, THREADS, 0, room * np.dtype(dtype).itemsize if shared else 0]
    with signals_held_back():  # the first launch compiles, and none waits for the device
        launch(size, on_device, scratch)
    cuda.synchronize()  # arrays of the device would not wait, and the callers measure how long this takes
    _copy_back(data[len(data) - outputs :], on_device[len(data) - outputs :])


def _to_device(data):
    if isinstance(data, tuple):
        return tuple(map(_to_device, data))
    return cuda.to_device(data) if isinstance(data, np.ndarray) else data


def _copy_back(hosts, devices):
    for host, device in zip(hosts, devices):
        if isinstance(host, tuple):
            _copy_back(host, device)
        elif isinstance(host, np.ndarray):
            device.copy_to_host(host)


def as_device(x):
    """Numba's view of an array with `__cuda_array_interface__`, without a copy."""
    return x if hasattr(x, "__cuda_ndarray__") else cuda.as_cuda_array(x)


def is_available():
    """Whether there is a GPU; an AttributeError says that the compiler does not know NumPy as it is."""
    if not cuda.is_available():
        return False
    if not config.ENABLE_CUDASIM:
        import_module("numba.cuda.cudaimpl")  # what else is first imported as a kernel compiles
    return True
