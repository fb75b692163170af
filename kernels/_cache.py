"""Compiled kernels on the disk: one file for each, which all processes share; never stale, and never in the way.

A file lies under a hash of all that its code depends on, and begins with the checksum of the rest. What does not fit is
compiled anew, and a disk that cannot be written costs a warning. Kernels take LARGEST bytes at most: whenever one is
added, those go that were not used for longest, and those of older releases go so sooner or later.
"""

import contextlib
import hashlib
import os
import pickle
import platform
import secrets
import sys
import warnings
from pathlib import Path

import llvmlite
import numba
import numpy as np
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

try:
    import fcntl
except ImportError:  # on Windows; there each process compiles for itself
    fcntl = None

LARGEST = 2**30
CHECKSUM = hashlib.sha256
BYTES = CHECKSUM().digest_size

# Settings of Numba that no machine code depends on; all others count, those that only a later release has as well.
_HARMLESS = ("CACHE", "COLOR_SCHEME", "CUDA", "ENABLE_CUDASIM", "GDB_BINARY", "NUMBA_", "THREADING_LAYER")


def cache_folder():
    """Where compiled kernels are kept: $L96KIT_CACHE_DIR, or l96kit/ in the user's cache folder."""
    chosen, of_caches = os.environ.get("L96KIT_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME", "")
    if chosen:
        return Path(chosen).absolute()
    if os.path.isabs(of_caches):
        return Path(of_caches) / "l96kit"
    if platform.system() == "Windows":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "l96kit" / "cache"
    return _home() / ("Library/Caches" if platform.system() == "Darwin" else ".cache") / "l96kit"


def _home():
    """The user's folder, also if $HOME is not set, empty or relative; for somebody without one, what is not there."""
    import pwd  # which Windows has not

    if os.path.isabs(os.environ.get("HOME", "")):
        return Path(os.environ["HOME"])
    with contextlib.suppress(KeyError):
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    return Path("/nonexistent")


def _digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _sources():
    """Of the releases and sources that compiled code is made from."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    versions = numba.__version__, llvmlite.__version__, np.__version__, sys.version
    return _digest(versions, [(file.name, file.read_bytes()) for file in files])


_SOURCES = _sources()  # as this process has loaded them, whatever becomes of the files


def _folder():
    """For kernels of these sources, this processor and the present settings of Numba."""
    settings = {
        name: value for name, value in vars(numba.config).items() if name.isupper() and not name.startswith(_HARMLESS)
    }
    machine = cpu_target.target_context.codegen().magic_tuple()
    return cache_folder() / _digest(_SOURCES, machine, sorted(settings.items()))


class KernelCache:
    """Where Numba looks for the machine code of one kernel, and leaves it. Its name tells it from all others."""

    def __init__(self, name):
        self._name = name

    def _file(self, signature):
        return _folder() / f"{self._name}.{_digest(signature)}"

    def is_filled(self):
        """Whether there is code for some arguments."""
        return any(_folder().glob(f"{self._name}.*"))

    def load_overload(self, signature, target_context):
        """Called by Numba: the code, or None. It needs Numba's runtime alone; all that compiling needs takes 0.2 s."""
        rtsys.initialize(target_context)
        code = _read(self._file(signature))
        return None if code is None else CompileResult._rebuild(target_context, *pickle.loads(code))

    def save_overload(self, signature, compiled):
        """Called by Numba; what depends on addresses in this process, as of large arrays, is not kept."""
        if compiled.library.has_dynamic_globals:
            return
        file = self._file(signature)
        try:
            _write(file, dumps(compiled._reduce()))
        except OSError as problem:
            warnings.warn(
                f"compiled kernels cannot be kept: expected a writable folder, found {file.parent} "
                f"({problem.strerror}); each process will compile anew. Set L96KIT_CACHE_DIR to a folder of yours.",
                stacklevel=2,
            )

    @contextlib.contextmanager
    def turn(self, signature):
        """While one process compiles a kernel that is not there yet, others wait for it here.

        What is locked is a byte of a file, which the system frees if the process dies.
        """
        file = self._file(signature)
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # where nothing can be locked, each compiles for itself
                if fcntl and not file.exists():
                    file.parent.mkdir(parents=True, exist_ok=True)
                    lock = stack.enter_context(open(cache_folder() / "lock", "a"))
                    place = int(_digest(str(file))[:14], 16)
                    fcntl.lockf(lock, fcntl.LOCK_EX, 1, place)
            yield


def _read(file):
    try:
        content = file.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):  # in a folder that can only be read
        os.utime(file)  # it is in use
    code = content[BYTES:]
    if CHECKSUM(code).digest() == content[:BYTES]:
        return code
    warnings.warn(
        f"a compiled kernel was damaged: expected the checksum of {file} to fit, found that it does not; the kernel is "
        "compiled anew and the file replaced",
        stacklevel=2,
    )
    return None


def _write(file, code):
    """All or nothing, whoever else writes the same."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{secrets.token_hex(8)}.part")
    try:
        unfinished.write_bytes(CHECKSUM(code).digest() + code)
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)
    _remove_the_oldest(file.parent.parent)


def _remove_the_oldest(folder):
    """Of all kernels, until the rest take LARGEST bytes at most."""
    used = []
    for file in folder.glob(f"{'[0-9a-f]' * 16}/**/*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            if file.is_file():
                used.append((file.stat().st_mtime, file.stat().st_size, file))
    size = sum(size for _, size, _ in used)
    for _, own, file in sorted(used):
        if size <= LARGEST:
            break
        with contextlib.suppress(OSError):
            file.unlink()
            size -= own
            file.parent.rmdir()  # if it was the last
