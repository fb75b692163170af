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
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from l96kit._progress import progress_bar
from l96kit.validation._equivalent_faults import EQUIVALENT
from l96kit.validation._faults import FOLDERS, called, faults_in, find, tree_of
from l96kit.validation._record import keep, markdown, provenance
from l96kit.validation.battery import battery, failures
from l96kit.validation.operators import OPERATORS

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
PATIENCE = 60  # seconds of computing, after which a fault counts as noticed: the program hangs


# --- planting -------------------------------------------------------------------------------------------------------


def faults():
    """All faults: list of `Fault`."""
    found = []
    for path, functions in PLACES.items():
        tree = tree_of(path)
        for name in functions:
            found += faults_in(tree, path, name, find(tree, name.split(".")), variants)
    return list({(fault.path, fault.source): fault for fault in found}.values())


def equivalent(fault):
    """Why a fault changes nothing; None if it does."""
    for function, before, after, reason in EQUIVALENT:
        if fault.function == function and fault.after == fault.before.replace(before, after) != fault.before:
            return reason
    return None


def variants(node, parent, known):
    """What a slip could have made of a node."""
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, (ast.Add, ast.Sub)):
            other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            return [ast.BinOp(node.left, other, node.right), node.left, node.right]
        if isinstance(node.op, ast.Mult):
            return [node.left, node.right]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        return [node.operand]
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER_COMPARISON:
        return [ast.Compare(node.left, [OTHER_COMPARISON[type(node.ops[0])]()], node.comparators)]
    if isinstance(node, (ast.Constant, ast.UnaryOp)):
        return other_numbers(node, parent)
    if isinstance(node, ast.AugAssign):
        return [ast.Assign([node.target], node.value, lineno=node.lineno)]
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        return [ast.AugAssign(node.targets[0], ast.Add(), node.value)]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and called(node.value) not in _NOT_HERE:
        return [ast.Pass()]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        base = node.id.removesuffix("_tl").removesuffix("_ad")
        return [ast.Name(base, ast.Load())] if base != node.id and base in known else []
    return []


# A barrier does nothing in Python (the simulator shows a lack of one); checks of input, and what moves a bar.
_NOT_HERE = ("sync", "one_of", "require_memory", "_require_memory", "update")

OTHER_COMPARISON = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


def other_numbers(node, parent):
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
        f"import resource; resource.setrlimit(resource.RLIMIT_CPU, ({PATIENCE}, {PATIENCE + 1}));"
        "import l96kit; from l96kit.validation.mutation import detect;"
        f"assert l96kit.__file__.startswith({str(folder)!r}), l96kit.__file__; detect()"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode == -signal.SIGXCPU:
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


def report(found, title="Planted faults"):
    """The result as Markdown: how many faults were caught in each function, then those that were not."""
    about, rows = found["provenance"], found["faults"]
    places = list(dict.fromkeys((row["path"], row["function"]) for row in rows))
    count = Counter((row["path"], row["function"], row["verdict"]) for row in rows)
    verdicts = ("caught", "survived", "equivalent")
    numbers = [(*place, *(count[(*place, verdict)] for verdict in verdicts)) for place in places]
    parts = [
        f"# {title}",
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
