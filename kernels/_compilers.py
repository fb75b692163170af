"""How Numba is told to compile: its passes, what it inlines, and that nothing interrupts it.

Numba compiles one function at a time, with all it calls, and so these change its ways for that long.
"""

import contextlib
import gc
import os
import secrets
from itertools import count

import llvmlite.binding
from llvmlite.binding.ffi import lib
from numba.core.bytecode import FunctionIdentity
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError, UnsupportedBytecodeError
from numba.core.inline_closurecall import InlineWorker
from numba.core.ir import Loc
from numba.core.registry import CPUDispatcher
from numba.core.types import Float, IntEnumMember
from numba.extending import lower_cast

from l96kit.kernels._cache import KernelCache
from l96kit.kernels._signals import signals_held_back

FASTMATH = {"contract", "reassoc", "nsz"}  # never nnan or ninf: a blow-up is found by its NaN

# No kernel allocates, so none counts references; to remove the counting took LLVM longer than all else.
OPTIONS = {"fastmath": FASTMATH, "error_model": "numpy", "_nrt": False}


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


class TileCompiler(_Compiler):
    """For stencils: four vectors are worth handling in one turn, since neighbours share what they load.

    LLVM would judge the longer loops too long for that.
    """

    vectors = 4


class ReductionCompiler(_Compiler):
    """For many sums at once, which fill the registers."""

    vectors = 1


_translations = {}  # of functions that are inlined, during one compilation


@contextlib.contextmanager
def garbage_waits():
    """What Numba makes of a function is millions of small objects, and to search them for garbage takes long."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextlib.contextmanager
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


class CalledCompiler(_Compiler):
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


@lower_cast(IntEnumMember, Float)
def _number_of_member(context, builder, member, number, value):
    """A member of an `enum.IntEnum` is a number; Numba knows so of sums with integers alone."""
    return context.cast(builder, value, member.dtype, number)


class Kernel(CPUDispatcher):
    """A function that is compiled once for all processes and kept on the disk. Its name tells it from all others.

    Whoever compiles holds Numba's lock and, call by call, that of llvmlite. A fork waits for both: else the child would
    find them taken, and wait for ever.
    """

    def __init__(self, function, name):
        options = {"nopython": True, "nogil": True, "boundscheck": None, **OPTIONS}
        super().__init__(function, targetoptions=options, pipeline_class=TileCompiler)
        self._cache = KernelCache(name)

    def is_ready(self):
        """Whether it runs without compiling: it did so before in this process, or its code is on the disk."""
        return bool(self.signatures) or self._cache.is_filled()

    def compile(self, signature):
        """Called by Numba, for arguments that are new to it."""
        with global_compiler_lock, self._cache.turn(signature), signals_held_back():
            try:
                return super().compile(signature)
            except (NumbaError, UnsupportedBytecodeError) as problem:
                reason = [line for line in str(problem).splitlines() if not line.startswith("Failed in")]
                raise TypeError(
                    "functions of a model or an operator: expected plain arithmetic, found what Numba cannot compile "
                    f"({reason[0].rstrip(':')}); see above where it is, and write it in another way"
                ) from problem


def _take_locks():
    global_compiler_lock.acquire()
    lib._lock.__enter__()


def _give_locks_back():
    lib._lock.__exit__(None, None, None)
    global_compiler_lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_take_locks, after_in_parent=_give_locks_back, after_in_child=_give_locks_back)
