"""Every CUDA kernel as PTX, which needs no GPU, and what the assembler makes of it: registers and spills."""

import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import float64, from_dtype, int64, types, void

from l96kit.kernels.launch import built, lanes_for
from l96kit.validation.operators import OPERATORS

CAPABILITIES = ((8, 0), (9, 0))  # A100 and H100
TILES = ((2, True), (2, False), (1, True), (1, False))  # members, whether in shared memory

# What `launch` passes: arrays, by their number of axes, other types, and tuples of them.
_PROGRAM, _SAMPLES, _RATES, _LOSSES = (
    types.Array(kind, axes, "C") for kind, axes in ((int64, 2), (int64, 4), (float64, 1), (float64, 3))
)
_P, _P_AD = (3, _PROGRAM, 1), (3, 2)
_TRAINING = 2, (3, _PROGRAM), float64, int64, _SAMPLES, 2, 3
_OBSERVED = types.Array(int64, 3, "C"), 3
ARGUMENTS = {
    "tendency": (2, _P, 2),
    "tendency_tl": (2, _P, 2, _P, 2),
    "tendency_ad": (2, _P, 2, 2, _P_AD),
    "trajectory": (2, _P, float64, int64, 3, 3),
    "trajectory_tl": (2, _P, 2, _P, float64, int64, 2, 3),
    "trajectory_ad": (3, _P, float64, int64, 3, 2, _P_AD),
    "observe": (2, _P, (*_OBSERVED, int64), 2),
    "observe_tl": (2, _P, 2, (*_OBSERVED, int64), 2),
    "observe_ad": (2, _P, 2, (*_OBSERVED, int64), _OBSERVED, 2),
    "loss_ad": (*_TRAINING, 2, _LOSSES, _P_AD),
    "training": (*_TRAINING, _RATES, int64, 2, 2, 2, _LOSSES, _P_AD),
}


class Kernel(NamedTuple):
    """One choice of all that a kernel is compiled for."""

    operator: int  # index of one that runs it
    op: str
    members: int  # one, or several side by side
    shared: bool  # tile arrays in shared memory, or in global memory for those that do not fit
    dtype: str
    capability: tuple


class Assembled(NamedTuple):
    """What became of a kernel. `spills` is in bytes, stores and loads together; `stack` in bytes of a thread."""

    kernel: str
    tile: str
    dtype: str
    target: str
    registers: int
    spills: int
    stack: int


def kernels():
    """All kernels that the operators run, in the tiles that they run in.

    That is several members in shared memory for all, and for the fields of Lorenz-96 with RK4 also the other tiles: one
    member alone, and what does not fit shared memory. The tile changes addresses, whatever the scheme and the model.
    """
    runs = {}
    for index, operator in enumerate(OPERATORS):
        runs.setdefault((_model(operator).NAME, operator.op, operator.scheme, operator.uniform), index)
    return [
        Kernel(index, op, members, shared, dtype, capability)
        for index in runs.values()
        for op in OPERATORS[index].ops
        for members, shared in (TILES if _is_typical(OPERATORS[index]) else TILES[:1])
        for dtype in ("float64", "float32")
        for capability in CAPABILITIES
    ]


def _is_typical(operator):
    typical = operator.op == "tendency" or operator.scheme == "rk4"
    return typical and not operator.uniform and operator.name.startswith("lorenz96.")


def _model(operator):
    """The functions of one site; they do not depend on the sizes."""
    return operator.model_of(operator.sample(np.random.default_rng(0), 2, 8, np.float64)).kernel


def names_of(kernel):
    """What the tables call it: the kernel, its tile, its precision, its target."""
    operator = OPERATORS[kernel.operator]
    name = f"{operator.name.split('.')[0]}.{kernel.op}, {'numbers' if operator.uniform else 'fields'}"
    if not kernel.op.startswith(("tendency", "observe")):
        name += f", {operator.scheme}"
    members, memory = "one member" if kernel.members == 1 else "members", "shared" if kernel.shared else "global"
    return name, f"{members}, {memory} memory", kernel.dtype, "sm_{}{}".format(*kernel.capability)


def ptx_text(kernel):
    """The kernel's PTX."""
    from l96kit.kernels import _cuda

    operator, number = OPERATORS[kernel.operator], from_dtype(np.dtype(kernel.dtype))
    lanes = lanes_for(kernel.members, 8, kernel.dtype)
    found = built(kernel.op, _model(operator), operator.scheme, _cuda.team, lanes, operator.uniform)
    signature = void(int64, _type_of(ARGUMENTS[kernel.op], number), types.Array(number, 2, "C"))
    return _cuda.ptx(found.body, found.layout, number, signature, kernel.capability, kernel.shared)


def _type_of(argument, number):
    if isinstance(argument, tuple):
        return types.Tuple([_type_of(part, number) for part in argument])
    return types.Array(number, argument, "C") if isinstance(argument, int) else argument


def assemble(kernel):
    """Compile a kernel to PTX and assemble that."""
    return assembled(kernel, ptx_text(kernel))


def assembled(kernel, text):
    """Assemble the PTX of a kernel."""
    names = names_of(kernel)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(text)
        command = [assembler(), "-v", f"-arch={names[-1]}", source, "-o", Path(folder) / "kernel.cubin"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{', '.join(names)}: expected ptxas to assemble it, found: {done.stderr.strip()[-500:]}\n"
            "if it rejects the version, it is older than the compiler; pip install --upgrade nvidia-cuda-nvcc"
        )
    report = done.stderr
    return Assembled(
        *names,
        registers=max(map(int, re.findall(r"Used (\d+) registers", report))),
        spills=sum(map(int, re.findall(r"(\d+) bytes spill", report))),
        stack=max(map(int, re.findall(r"(\d+) bytes stack frame", report))),
    )


def assembler():
    """The path of ptxas: from the package nvidia-cuda-nvcc, else the one on the PATH."""
    packages = find_spec("nvidia")
    for folder in packages.submodule_search_locations if packages else ():
        for program in sorted(Path(folder).glob("*/bin/ptxas*")):
            return program
    found = shutil.which("ptxas")
    if found is None:
        raise FileNotFoundError(
            "ptxas: expected it in the package nvidia-cuda-nvcc or on the PATH, found neither; "
            "pip install nvidia-cuda-nvcc"
        )
    return found
