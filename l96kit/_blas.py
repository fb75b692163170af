"""Small linear algebra on one thread: to wake the threads of BLAS costs more than they save, and with busy cores each
call waits for the last of them."""

import threading
from contextlib import contextmanager
from functools import cache

SMALL = 256  # rows of a matrix; beyond, threads are worth it

_taken = threading.Lock()


@contextmanager
def one_blas_thread(size=0):
    """One thread for all BLAS libraries within; large matrices, of `size` rows, keep theirs.

    The setting is one of the process: whoever comes first makes it and takes it back, and those within or beside leave
    it alone.
    """
    if size > SMALL or not _taken.acquire(blocking=False):
        yield
        return
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        _taken.release()


@cache
def _libraries():
    import scipy.linalg  # noqa: F401  which has a BLAS of its own, to be found with NumPy's
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
