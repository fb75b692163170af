"""All that is known here of Numba: one source for CPU and CUDA, the compile cache, and the launch.

A *team* works on a tile: on the CPU one thread, on CUDA a block. `team.span(a, b)` gives each of its workers its share
of the indices a..b-1; of rows of a few numbers each, `team.rows(a, b, width)` gives the rows and `team.within(width)`
the places in them; of `count` rows that differ in little, `team.together(count)` are handled in one turn, all or one.
`team.sync()` lets them wait for one another, `team.rank()` tells which of them one is, and `team.vector` how many
numbers one of them handles at once; nothing else differs between the targets.
"""

import gc
import hashlib
import inspect
import os
import platform
import secrets
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import CellType, CodeType, FunctionType, ModuleType
from typing import NamedTuple

import llvmlite.binding
import numba
import numpy as np
from numba import njit
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import FunctionCache
from numba.core.compiler import Compiler
from numba.core.inline_closurecall import InlineWorker
from numba.core.ir import Loc
from numba.core.runtime import rtsys

FASTMATH = {"contract", "reassoc", "nsz"}  # never nnan or ninf: a blow-up is found by its NaN
ALIGNMENT = 64  # bytes: one cache line, and the widest vector
WORTH_A_THREAD = 200_000  # site-steps of Lorenz-96; below, starting a thread costs more than it saves


class _Compiler(Compiler):
    """Numba's compiler, told that arrays which are arguments do not overlap (the callers see to that).

    Otherwise each loop begins with a test of every pair of its arrays, which takes as long as the loop itself.
    """

    vectors = 0  # that a loop handles in one turn; 0 stands for as many as LLVM thinks best
    _now = 0

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        flags.noalias = True
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)

    def compile_extra(self, func):
        # The setting is one of LLVM for the whole process; Numba compiles one function, with all it calls, at a time.
        before = _Compiler._now
        _Compiler._interleave(self.vectors)
        try:
            with _one_compilation():
                return super().compile_extra(func)
        finally:
            _Compiler._interleave(before)

    @staticmethod
    def _interleave(vectors):
        llvmlite.binding.set_option("", f"-force-vector-interleave={vectors}")
        _Compiler._now = vectors


class _TileCompiler(_Compiler):
    """For stencils: four vectors are worth handling in one turn, since neighbours share what they load.

    LLVM would judge the longer loops too long for that.
    """

    vectors = 4


class _ReductionCompiler(_Compiler):
    """For many sums at once, which fill the registers."""

    vectors = 1


_translations = {}  # of functions that are inlined, during one compilation


@contextmanager
def garbage_waits():
    """What Numba makes of a function is millions of small objects, and to search them for garbage takes long."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def _one_compilation():
    """What is inlined at many places is translated once, and where it came from is not copied with it; functions get
    names that no other kernel has.

    Numba does the former anew for each place, which took a quarter of the time. It compiles one function at a time,
    with all it calls, so nobody else meets the changes. And it numbers functions from 1 in each process, where the
    number is part of the name in the machine code: of two functions of one name that two processes kept in the cache,
    a third one would run whichever it loads first.
    """
    translate = InlineWorker.run_untyped_passes

    def translate_once(worker, function, enable_ssa=False):
        if function not in _translations:
            _translations[function] = translate(worker, function, enable_ssa)
        worker.flags.enable_ssa = enable_ssa  # as `translate` leaves it
        return _translations[function]

    if translate.__name__ == translate_once.__name__:  # within another compilation
        yield
        return
    FunctionIdentity._unique_ids = count(secrets.randbits(48))
    InlineWorker.run_untyped_passes, Loc.__deepcopy__ = translate_once, lambda place, _: place
    try:
        with garbage_waits():
            yield
    finally:
        InlineWorker.run_untyped_passes = translate
        del Loc.__deepcopy__
        _translations.clear()


# No kernel allocates, so none counts references; to remove the counting took LLVM longer than all else.
_OPTIONS = {"fastmath": FASTMATH, "error_model": "numpy", "_nrt": False}

# Small pieces are copied into their caller by Numba, large ones by LLVM: Numba alone would compile an adjoint for a
# minute (each level of nesting is analysed anew), LLVM alone for twenty seconds (each piece is a function).
inline = njit(inline="always", **_OPTIONS)


class _CalledCompiler(_Compiler):
    """For what is long enough to stay a function: LLVM would copy it to every place where it is called."""

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        super().__init__(typingctx, targetctx, library, args, return_type, flags, locals)
        context, state = self.state.targetctx, self.state
        declare = context.declare_function

        def declared(module, description):
            function = declare(module, description)
            if not description.inline and description.qualname == state.func_id.func_qualname:
                function.attributes.add("noinline")
            return function

        context.declare_function = declared


_INTERNAL = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **_OPTIONS}
part = njit(forceinline=True, pipeline_class=_TileCompiler, **_INTERNAL)
reduction = njit(forceinline=True, pipeline_class=_ReductionCompiler, **_INTERNAL)
called = njit(forceinline=False, pipeline_class=_CalledCompiler, **_INTERNAL)  # or it would inherit the caller's


def site_function(function):
    """Inline a model's function, whose own helper functions need not know of Numba."""
    return inline(_rebuilt(function, site_function))


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


_one_at_a_time = threading.Lock()


class _Cache(FunctionCache):
    """Numba's cache, in a folder that belongs to one kernel alone: what the kernel was built from names the folder."""

    def _index_key(self, sig, codegen):
        return sig, codegen.magic_tuple()

    def load_overload(self, sig, target_context):
        """Machine code from the disk needs Numba's runtime alone; all that compiling needs takes 0.2 s to gather."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def _sources_digest(folder=Path(__file__).parent):
    """A hash of all that compiled code depends on, so that code from older sources is never run."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {np.__version__} {sys.version}".encode())
    for source in sorted(folder.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder():
    """Where compiled kernels are kept: $L96KIT_CACHE_DIR, or l96kit/ in the user's cache folder."""
    chosen = os.environ.get("L96KIT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "l96kit"
    home = Path(os.path.expanduser("~"))
    if platform.system() == "Windows":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "l96kit" / "cache"
    return home / ("Library/Caches" if platform.system() == "Darwin" else ".cache") / "l96kit"


def _codes(code):
    """A code object and all that are nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _values(function):
    """The names from outside that a function uses, with their present values."""
    names = sorted({name for code in _codes(function.__code__) for name in code.co_names})
    cells = zip(function.__code__.co_freevars, (cell.cell_contents for cell in function.__closure__ or ()))
    return {**{name: function.__globals__[name] for name in names if name in function.__globals__}, **dict(cells)}


def fingerprint(*functions):
    """A hash of what a user's functions do: their code and constants, and the values of all that they use."""
    digest = hashlib.sha256()
    seen = {}

    def add(value, attributes):
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
        elif isinstance(value, tuple):
            digest.update(f"tuple of {len(value)}".encode())
            for item in value:
                add(item, attributes)
        elif isinstance(value, ModuleType):
            for name in attributes:
                if hasattr(value, name):
                    digest.update(name.encode())
                    add(getattr(value, name), attributes)
        elif inspect.isfunction(getattr(value, "py_func", value)):
            add_function(getattr(value, "py_func", value))
        else:
            digest.update(repr(value).encode())

    def add_function(function):
        if function in seen:
            digest.update(f"function {seen[function]}".encode())
            return
        seen[function] = len(seen)
        names = []
        for code in _codes(function.__code__):
            plain = [constant for constant in code.co_consts if not isinstance(constant, CodeType)]
            digest.update(code.co_code + f"{code.co_names} {code.co_varnames} {plain}".encode())
            names += code.co_names
        digest.update(f"{function.__defaults__} {function.__kwdefaults__}".encode())
        for name, value in _values(function).items():
            digest.update(name.encode())
            add(value, sorted(set(names)))

    for function in functions:
        add_function(function)
    return digest.hexdigest()[:16]


def frozen(function):
    """A copy of a user's function in which the names it uses keep their present values, but for those in modules."""
    return _rebuilt(function, frozen)


def _rebuilt(function, change):
    """A copy of a function, with the functions that it uses changed."""

    def changed(value):
        if isinstance(value, tuple):
            return tuple(map(changed, value))
        if isinstance(value, np.ndarray):
            return value.copy()
        return change(value) if inspect.isfunction(value) else value

    cells = tuple(CellType(changed(cell.cell_contents)) for cell in function.__closure__ or ())
    names = {**function.__globals__, **{name: changed(value) for name, value in _values(function).items()}}
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, cells)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def compile_cpu(body, cut, name):
    """Compile `body(tile, data, work)` into `kernel(first, last, size, data, room)` over tiles first..last-1.

    `cut(room, size)` gives `work`. `name` must tell all choices that went into the body apart, since it names the
    folder of the compiled code.
    """

    def kernel(first, last, size, data, room):
        work = cut(room, size)
        for tile in range(first, last):
            body(tile, data, work)

    compiled = njit(kernel, nogil=True, pipeline_class=_TileCompiler, **_OPTIONS)
    if not numba.config.DISABLE_JIT:
        _remember(compiled, name)
    return compiled


def _remember(compiled, name):
    folder = cache_folder() / _sources_digest() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as problem:
        warnings.warn(
            f"compiled kernels cannot be kept: expected a writable folder, found {folder} ({problem.strerror}); "
            "each process will compile anew. Set L96KIT_CACHE_DIR to a folder of yours.",
            stacklevel=2,
        )
        return
    with _one_at_a_time:  # the setting is that of the whole process
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
        try:
            compiled._cache = _Cache(compiled.py_func)
        finally:
            numba.config.CACHE_DIR = before


def is_compiled(kernel):
    """Whether the kernel runs without compiling: it did so before in this process, or its code is on disk."""
    if numba.config.DISABLE_JIT or kernel.signatures:
        return True
    cache = getattr(kernel, "_cache", None)
    return bool(getattr(cache, "_cache_path", None)) and any(Path(cache._cache_path).glob("*.nbc"))


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

    `arrays` is how many tile arrays the body works in, `size` the length of one; `effort` is in site-steps.
    """

    def part(first, last):
        room, length = workspace(arrays, size, dtype)
        kernel(first, last, length, data, room)

    parts = max(1, min(threads, tiles, int(effort // WORTH_A_THREAD)))
    bounds = [tiles * i // parts for i in range(parts + 1)]
    if parts == 1 or numba.config.DISABLE_JIT:
        part(0, tiles)
        return
    with ThreadPoolExecutor(parts) as pool:
        for done in [pool.submit(part, *pair) for pair in zip(bounds, bounds[1:])]:
            done.result()


def default_threads():
    """How many threads a kernel may use: $L96KIT_NUM_THREADS, or as many as Numba would."""
    wanted = os.environ.get("L96KIT_NUM_THREADS")
    if wanted is None:
        return numba.config.NUMBA_NUM_THREADS
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ValueError(f"L96KIT_NUM_THREADS: expected a whole number above 0, found {wanted!r}; set or unset it")
    return int(wanted)
