"""Small linear algebra on one thread: to wake the threads of BLAS costs more than they save, and with busy cores each
call waits for the last of them."""

import threading
from contextlib import contextmanager
from functools import cache

SMALL = 256  # rows of a matrix; beyond, threads are worth it

_lock, _users, _bound = threading.Lock(), 0, None


@contextmanager
def one_blas_thread(size=0):
    """One thread for all BLAS libraries, as long as anyone is in here; large matrices, of `size` rows, keep theirs.

    The setting is one of the process, so it is the first who makes it and the last who takes it back.
    """
    global _users, _bound
    if size > SMALL:
        yield
        return
    with _lock:
        if not _users:
            _bound = _libraries().limit(limits=1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _bound.restore_original_limits()


@cache
def _libraries():
    import scipy.linalg  # noqa: F401  which has a BLAS of its own, to be found with NumPy's
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
