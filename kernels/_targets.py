"""One source for CPU and CUDA: how its pieces are compiled for both, and the launch on the CPU.

A *team* works on a tile: on the CPU one thread, on CUDA a block. `team.span(a, b)` gives each of its workers its share
of the indices a..b-1; of rows of a few numbers each, `team.rows(a, b, width)` gives the rows and `team.within(width)`
the places in them; of `count` rows that differ in little, `team.together(count)` are handled in one turn, all or one.
`team.sync()` lets them wait for one another, `team.rank()` tells which of them one is, and `team.vector` how many
numbers one of them handles at once; nothing else differs between the targets.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
from numba import njit

from l96kit.kernels._compilers import OPTIONS, CalledCompiler, Kernel, ReductionCompiler, TileCompiler
from l96kit.kernels._fingerprint import rebuilt
from l96kit.kernels._signals import signals_held_back

ALIGNMENT = 64  # bytes: one cache line, and the widest vector
WORTH_A_THREAD = 200_000  # site-steps of Lorenz-96; below, starting a thread costs more than it saves
WITHOUT_A_LOOK = 20_000_000  # the same: so many a thread does before it looks whether it shall stop, 10 ms or so


# Small pieces are copied into their caller by Numba, large ones by LLVM: Numba alone would compile an adjoint for a
# minute (each level of nesting is analysed anew), LLVM alone for twenty seconds (each piece is a function).
inline = njit(inline="always", **OPTIONS)

_INTERNAL = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **OPTIONS}
part = njit(forceinline=True, pipeline_class=TileCompiler, **_INTERNAL)
reduction = njit(forceinline=True, pipeline_class=ReductionCompiler, **_INTERNAL)
called = njit(forceinline=False, pipeline_class=CalledCompiler, **_INTERNAL)  # or it would inherit the caller's


def site_function(function):
    """Inline a model's function, whose helpers need not know of Numba; one of NumPy's, Numba knows."""
    own = rebuilt(function, site_function)
    return own if own is function else inline(own)


# --- the teams ------------------------------------------------------------------------------------------------------


@inline
def _all(start, stop):
    return range(start, stop)


@inline
def _all_rows(start, stop, width):
    return range(start, stop)


@inline
def _all_within(width):
    return range(width)


@inline
def _all_together(count):
    return count


@inline
def _nothing():
    pass


@inline
def _first():
    return 0


class Team(NamedTuple):
    """What differs between the targets: see above."""

    span: Callable
    sync: Callable
    rank: Callable
    vector: int
    rows: Callable
    within: Callable
    together: Callable


cpu_team = Team(_all, _nothing, _first, 16, _all_rows, _all_within, _all_together)


# --- the CPU --------------------------------------------------------------------------------------------------------


def compile_cpu(body, cut, name):
    """Compile `body(tile, data, work)` into `kernel(first, last, size, data, room)` over tiles first..last-1.

    `cut(room, size)` gives `work`. `name` must tell all choices that went into the body apart, since it names the
    folder of the compiled code.
    """

    def kernel(first, last, size, data, room):
        work = cut(room, size)
        for tile in range(first, last):
            body(tile, data, work)

    return kernel if numba.config.DISABLE_JIT else Kernel(kernel, name)


def is_compiled(kernel):
    """Whether the kernel runs without compiling."""
    return bool(numba.config.DISABLE_JIT) or kernel.is_ready()


def workspace(arrays, size, dtype):
    """Room for so many tile arrays of at least `size` numbers, each beginning on a cache line; and their length."""
    itemsize = np.dtype(dtype).itemsize
    lines = -(-size * itemsize // ALIGNMENT)
    lines += lines % 64 == 0  # arrays a multiple of 4096 bytes apart would share their place in the cache
    wanted = arrays * lines * ALIGNMENT
    return aligned(np.empty(wanted + ALIGNMENT, np.uint8), wanted).view(dtype), lines * ALIGNMENT // itemsize


def aligned(room, size):
    """So many of an array of bytes, beginning on a cache line."""
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size]


def run_cpu(kernel, arrays, data, tiles, size, dtype, threads, effort):
    """Run a kernel over all tiles, shared among threads; the result does not depend on their number.

    `arrays` is how many tile arrays the body works in, `size` the length of one; `effort` is in site-steps. Ctrl-C is
    heard between tiles: then those that were not begun are left out.
    """
    together = max(1, int(tiles * WITHOUT_A_LOOK // max(effort, 1)))

    def part(first, last, came=()):
        room, length = workspace(arrays, size, dtype)
        for begin in range(first, last, together):
            if came:
                break
            kernel(begin, min(begin + together, last), length, data, room)

    parts = max(1, min(threads, tiles, int(effort // WORTH_A_THREAD)))
    if parts == 1 or numba.config.DISABLE_JIT:
        part(0, tiles)
        return
    bounds = [tiles * i // parts for i in range(parts + 1)]
    with signals_held_back() as came:
        _in_threads(part, [(*pair, came) for pair in zip(bounds, bounds[1:])])


def _in_threads(work, shares):
    """All of the pool ends here, where signals are still held back."""
    with ThreadPoolExecutor(len(shares)) as pool:
        for done in [pool.submit(work, *share) for share in shares]:
            done.result()


def default_threads():
    """How many threads a kernel may use: $L96KIT_NUM_THREADS, or as many as Numba would."""
    wanted = os.environ.get("L96KIT_NUM_THREADS")
    if wanted is None:
        return numba.config.NUMBA_NUM_THREADS
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ValueError(f"L96KIT_NUM_THREADS: expected a whole number above 0, found {wanted!r}; set or unset it")
    return int(wanted)
