"""Would a wrong derivative be noticed? Faults are planted in a copy of the sources, one at a time; the battery must
catch each of them.

    python -m l96kit.validation.mutation [--json PATH] [--store]

The faults are made from the syntax tree of all tangent and adjoint code: signs turned, terms and factors dropped,
indices and bounds shifted, `=` for `+=` and the reverse, statements left out, tangent and state mistaken for each
other. The copy is run by Python without compiling, so each takes a second. The exit status is the verdict.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

import l96kit
import l96kit.kernels
import l96kit.reference
from l96kit._progress import progress_bar
from l96kit.validation._record import keep, markdown, provenance
from l96kit.validation.battery import battery, failures
from l96kit.validation.operators import OPERATORS

FOLDERS = {
    "": Path(l96kit.__file__).parent,
    "kernels": Path(l96kit.kernels.__file__).parent,
    "reference": Path(l96kit.reference.__file__).parent,
    "validation": Path(__file__).parent,
}

# Where faults are planted: all functions of `kernels/` and the API that only tangents and adjoints run, or that do
# something of their own for them; an inner function belongs to the one that it lies in.
PLACES = {
    "kernels/lorenz96.py": ("tendency_tl", "tendency_ad"),
    "kernels/vissio_lucarini.py": ("tendency_tl", "tendency_ad"),
    "kernels/lorenz63.py": ("tendency_tl", "tendency_ad"),
    "kernels/kuramoto_sivashinsky.py": ("product_tl", "product_ad"),
    "kernels/exponential.py": (
        "transposed",
        "one_step.tangent_product",
        "one_step.step_tl",
        "one_step.stage_ad",
        "one_step.step_ad",
    ),
    "kernels/tile.py": ("scaled_window", "transfer.load_add", "transfer.add"),
    "kernels/parameters.py": ("_gathering_numbers", "_gathering_fields"),
    "kernels/launch.py": ("zero_gradients",),
    "kernels/dynamics_of_sites.py": ("of_sites.begin", "of_sites.end", "of_sites.slope_tl", "of_sites.slope_ad"),
    "kernels/dynamics_of_network.py": (
        "of_network.bind_tl",
        "of_network.begin",
        "of_network.prepare_tl",
        "of_network.prepare_ad",
    ),
    "kernels/dynamics_of_spectrum.py": (
        "of_spectrum.w_tl",
        "of_spectrum.w_ad",
        "of_spectrum.bind_tl",
        "of_spectrum.begin",
        "of_spectrum.prepare_tl",
        "of_spectrum.prepare_ad",
        "of_spectrum.slope_tl",
        "of_spectrum.slope_ad",
    ),
    "kernels/dynamics_of_model.py": ("_sum.prepare_tl", "_sum.slope_tl", "_sum.prepare_ad", "_sum.slope_ad"),
    "kernels/layers.py": (
        "layers.add_transposed",
        "layers.sums_of_products",
        "layers.convolution_tl",
        "layers.gather_products",
        "layers.convolution_ad",
        "layers.product_tl",
        "layers.product_ad",
        "layers.pointwise.tl",
        "layers.pointwise.ad",
        "layers.sum_tl",
        "layers.sum_ad",
        "_rectifier.slope",
        "_tanh_slope",
        "_square_slope",
    ),
    "kernels/networks.py": ("network.tl", "network.ad"),
    "kernels/observing.py": (
        "_square_slope",
        "_cube_slope",
        "_absolute_slope",
        "_tanh_slope",
        "bodies.one_tl",
        "bodies.one_ad",
        "bodies.tl",
        "bodies.ad",
    ),
    "observation_operators.py": (
        "ObservationOperator.observe_tl",
        "ObservationOperator.observe_ad",
        "ObservationOperator._by_site",
    ),
    "kernels/training.py": ("bodies.add_residual", "bodies.rollouts_ad", "bodies.minibatch_ad"),
    "kernels/runge_kutta.py": (
        "stages_sweep",
        "adjoint_sweep",
        "kept",
        "one_step.slope_tl",
        "one_step.both",
        "one_step.slope_ad",
        "one_step.start_sums",
        "one_step.finish_sums",
        "one_step.step_ad",
    ),
    "kernels/trajectory.py": (
        "bodies.set_to_zero",
        "bodies.tendency_tl",
        "bodies.tendency_ad",
        "bodies.trajectory_tl",
        "bodies.trajectory_ad",
    ),
    "models.py": (
        "Model.tendency_tl",
        "Model.tendency_ad",
        "Model.parameter_pair",
        "Model.parameter_gradients",
    ),
    "training.py": ("Training.gradient",),
    "propagators.py": (
        "Propagator.trajectory_tl",
        "Propagator.step_tl",
        "Propagator.trajectory_ad",
        "Propagator.step_ad",
    ),
    "_adjoint.py": (
        "AdjointRun._forward",
        "AdjointRun._through_part",
        "AdjointRun._through_interval",
        "AdjointRun._forcing",
        "AdjointRun._back",
    ),
    "checkpoints.py": ("reverse_in_segments",),
    "_arrays.py": ("unbroadcast",),
}

# Faults that change nothing which can be computed: function, what becomes what in the statement, and why. They are
# not counted.
_ROOM = "only more room or work than needed"
_SCRATCH = "another scratch array of the same length, free at that time"
_PRECISION = "only their precision is looked at"
_ONE_AXIS = "there is one axis"
_ONE_TILE = "there is one tile array"
_NUMBERS = "training takes parameters that are numbers, and only fields are loaded from there"
_ANY_NEGATIVE = "any negative number stands for the length that is left"
_ZERO = "it was zero before"
_NOT_LOOKED_AT = "what follows does not look at it"
EQUIVALENT = (
    ("kept", "len(row) > m + 1", "len(row) >= m + 1", _ROOM),
    ("kept", "len(row) > m + 1", "len(row) > m", _ROOM),
    ("kept", "len(row) > m + 1", "len(row) > m + 0", _ROOM),
    ("kept", "row[m][0]", "row[m][1]", _ROOM),
    ("kept", "row[m][0]", "row[m][-1]", _ROOM),
    ("_gathering_numbers", "rank() < ", "rank() <= ", "on the CPU there is one worker, the first, who has a place"),
    ("_gathering_numbers", "shape[0]", "shape[-1]", _ONE_AXIS),
    ("of_network.prepare_tl", "shape[0]", "shape[-1]", _ONE_AXIS),
    ("of_network.prepare_ad", "shape[0]", "shape[-1]", _ONE_AXIS),
    ("network.tl", "size = y_tl.shape[0]", "size = y_tl.shape[-1]", _ONE_AXIS),
    ("network.ad", "x_ad.shape[0]", "x_ad.shape[-1]", _ONE_AXIS),
    ("of_network.bind_tl", "tiles_tl[0]", "tiles_tl[-1]", _ONE_TILE),
    ("of_network.begin", "tiles_ad[0]", "tiles_ad[-1]", _ONE_TILE),
    ("_sum.slope_tl", "slope_tl_other((x, f[1]", "slope_tl_other((x, f[0]", _NOT_LOOKED_AT),
    ("_sum.slope_tl", "f[1], x_tl, f_tl[1]", "f[1], x, f_tl[1]", _NOT_LOOKED_AT),
    ("_sum.slope_ad", "slope_other((x, f[1]", "slope_other((x, f[0]", _NOT_LOOKED_AT),
    ("_sum.slope_ad", "f_ad[1], dt), sums[1]", "f_ad[1], dt), sums[0]", _NOT_LOOKED_AT),
    ("of_spectrum.prepare_tl", "tiles_tl[2:4]", "tiles_tl[2:5]", _NOT_LOOKED_AT),
    ("of_spectrum.prepare_ad", "linear_ad(tiles_ad[2:3]", "linear_ad(tiles_ad[2:4]", _NOT_LOOKED_AT),
    ("of_spectrum.prepare_ad", "product_back(tiles_ad[2:3]", "product_back(tiles_ad[2:4]", _NOT_LOOKED_AT),
    ("one_step.stage_ad", "y[stages], y[stages + 1]", "y[stages], y[stages]", _SCRATCH),
    ("one_step.stage_ad", "y[stages], y[stages + 1]", "y[stages], y[stages + 2]", _SCRATCH),
    ("one_step.stage_ad", "y[stages], y[stages + 1]", "y[stages], y[stages + 0]", _SCRATCH),
    ("one_step.stage_ad", "y[stages + 2]", "y[stages + 3]", _SCRATCH),
    ("one_step.stage_ad", "y[stages + 2]", "y[stages + 1]", _SCRATCH),
    ("layers.convolution_tl", "row.taps > 1", "row.taps >= 1", _ROOM),
    ("layers.convolution_tl", "row.taps > 1", "row.taps > 0", _ROOM),
    ("layers.convolution_ad", "row.taps > 1", "row.taps >= 1", _ROOM),
    ("layers.convolution_ad", "row.taps > 1", "row.taps > 0", _ROOM),
    ("layers.gather_products", "(across + AT_ONCE - 1)", "(across + AT_ONCE + 1)", _ROOM),
    ("layers.gather_products", "(across + AT_ONCE - 1)", "(across + AT_ONCE)", _ROOM),
    ("layers.gather_products", "(across + AT_ONCE - 1)", "(across + AT_ONCE - 0)", _ROOM),
    ("layers.gather_products", "(row.outputs + AT_ONCE - 1)", "(row.outputs + AT_ONCE + 1)", _ROOM),
    ("layers.gather_products", "(row.outputs + AT_ONCE - 1)", "(row.outputs + AT_ONCE)", _ROOM),
    ("layers.gather_products", "(row.outputs + AT_ONCE - 1)", "(row.outputs + AT_ONCE - 0)", _ROOM),
    ("layers.gather_products", "1, 0, 0, size", "1, 0, 1, size", "the distance of taps, where there is one"),
    ("layers.gather_products", "1, 0, 0, size", "1, 0, -1, size", "the distance of taps, where there is one"),
    ("layers.gather_products", "row.bias >= 0", "row.bias > 0", "weights come before a bias"),
    ("layers.gather_products", "row.bias >= 0", "row.bias >= 1", "weights come before a bias"),
    ("layers.product_tl", "begin(row, room_tl, w_tl,", "begin(row, room_tl, w,", "a product has no bias"),
    ("layers.product_ad", "w_ad.dtype.type(0)", "w.dtype.type(0)", _PRECISION),
    ("layers.sum_tl", "w_tl, room_tl", "w, room_tl", "a sum has no weights"),
    ("network.ad", "span(U(0), U(program", "span(U(1), U(program", "the first number of a halo, which nobody reads"),
    ("bodies.add_residual", "weight.shape[0]", "weight.shape[-1]", _ONE_AXIS),
    ("bodies.set_to_zero", "tile.shape[0]", "tile.shape[-1]", _ONE_AXIS),
    ("unbroadcast", "set(shape) == {1}", "set(shape) == {0}", "on the CPU one worker adds up all of one member"),
    ("unbroadcast", "set(shape) == {1}", "set(shape) == {2}", "on the CPU one worker adds up all of one member"),
    ("bodies.rollouts_ad", "weight[lead - 1]", "weight[1]", "errors weigh the same at all leads"),
    ("bodies.rollouts_ad", "weight[lead - 1]", "weight[lead - 2]", "errors weigh the same at all leads"),
    ("bodies.minibatch_ad", "rest, U(0), U(weight", "rest, U(1), U(weight", _NUMBERS),
    ("bodies.minibatch_ad", "U(weight.shape[1]) * width", "U(weight.shape[1])", _NUMBERS),
    ("bodies.minibatch_ad", "U(weight.shape[1]) * width", "width", _NUMBERS),
    ("bodies.minibatch_ad", "U(weight.shape[1]) * width", "U(weight.shape[0]) * width", _NUMBERS),
    ("bodies.minibatch_ad", "tiles_ad, tile, U(0)", "tiles_ad, tile, U(1)", _NUMBERS),
    ("bodies.minibatch_ad", "stage_adjoints, kept_ad", "stage_adjoints, kept", _SCRATCH),
    ("bodies.minibatch_ad", "pair[0]", "pair[1]", _SCRATCH),
    ("bodies.minibatch_ad", "pair[0]", "pair[-1]", _SCRATCH),
    ("zero_gradients", "len(own) * weights", "len(own)", _ROOM),
    ("_absolute_slope", "x > like", "x >= like", "at zero there is no slope"),
    ("bodies.one_tl", "y_tl.shape[0]", "y_tl.shape[-1]", _ONE_AXIS),
    ("bodies.one_ad", "y_ad.shape[0]", "y_ad.shape[-1]", _ONE_AXIS),
    ("bodies.one_ad", "x_ad.shape[0]", "x_ad.shape[-1]", _ONE_AXIS),
    ("bodies.one_ad", "x_ad.shape[0]", "x.shape[0]", "a state and what comes back to it are as long"),
    ("bodies.tl", "used(x_tl, tile)", "used(x, tile)", "a state and its change are as many"),
    ("bodies.ad", "work[0]", "work[-1]", "there is one array"),
    ("ObservationOperator.observe_ad", "copy=False", "copy=True", _ROOM),
    ("ObservationOperator._by_site", "self.indices.reshape(-1,", "self.indices.reshape(-2,", _ANY_NEGATIVE),
    ("ObservationOperator._by_site", "self.weights.reshape(-1,", "self.weights.reshape(-2,", _ANY_NEGATIVE),
    ("ObservationOperator._by_site", "indices), 1)", "indices), 2)", _ROOM),
    ("ObservationOperator._by_site", "initial=0", "initial=1", _ROOM),
    ("ObservationOperator._by_site", "initial=0", "initial=-1", "there is no lack of sites"),
    ("ObservationOperator._by_site", "observations[at, sites, place] =", "observations[at, sites, place] +=", _ZERO),
    ("ObservationOperator._by_site", "found[at, sites, place] =", "found[at, sites, place] +=", _ZERO),
    ("one_step.both", "halo_tl(", "halo(", "the same function for tangent and state"),
    ("one_step.start_sums", "args[3]", "args[2]", _PRECISION),
    ("one_step.slope_ad", "max(stage - 1, 0)", "max(stage - 1, -1)", "the first stage does not look there"),
    ("one_step.step_ad", "stages > 1", "stages >= 1", _ROOM),
    ("one_step.step_ad", "stages > 1", "stages > 0", _ROOM),
    ("one_step.step_ad", "x_ad_next, k_ad, (x,", "x_ad_next, k, (x,", _SCRATCH),
    ("bodies.tendency_ad", "start_sums(bound_ad)", "start_sums(bound)", _PRECISION),
    ("bodies.trajectory_ad", "stage_adjoints, kept_ad", "stage_adjoints, kept", _SCRATCH),
    ("Training.gradient", "reshape(-1,", "reshape(-2,", _ANY_NEGATIVE),
    ("Model.parameter_pair", "changes[name] = change", "changes[name] += change", _ZERO),
    ("Propagator.step_tl", "x_tl, 1, 1,", "x_tl, 2, 1,", _ROOM),
    ("reverse_in_segments", "len(segments) == 1", "len(segments) == 0", "one segment is also a case of several"),
    ("reverse_in_segments", "segments[0]", "segments[-1]", "there is only one"),
    ("reverse_in_segments", "checkpoints >= len(segments)", "checkpoints > len(segments)", "then a schedule does it"),
)

# Operator and members; the quick ones come first, as few faults come to the last. The last tile is never full.
DETECTORS = (
    ("observed sites, identity.observe", 17),
    ("observed sums, tanh.observe", 9),
    ("observed sums, absolute.observe", 3),
    ("observed matrix, cube.observe", 9),
    ("observed interpolation, square.observe", 2),
    ("lorenz96.tendency, F per member and site", 17),
    ("lorenz96.tendency, F number", 9),
    ("vissio-lucarini.tendency, parameters per site", 9),
    ("lorenz63.tendency, parameters numbers", 9),
    ("kuramoto-sivashinsky.tendency", 3),
    ("lorenz96.trajectory, euler, F number", 17),
    ("burgers.tendency, c number, nu per site", 9),
    ("mixed network.tendency", 2),
    ("bilinNet.step, euler", 2),
    ("mixed network.loss of rollouts, euler", 10),
    ("lorenz96 and sqNet.step, euler, F number", 9),
    ("lorenz96 and tanh network.loss of rollouts, euler", 10),
    ("kuramoto-sivashinsky.trajectory, etdrk4", 1),
    ("lorenz96.step, heun, F per site", 9),
    ("lorenz96.trajectory, rk38, F per member and site", 9),
    ("burgers.trajectory, rk4, c and nu numbers", 9),
    ("burgers.trajectory, heun, c a row, nu a column", 2),
    ("lorenz96 and relu network.trajectory, heun, F per site", 8),
)
SITES = 6
PATIENCE = 60  # seconds, after which a fault counts as noticed: the program hangs


class Fault(NamedTuple):
    """A fault, with the statement that it lies in as it was and as it is, and the whole source with it."""

    path: str
    function: str
    before: str
    after: str
    source: str


# --- planting -------------------------------------------------------------------------------------------------------


def faults():
    """All faults: list of `Fault`."""
    found = []
    for path, functions in PLACES.items():
        folder, _, file = path.rpartition("/")
        tree = ast.parse((FOLDERS[folder] / file).read_text())
        for name in functions:
            found += _faults_in(tree, path, name, _find(tree, name.split(".")))
    return list({(fault.path, fault.source): fault for fault in found}.values())


def equivalent(fault):
    """Why a fault changes nothing; None if it does."""
    for function, before, after, reason in EQUIVALENT:
        if fault.function == function and fault.after == fault.before.replace(before, after) != fault.before:
            return reason
    return None


def _find(node, names):
    for child in ast.walk(node):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and child.name == names[0] and child is not node:
            return _find(child, names[1:]) if names[1:] else child
    raise LookupError(
        f"{names[0]}: expected a function or class of that name to plant faults in, found none; mend PLACES"
    )


def _faults_in(tree, path, function, node):
    known = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    known |= {argument.arg for argument in ast.walk(node) if isinstance(argument, ast.arg)}
    for statement, parent, key, index, child in _children(node, node):
        before = _in_words(statement)
        for variant in _variants(child, parent, known):
            _put(parent, key, index, variant)
            now = variant if child is statement else statement
            after = "(left out)" if isinstance(now, ast.Pass) else _in_words(now)
            source = ast.unparse(ast.fix_missing_locations(tree))
            _put(parent, key, index, child)
            yield Fault(path, function, before, after, source)


def _children(node, statement):
    """(statement, parent, field, position in a list or None, child) for all nodes below.

    Left out are tests that end in an error, and what `_launch` and `_run` are told, beside the arrays, about threads.
    """
    for key, value in ast.iter_fields(node):
        if key in ("decorator_list", "args") and isinstance(node, ast.FunctionDef):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or isinstance(child, (ast.Raise, ast.JoinedStr, ast.expr_context)):
                continue
            if isinstance(child, ast.If) and isinstance(child.body[-1], ast.Raise):
                continue
            within = child if isinstance(child, ast.stmt) else statement
            yield within, node, key, index, child
            if not (isinstance(child, ast.Call) and _called(child) in ("_launch", "_run")):
                yield from _children(child, within)


def _put(parent, key, index, child):
    if index is None:
        setattr(parent, key, child)
    else:
        getattr(parent, key)[index] = child


def _in_words(statement):
    """The statement, of a compound one its first line."""
    return ast.unparse(ast.fix_missing_locations(statement)).strip().splitlines()[0]


def _variants(node, parent, known):
    """What a slip could have made of a node."""
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, (ast.Add, ast.Sub)):
            other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            return [ast.BinOp(node.left, other, node.right), node.left, node.right]
        if isinstance(node.op, ast.Mult):
            return [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        return [node.operand]
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _OTHER_COMPARISON:
        return [ast.Compare(node.left, [_OTHER_COMPARISON[type(node.ops[0])]()], node.comparators)]
    if isinstance(node, (ast.Constant, ast.UnaryOp)):
        return _other_numbers(node, parent)
    if isinstance(node, ast.AugAssign):
        return [ast.Assign([node.target], node.value, lineno=node.lineno)]
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        return [ast.AugAssign(node.targets[0], ast.Add(), node.value)]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _called(node.value) not in _NOT_HERE:
        return [ast.Pass()]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        base = node.id.removesuffix("_tl").removesuffix("_ad")
        return [ast.Name(base, ast.Load())] if base != node.id and base in known else []
    return []


_NOT_HERE = ("sync", "one_of")  # a barrier does nothing in Python (the simulator shows a lack of one); a check of input

_OTHER_COMPARISON = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


def _other_numbers(node, parent):
    """Indices, bounds and counts one larger and one smaller; truths turned."""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return []
    if isinstance(value, bool):
        return [ast.Constant(not value)]
    if isinstance(parent, ast.UnaryOp) or not isinstance(value, int):
        return []
    return [ast.parse(str(value + change), mode="eval").body for change in (1, -1)]


def _called(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


# --- catching -------------------------------------------------------------------------------------------------------


def detect():
    """Run the battery on this process's l96kit; the first failure ends the process with status 1."""
    rng = np.random.default_rng(0)
    operators = {operator.name: operator for operator in OPERATORS}
    for name, members in DETECTORS:
        inputs = operators[name].sample(rng, members, SITES, np.float64)
        try:
            found = failures(battery(operators[name], inputs, rng), np.float64)
        except Exception as problem:
            found = [f"{type(problem).__name__}: {problem}"]
        if found:
            print(f"{name}: {found[0]}")
            sys.exit(1)


def copy_to(folder):
    """All sources, laid out as when installed."""
    for name, source in FOLDERS.items():
        shutil.copytree(source, folder / "l96kit" / name, ignore=_other_than_python, dirs_exist_ok=True)


def _other_than_python(folder, names):
    return [name for name in names if not name.endswith(".py")]


def caught_by(folder):
    """What the battery says of the sources in a folder; None if nothing."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",  # Python tells sources apart by size and second of change, which is too coarse
        "NUMBA_DISABLE_JIT": "1",
    }
    program = (
        "import sys, l96kit; from l96kit.validation.mutation import detect;"
        f"assert l96kit.__file__.startswith({str(folder)!r}), l96kit.__file__; detect()"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "it hangs"
    if done.returncode == 0:
        return None
    return (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]


def plant_all(planted):
    """What each fault is caught by, in their order; None for one that survives."""
    workers = os.cpu_count() or 1
    results = [None] * len(planted)
    folders = SimpleQueue()

    def plant(fault):
        folder = folders.get()
        file = folder / "l96kit" / fault.path
        right = file.read_text()
        try:
            file.write_text(fault.source)
            return caught_by(folder)
        finally:
            file.write_text(right)
            folders.put(folder)

    with ExitStack() as stack:
        for _ in range(workers):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
            copy_to(folder)
            folders.put(folder)
        complaint = caught_by(folder)
        if complaint:
            raise RuntimeError(f"battery: expected the sources to pass as they are, found {complaint}; mend them first")
        bar = stack.enter_context(progress_bar(len(planted), "faults"))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        waiting = {pool.submit(plant, fault): index for index, fault in enumerate(planted)}
        for done in as_completed(waiting):
            results[waiting[done]] = done.result()
            bar.update(1)
    return results


# --- the report -----------------------------------------------------------------------------------------------------


def report(found):
    """The result as Markdown: how many faults were caught in each function, then those that were not."""
    about, rows = found["provenance"], found["faults"]
    places = list(dict.fromkeys((row["path"], row["function"]) for row in rows))
    count = Counter((row["path"], row["function"], row["verdict"]) for row in rows)
    verdicts = ("caught", "survived", "equivalent")
    numbers = [(*place, *(count[(*place, verdict)] for verdict in verdicts)) for place in places]
    parts = [
        "# Planted faults",
        f"`{about['command']}`, {about['date']}, commit {about['commit']}, python {about['versions']['python']}",
        markdown(("file", "function", *verdicts), numbers),
    ]
    for verdict, heading in (("survived", "Not caught:"), ("equivalent", "Not counted, because nothing changes:")):
        items = [_item(row) for row in rows if row["verdict"] == verdict]
        if items:
            parts.append("\n".join([heading, "", *items]))
    totals = Counter(row["verdict"] for row in rows)
    parts.append(f"{totals['caught']} of {totals['caught'] + totals['survived']} faults caught.")
    return "\n\n".join(parts)


def _item(row):
    reason = f"\n  ({row['by']})" if row["by"] else ""
    return f"- {row['path']}, {row['function']}:\n  `{row['before']}`\n  `{row['after']}`{reason}"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m l96kit.validation.mutation", description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every fault and what caught it there")
    parser.add_argument("--store", action="store_true", help="keep the report under validation/results/")
    chosen = parser.parse_args(arguments)

    everything = faults()
    planted = [fault for fault in everything if not equivalent(fault)]
    caught = dict(zip(planted, plant_all(planted)))
    rows = []
    for fault in everything:
        if fault not in caught:
            verdict, by = "equivalent", equivalent(fault)
        else:
            verdict, by = ("caught", caught[fault]) if caught[fault] else ("survived", None)
        about = {"path": fault.path, "function": fault.function, "before": fault.before, "after": fault.after}
        rows.append({**about, "verdict": verdict, "by": by})
    found = {"provenance": provenance(), "faults": rows}
    text = report(found)
    print(text)
    keep("mutation", found, text, chosen.json, chosen.store)
    return 1 if any(row["verdict"] == "survived" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
