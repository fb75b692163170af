"""Kernels on the disk: damage, full and read-only disks, settings, sizes; several processes, signals and forks."""

import errno
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

from l96kit import Emulator, Lorenz96, StencilModel
from l96kit.kernels import _cache, launch
from l96kit.kernels._signals import signals_held_back
from l96kit.networks import sq_net
from l96kit.observation_operators import Pointwise, every_site, observed_model

PROGRAM = """
import signal, sys, threading
import numpy as np
from l96kit.kernels import _compilers, _targets

@_targets.inline
def cut(room, size):
    return room

@_targets.inline
def body(tile, data, work):
    data[0][tile] *= 2

def built():
    return _targets.compile_cpu(body, cut, "doubling")

def run(kernel, dtype=float):
    x = np.arange(3, dtype=dtype)
    kernel(0, 3, 8, (x,), np.empty(8))
    assert x.tolist() == [0, 2, 4], x

def compilations(kernel):
    return sum(kernel._cache_misses.values())
"""
here = {}
exec(PROGRAM, here)  # in this process, too
built, run, compilations = here["built"], here["run"], here["compilations"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("L96KIT_CACHE_DIR", str(tmp_path))
    return tmp_path


def the_file(folder):
    (file,) = folder.glob("*/doubling.*")
    return file


def start(program, folder):
    environment = {**os.environ, "L96KIT_CACHE_DIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM + program]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result_of(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.split()


# --- one file -------------------------------------------------------------------------------------------------------


DAMAGES = {
    "empty": lambda code: b"",
    "a byte": lambda code: code[:1],
    "half": lambda code: code[: len(code) // 2],
    "garbled": lambda code: np.random.default_rng(0).bytes(len(code)),
    "longer": lambda code: code + b"\0",
    "flipped in the checksum": lambda code: bytes([code[0] ^ 1]) + code[1:],
    "flipped in the code": lambda code: code[:-9] + bytes([code[-9] ^ 4]) + code[-8:],
}


def test_damaged_code_is_compiled_anew_and_replaced(folder, recwarn):
    run(built())
    file = the_file(folder)
    good = file.read_bytes()
    for damage in DAMAGES.values():
        file.write_bytes(damage(good))
        for expected in (1, 0):  # anew, then from the file that replaced it
            kernel = built()
            run(kernel)
            assert compilations(kernel) == expected
        (warning,) = recwarn.list
        assert f"damaged: expected the checksum of {file} to fit" in str(warning.message)
        recwarn.clear()


def test_a_full_disk_costs_a_warning(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.warns(UserWarning, match="expected a writable folder, found .* Set L96KIT_CACHE_DIR to a folder"):
            run(built())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [*folder.glob("*/*")]  # nothing half-written


def test_a_folder_that_can_only_be_read_is_used(folder, monkeypatch, recwarn):
    run(built())

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    for module, name in ((os, "utime"), (os, "replace"), (Path, "mkdir"), (Path, "write_bytes")):
        monkeypatch.setattr(module, name, refuse)
    kernel = built()
    assert kernel.is_ready()
    run(kernel)
    assert compilations(kernel) == 0 and not recwarn.list
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.warns(UserWarning, match="Read-only file system"):
        run(built())


def test_signatures_of_a_kernel_do_not_share_a_file(folder):
    one, other = built(), built()
    run(one)
    run(other, np.float32)
    found = built()
    run(found)
    run(found, np.float32)
    assert compilations(found) == 0 and len([*folder.glob("*/*")]) == 2


@pytest.mark.parametrize(("setting", "value"), [("LOOP_VECTORIZE", 0), ("BOUNDSCHECK", 1), ("OPT", 1), ("NEW", True)])
def test_settings_of_numba_belong_to_the_code(folder, monkeypatch, setting, value):
    run(built())
    monkeypatch.setattr(numba.config, setting, value, raising=False)
    assert not built().is_ready()


def test_settings_that_no_code_depends_on_do_not(folder, monkeypatch):
    run(built())
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 17)
    monkeypatch.setattr(numba.config, "CUDA_LOG_LEVEL", "debug")
    assert built().is_ready()


@pytest.mark.parametrize("home", [None, "", "elsewhere"])
def test_the_folder_is_the_users_whatever_the_environment(monkeypatch, home):
    pwd = pytest.importorskip("pwd")
    for name in ("L96KIT_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
        monkeypatch.setenv("XDG_CACHE_HOME", home)  # relative ones do not count
    user = pwd.getpwuid(os.getuid()).pw_dir
    assert _cache.cache_folder().is_relative_to(user) and _cache.cache_folder() != Path(user)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # nobody's
    assert _cache.cache_folder().is_relative_to("/nonexistent")


def test_kernels_that_were_not_used_for_longest_go_first(folder, monkeypatch):
    monkeypatch.setattr(_cache, "LARGEST", 3 * 1032)
    other = folder / ("ab" * 8) / "of-older-sources"
    other.mkdir(parents=True)
    files = [folder / ("cd" * 8) / name for name in "abc"] + [other / "kernel.nbc"]
    for age, file in enumerate(files):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(_cache.CHECKSUM(bytes(1000)).digest() + bytes(1000))
        os.utime(file, (1e9 - age, 1e9 - age))
    users_own = folder / "notes"
    users_own.write_text("not ours")
    assert _cache._read(files[2]) == bytes(1000)  # which counts as a use
    new = folder / ("ef" * 8) / "new"
    _cache._write(new, bytes(1000))
    assert [file for file in [*files, new] if file.exists()] == [files[0], files[2], new]
    assert users_own.exists() and not other.exists()


# --- memory ---------------------------------------------------------------------------------------------------------


def decay(x, p):
    return -p[0][0] * x[0]


def decay_tl(x, p, x_tl, p_tl):
    return -p[0][0] * x_tl[0] - p_tl[0][0] * x[0]


def decay_ad(x, p, y_ad):
    return -p[0][0] * y_ad[0], (-x[0] * y_ad[0],)


def square(u):
    return u * u


def doubled(u):
    return 2 * u


def test_what_is_compiled_is_freed_with_its_model():
    model, pointwise = StencilModel(decay, decay_tl, decay_ad, 9, 1, {"rate": 2.0}), Pointwise(square, doubled)
    np.testing.assert_array_equal(model.tendency(np.ones(9)), -2 * np.ones(9))
    emulator = Emulator(sq_net(), 0.0, base=model)
    kernels = [model.kernel, emulator.kernel, observed_model(model.kernel, "tanh")]
    kernels.append(observed_model(Lorenz96().kernel, pointwise))
    choices = "tendency", "euler", 1, True, np.dtype(float)
    kept = [weakref.ref(kernel) for kernel in kernels]
    kept += [weakref.ref(launch._cpu_kernel(kernel, *choices)[0]) for kernel in kernels]
    del kernels
    gc.collect()
    assert all(found() is not None for found in kept)
    assert observed_model(model.kernel, "tanh") is kept[2]() and Pointwise(square, doubled)._function is not None
    del model, emulator, pointwise
    gc.collect()
    assert [found() for found in kept] == [None] * len(kept)


# --- others meanwhile -----------------------------------------------------------------------------------------------


def test_of_several_processes_one_compiles(folder):
    program = "\nkernel = built()\nrun(kernel)\nprint(compilations(kernel))"
    found = [start(program, folder) for _ in range(3)]
    assert sorted(int(number) for process in found for number in result_of(process)) == [0, 0, 1]


def test_a_process_that_dies_leaves_no_lock(folder):
    hold = "\nwith built()._cache.turn(()):\n    print('held', flush=True)\n    threading.Event().wait()"
    holder = start(hold, folder)
    assert holder.stdout.readline() == "held\n"
    waiter = start("\nwith built()._cache.turn(()):\n    print('had its turn')", folder)
    with pytest.raises(subprocess.TimeoutExpired):
        waiter.communicate(timeout=3)
    holder.kill()
    holder.communicate()
    assert result_of(waiter) == ["had", "its", "turn"]


def test_a_signal_waits_until_the_kernel_stands(folder, monkeypatch):
    came = []
    compile_now = CPUDispatcher.compile

    def interrupted(self, signature):
        came.append(signal.getsignal(signal.SIGINT))
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        return compile_now(self, signature)

    def stop(number, frame):
        came.append(number)

    handlers = {signal.SIGTERM: stop, signal.SIGINT: signal.default_int_handler}  # a job in the background ignores one
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    kernel = built()
    monkeypatch.setattr(CPUDispatcher, "compile", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(kernel)
        assert {number: signal.getsignal(number) for number in handlers} == handlers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    monkeypatch.undo()
    assert came[1:] == [signal.SIGTERM] and came[0] is not signal.default_int_handler
    assert kernel.is_ready() and len(kernel.signatures) == 1
    run(kernel)
    assert compilations(kernel) == 1


def test_signals_do_what_they_did_once_a_kernel_stands(folder):
    """Also if none came while it was compiled; of one that came twice, both are heard."""
    came = []

    def stop(number, frame):
        came.append(number)

    before = signal.signal(signal.SIGINT, stop)
    try:
        run(built())
        assert signal.getsignal(signal.SIGINT) is stop
        with signals_held_back():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert not came
        assert came == [signal.SIGINT] * 2 and signal.getsignal(signal.SIGINT) is stop
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_fork_waits_for_what_another_thread_compiles(folder):
    program = """
import os, time
from numba.core.registry import CPUDispatcher
compile_now, begun = CPUDispatcher.compile, threading.Event()

def slowly(self, signature):
    begun.set()
    time.sleep(0.5)
    return compile_now(self, signature)

CPUDispatcher.compile = slowly
thread = threading.Thread(target=run, args=(built(),))
thread.start()
begun.wait()
child = os.fork()
if not child:
    signal.alarm(30)
    run(built())
    os._exit(0)
thread.join()
print(os.waitpid(child, 0)[1])
"""
    assert result_of(start(program, folder)) == ["0"]


def test_threads_that_need_a_kernel_share_it(folder):
    kernel = built()
    threads = [threading.Thread(target=run, args=(kernel,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compilations(kernel) == 1


def test_what_numba_cannot_compile_is_said_in_our_words():
    least = Pointwise(lambda u: min([u, u]), lambda u: 1.0)
    with pytest.raises(TypeError, match=r"functions of a model or an operator: expected plain arithmetic, found .* \("):
        every_site(4).pointwise(least).observe(np.ones(4))
