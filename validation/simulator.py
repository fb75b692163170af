"""The CUDA path without a GPU: Numba's simulator runs each block as Python threads, with real barriers between them."""

from contextlib import contextmanager
from unittest import mock

# Numba reads these when it is imported, so the simulator needs processes of its own.
ENVIRONMENT = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
THREADS = 3  # in a block: a missing barrier shows with few, and each is a thread of Python's


@contextmanager
def as_on_a_gpu(shared=True):
    """Make blocks small, and give the simulator's arrays what those on a GPU have and these lack.

    shared : whether tile arrays may lie in shared memory, where the small ones of a test would all fit
    """
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    from l96kit.kernels import _cuda

    shape = property(lambda array: array._ary.shape)  # of the simulator's own, no index may be negative
    interface = property(lambda array: array._ary.__array_interface__)
    with (
        mock.patch.object(_cuda, "THREADS", THREADS),
        mock.patch.object(_cuda, "SHARED_BYTES", _cuda.SHARED_BYTES if shared else 0),
        mock.patch.object(FakeCUDAArray, "shape", shape),
        mock.patch.object(FakeCUDAArray, "__cuda_array_interface__", interface, create=True),
    ):
        yield
