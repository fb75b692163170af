"""One source on several targets: threads, the CUDA simulator, PTX; and compiled code that is kept, but never stale."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import l96kit
import l96kit.kernels
from l96kit import Lorenz96, Propagator
from l96kit.kernels import _cuda, _targets
from l96kit.validation import gradients, ptx, simulator
from l96kit.validation._workers import run_all
from l96kit.validation.battery import failures
from l96kit.validation.operators import OPERATORS

# --- threads --------------------------------------------------------------------------------------------------------


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    used = []

    class Counted(ThreadPoolExecutor):
        def __init__(self, workers):
            used.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(_targets, "ThreadPoolExecutor", Counted)
    rng = np.random.default_rng(0)
    x, steps = 8 + rng.standard_normal((33, 40)), 6 * _targets.WORTH_A_THREAD // (33 * 40)
    x_tl, y_ad = rng.standard_normal((2, 33, 40))
    y_ad = np.stack([np.zeros_like(y_ad), y_ad])
    expected = None
    for threads in (1, 2, 3, 8):
        run = Propagator(Lorenz96(40, 8.0), 0.0001, threads=threads)
        x_ad, parameters_ad = run.trajectory_ad(x, y_ad, steps)
        found = run.forecast(x, steps), run.trajectory_tl(x, x_tl, steps, steps)[1], x_ad, parameters_ad["F"]
        expected = found if expected is None else expected
        assert all(np.array_equal(one, other) for one, other in zip(found, expected))
    assert set(used) == {2, 3, 5}  # five tiles occupy no more than five threads; one thread needs no pool


# --- the cache ------------------------------------------------------------------------------------------------------

TENDENCY = """
import numpy as np, l96kit
from l96kit.kernels import launch, lorenz96
x = np.arange(36.0).reshape(9, 4)
known = launch.is_compiled("tendency", lorenz96, "euler", 9, 4, True, x.dtype)
print(known, l96kit.Lorenz96(4, 8.0).tendency(x)[0].tolist())
"""

USERS_MODEL = """
import numpy as np, l96kit
from l96kit.kernels import launch
SCALE = {scale}
def helper(x):
    return {helper}
def f(x, p):
    return SCALE * helper(x[0])
def f_tl(x, p, x_tl, p_tl):
    return x_tl[0]
def f_ad(x, p, y_ad):
    return y_ad[0], ()
model = l96kit.StencilModel(f, f_tl, f_ad, 4, 1)
x = np.arange(36.0).reshape(9, 4)
known = launch.is_compiled("tendency", model.kernel, "euler", 9, 4, True, x.dtype)
print(known, model.tendency(x)[0].tolist())
"""


def run_in(folder, program, cache, *options, seed="random"):
    environment = {**os.environ, "PYTHONPATH": str(folder), "L96KIT_CACHE_DIR": str(cache), "PYTHONHASHSEED": seed}
    command = [sys.executable, *options, "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def result_of(*arguments):
    known, numbers = run_in(*arguments).stdout.split(" ", 1)
    return known == "True", [float(number) for number in numbers.strip("[]\n").split(",")]


@pytest.fixture
def sources(tmp_path):
    """A copy of the package, laid out as when installed."""
    for source, name in ((l96kit, "l96kit"), (l96kit.kernels, "l96kit/kernels")):
        for file in Path(source.__file__).parent.glob("*.py"):
            (tmp_path / name).mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / name)
    return tmp_path


def test_an_edited_kernel_is_compiled_anew(sources):
    cache, x = sources / "cache", np.arange(4.0)
    right = (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x
    assert result_of(sources, TENDENCY, cache) == (False, list(right + 8))
    assert result_of(sources, TENDENCY, cache) == (True, list(right + 8))

    kernel = sources / "l96kit/kernels/lorenz96.py"
    text = kernel.read_text()
    assert text.count("- x[0] + F[0]") == 1
    kernel.write_text(text.replace("- x[0] + F[0]", "- x[0] - F[0]"))
    assert result_of(sources, TENDENCY, cache) == (False, list(right - 8))
    assert result_of(sources, TENDENCY, cache) == (True, list(right - 8))

    kernel.write_text(text)
    assert result_of(sources, TENDENCY, cache) == (True, list(right + 8))


def test_kernels_of_two_processes_serve_a_third(sources):
    """Each process numbers the functions that it compiles, and their names must not be those of another kernel's."""
    program = """
import sys, numpy as np
from l96kit import Emulator
from l96kit.networks import sq_net, sq_net_of_lorenz96
emulator = Emulator(sq_net(), sq_net_of_lorenz96(8.0), 16)
for members in map(int, {members!r}):
    print(emulator.tendency(np.tile(np.arange(16.0), (members, 1)))[-1].tolist())
"""
    cache, x = sources / "cache", np.arange(16.0)
    exact = (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + 8
    for members in ("1", "2", "12", "21"):
        done = run_in(sources, program.format(members=members), cache, seed="1")
        for line in done.stdout.splitlines():
            np.testing.assert_allclose(np.array(line.strip("[]").split(", "), float), exact, atol=1e-11)


def test_an_edited_model_of_a_users_is_compiled_anew(sources):
    cache, x = sources / "cache", np.arange(4.0)
    first = USERS_MODEL.format(scale=2.0, helper="x + 1.0")
    assert result_of(sources, first, cache) == (False, list(2 * (x + 1)))
    assert result_of(sources, first, cache) == (True, list(2 * (x + 1)))
    for scale, helper, expected in ((3.0, "x + 1.0", 3 * (x + 1)), (2.0, "x - 1.0", 2 * (x - 1))):
        program = USERS_MODEL.format(scale=scale, helper=helper)
        assert result_of(sources, program, cache) == (False, list(expected))


def test_a_cache_folder_that_cannot_be_written_costs_a_warning(sources):
    file = sources / "file"
    file.write_text("in the way")
    done = run_in(sources, TENDENCY, file / "cache")
    assert done.stdout.startswith("False [")
    assert "expected a writable folder, found" in done.stderr
    assert "Set L96KIT_CACHE_DIR to a folder of yours" in done.stderr


# --- CUDA without a GPU ---------------------------------------------------------------------------------------------

SIMULATED = (
    "lorenz96.tendency, F per member and site",
    "lorenz96.trajectory, euler, F number",
    "lorenz96.trajectory, rk4, F per site",
    "burgers.trajectory, heun, c a row, nu a column",
    "mixed network.tendency",
)

DEVICE_ARRAYS = """
import numpy as np
from numba import cuda
from l96kit import Lorenz96, Propagator
from l96kit.kernels import _cuda
from l96kit.validation import simulator

x = np.random.default_rng(0).standard_normal((9, 5))
on_host, on_device = (Propagator(Lorenz96(5, 8.0), 0.05, device=device) for device in ("cpu", "cuda"))

class Foreign:
    def __init__(self, array):
        self.array, self.__cuda_array_interface__ = array, array.__cuda_array_interface__

with simulator.as_on_a_gpu():
    there = cuda.to_device(x)
    _cuda.cuda.as_cuda_array = lambda foreign: foreign.array
    for given in (there, Foreign(there)):
        for name, counts in (("trajectory", (4, 2)), ("forecast", (3,)), ("step", ())):
            found = getattr(on_device, name)(given, *counts)
            assert type(found) is type(there), type(found)
            np.testing.assert_allclose(found.copy_to_host(), getattr(on_host, name)(x, *counts), rtol=1e-13)
    for call in (lambda: on_device.trajectory_tl(there, x, 2), lambda: on_device.trajectory_ad(x, there)):
        try:
            call()
        except TypeError as problem:
            assert "copy it back first" in str(problem), problem
        else:
            raise AssertionError("tangents and adjoints of arrays on the device: expected a refusal")
"""


TRAINING = """
from dataclasses import replace
import numpy as np
from l96kit import Network, Training
from l96kit.networks import convolution, tanh
from l96kit.validation import simulator

y = np.random.default_rng(0).standard_normal((9, 2, 6))
network = Network([convolution(2, 3), tanh(), convolution(1)])
on_host = Training(network, 0.05, rollout=2, batch=5, epochs=2, scheme="heun")
expected = on_host.fit(y, y, seeds=2)
with simulator.as_on_a_gpu():
    found = replace(on_host, device="cuda").fit(y, y, seeds=2)
np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-9)
np.testing.assert_allclose(found.training_losses, expected.training_losses, rtol=1e-9)
"""


@pytest.mark.parametrize("program", [DEVICE_ARRAYS, TRAINING])
def test_programs_run_in_the_simulator(program):
    environment = {**os.environ, **simulator.ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_simulator_agrees_with_the_reference():
    chosen = [index for index, operator in enumerate(OPERATORS) if operator.name in SIMULATED]
    tasks = [(index, "simulator", dtype) for index in chosen for dtype in gradients.DTYPES]
    assert len(tasks) == 2 * len(SIMULATED)
    found = run_all(gradients.check, tasks, "simulator", environment=simulator.ENVIRONMENT)
    for (index, _, dtype), numbers in zip(tasks, found):
        assert not failures(numbers, dtype), (OPERATORS[index].name, numbers)


NEWER_NUMPY = """
import numpy
from numba import cuda
from l96kit import Lorenz96, Propagator

del numpy.row_stack  # as NumPy 2.5 did, which numba-cuda asks for
cuda.is_available = lambda: True
try:
    Propagator(Lorenz96(5, 8.0), 0.05, device="cuda")
except RuntimeError as problem:
    assert "expected a NumPy that numba-cuda can compile for, found NumPy" in str(problem), problem
    assert "take device='cpu'" in str(problem), problem
else:
    raise AssertionError("a NumPy that numba-cuda does not know: expected a refusal")
"""


def test_a_numpy_that_the_compiler_does_not_know_is_refused_before_any_work():
    done = subprocess.run([sys.executable, "-c", NEWER_NUMPY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_shared_memory_is_counted_in_bytes():
    for dtype, numbers in (("float64", 48 * 1024 // 8), ("float32", 48 * 1024 // 4)):
        assert _cuda.fits_shared_memory(3, numbers // 3, dtype)
        assert not _cuda.fits_shared_memory(3, numbers // 3 + 1, dtype)


@pytest.mark.parametrize(
    ("tile", "dtype", "capability"), [((2, True), "float32", (8, 0)), ((1, False), "float64", (9, 0))]
)
def test_an_adjoint_compiles_to_ptx_without_spills(tile, dtype, capability):
    pytest.importorskip("numba_cuda", reason="needs the extra l96kit[cuda]")
    index = next(i for i, operator in enumerate(OPERATORS) if operator.name == "lorenz96.step, rk4, F per site")
    kernel = ptx.Kernel(index, "trajectory_ad", *tile, dtype, capability)
    assert kernel in ptx.kernels()
    text = ptx.ptx_text(kernel)
    assert ".target sm_{}{}".format(*capability) in text
    assert ("fma.rn.f64" in text) == (dtype == "float64")  # no double precision slips into single
    found = ptx.assembled(kernel, text)
    assert found.spills == 0
    assert 0 < found.registers <= 255
