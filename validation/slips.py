"""Would a slip outside the derivatives be noticed? Some are planted, one at a time; the tests must catch each of them.

    python -m l96kit.validation.slips [--faults 40] [--seed 0] [--json PATH] [--store]

The faults are such as a tired developer makes in results, settings, scores, files and filters: a keyword left out, a
mean for a sum, the first experiment's number for all, a bound shifted, a cast or a guard forgotten. They are a sample:
functions drawn at random, one fault in each. A fault stands in place of a source while a process of its own imports it;
nothing is written. The tests are those in the checkout, so this needs one. The exit status is the verdict.
"""

import argparse
import ast
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from l96kit._progress import progress_bar
from l96kit.validation import mutation
from l96kit.validation._faults import called, faults_in, file_of, find, tree_of
from l96kit.validation._record import keep, provenance

CHECKOUT = Path(__file__).resolve().parent.parent
PATIENCE = 600  # seconds of computing, after which a fault counts as noticed

# The tests of each file, those first that notice most; kernels are run by Python, without compiling.
_RESULTS = ("test_every_number.py", "test_every_setting.py", "test_guards.py")
_BORDER = ("test_objects.py", "test_settings.py", "test_memory.py", "test_border.py")  # of the whole interface
TESTS = {
    "_arrays.py": ("test_read_as_meant.py", "test_sums.py", "test_models.py", "test_variational.py"),
    "_blas.py": ("test_blas.py",),
    "_covariances.py": ("test_every_setting.py", "test_variational.py"),
    "_cycles.py": (*_RESULTS, "test_twin_experiments.py", "test_filters.py", "test_baselines.py"),
    "_minimisers.py": ("test_every_number.py", "test_precision.py", "test_variational.py"),
    "_objects.py": (),
    "_progress.py": ("test_turns.py",),
    "_random.py": ("test_every_number.py", "test_random.py"),
    "_samples.py": ("test_every_setting.py", "test_training.py"),
    "_steps.py": ("test_turns.py", "test_blow_up.py", "test_twin.py"),
    "_training_run.py": ("test_every_setting.py", "test_training.py"),
    "_window.py": ("test_every_number.py", "test_precision.py", "test_variational.py"),
    "baselines.py": ("test_every_number.py", "test_precision.py", "test_baselines.py"),
    "checkpoints.py": ("test_guards.py", "test_checkpoints.py"),
    "checks.py": ("test_guards.py", "test_checks.py"),
    "cli.py": ("test_demo.py",),
    "demo.py": ("test_demo.py",),
    "demo_emulator.py": ("test_demo.py",),
    "demo_filters.py": ("test_demo.py",),
    "emulators.py": ("test_networks.py", "test_training.py"),
    "ensemble_variational.py": (
        "test_every_number.py",
        "test_precision.py",
        "test_ensemble_variational.py",
        "test_filters.py",
    ),
    "filters.py": (*_RESULTS, "test_filters.py", "test_twin_experiments.py", "test_localization.py"),
    "localization.py": ("test_guards.py", "test_localization.py", "test_every_setting.py"),
    "lorenz96.py": ("test_lorenz96_functions.py", "test_turns.py"),
    "models.py": ("test_models.py",),
    "networks.py": ("test_networks.py",),
    "observation_operators.py": (
        "test_observation_operators.py",
        "test_every_setting.py",
        "test_every_number.py",
        "test_filters.py",
    ),
    "observations.py": (
        "test_every_number.py",
        "test_precision.py",
        "test_twin.py",
        "test_variational.py",
        "test_filters.py",
    ),
    "plots.py": ("test_figures.py", "test_plots.py"),
    "predictability.py": (
        "test_every_number.py",
        "test_precision.py",
        "test_predictability.py",
        "test_read_as_meant.py",
    ),
    "propagators.py": ("test_turns.py", "test_checkpoints.py", "test_blow_up.py", "test_lorenz96_functions.py"),
    "scores.py": ("test_scores.py", "test_sums.py", "test_read_as_meant.py"),
    "store.py": ("test_store.py",),
    "training.py": ("test_every_setting.py", "test_training.py"),
    "twin.py": ("test_every_number.py", "test_twin.py"),
    "twin_experiments.py": ("test_every_number.py", "test_every_setting.py", "test_twin_experiments.py"),
    "variational.py": ("test_every_number.py", "test_precision.py", "test_variational.py"),
    "kernels/ensemble.py": ("test_every_number.py", "test_guards.py", "test_filters.py"),
    "kernels/filters.py": ("test_every_number.py", "test_guards.py", "test_filters.py"),
    "kernels/finite_size.py": ("test_guards.py", "test_filters.py"),
    "kernels/gauss_newton.py": ("test_baselines.py", "test_turns.py"),
    "kernels/iterated.py": ("test_every_number.py", "test_filters.py"),
    "kernels/particles.py": ("test_guards.py", "test_every_number.py", "test_filters.py"),
    "kernels/rotations.py": ("test_every_number.py", "test_filters.py"),
    "kernels/scoring.py": ("test_every_number.py", "test_filters.py"),
}
LEFT_OUT = ("__repr__", "main")  # what is said

# Slips that change nothing, or nothing that a test should look at: function, what becomes what, and why.
_EITHER_WAY = "the same either way"
REASONS = (
    ("_inner", "zip(a, b)", "zip(b, a)", _EITHER_WAY),
    ("record", "rmse(x, truth, room)", "rmse(truth, x, room)", _EITHER_WAY),
    (
        "whitened",
        "np.where(missing, 0, values)",
        "np.where(missing, 1, values)",
        "errors are independent where some are",
    ),
    ("CycledFourDVar.assimilate", "(len(x), 2)", "(len(x), 3)", "only more room than needed"),
    ("spun_up", ", progress=progress)", ")", "a bar, which test_turns looks at where runs are long"),
    ("TwinExperiment.run", "self.ensemble(1)", "self.ensemble(2)", "the first member is the same, however many"),
)


# --- planting ---------------------------------------------------------------------------------------------------------

_MODULES = ("np", "math", "_arrays")
_OTHER_FUNCTION = {
    "mean": "sum",
    "sum": "mean",
    "std": "var",
    "var": "std",
    "max": "min",
    "min": "max",
    "argmin": "argmax",
    "maximum": "minimum",
    "minimum": "maximum",
    "nanmean": "mean",
    "any": "all",
    "all": "any",
    "round": "int",
    "ceil": "floor",
}
# Calls that may be forgotten.
_UNDONE = ("astype", "copy", "sqrt", "abs", "log", "exp", "round", "array", "broadcast_to", "kept", "reshape", "sorted")


def variants(node, parent, known):
    """What a slip could have made of a node."""
    if isinstance(node, ast.Call):
        return [*_other_calls(node)]
    if isinstance(node, ast.Compare) and type(node.ops[0]) in mutation.OTHER_COMPARISON:
        return [ast.Compare(node.left, [mutation.OTHER_COMPARISON[type(node.ops[0])]()], node.comparators)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [node.left, node.right]
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Div, ast.Add, ast.Sub)):
        return [node.left]
    if isinstance(node, ast.BoolOp):
        return node.values if len(node.values) == 2 else []
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load) and not isinstance(parent, ast.Subscript):
        return [ast.Tuple(own, ast.Load()) for own in _all_but_one(node.elts)]
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    if isinstance(node, (ast.If, ast.AugAssign)):
        return [ast.Pass()]
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Name) and isinstance(node.ctx, ast.Load):
        return [ast.Subscript(node.value, ast.Constant(0), ast.Load())]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return [ast.Pass()]
    if isinstance(node, (ast.Constant, ast.UnaryOp)):
        return mutation.other_numbers(node, parent)
    return []


def _all_but_one(parts):
    """The lists that lack one of the parts, if there are several."""
    if len(parts) > 1:
        for index in range(len(parts)):
            yield [*parts[:index], *parts[index + 1 :]]


def _other_calls(node):
    """A keyword or the last argument left out, the first two exchanged, another function, or no call at all."""
    for index in range(len(node.keywords)):
        yield ast.Call(node.func, node.args, [*node.keywords[:index], *node.keywords[index + 1 :]])
    if len(node.args) > 1:
        yield ast.Call(node.func, node.args[:-1], node.keywords)
    names = [isinstance(argument, ast.Name) for argument in node.args[:2]]
    if names == [True, True]:
        yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
    function, method = called(node), isinstance(node.func, ast.Attribute)
    if function in _OTHER_FUNCTION:
        other = _OTHER_FUNCTION[function]
        other = ast.Attribute(node.func.value, other, ast.Load()) if method else ast.Name(other, ast.Load())
        yield ast.Call(other, node.args, node.keywords)
    if function in _UNDONE:
        of_module = not method or isinstance(node.func.value, ast.Name) and node.func.value.id in _MODULES
        yield node.args[0] if of_module else node.func.value


def functions(path):
    """Names of all functions of a file that lie in no other function, but for those of derivatives."""
    tree, derivatives = tree_of(path), {name.split(".")[0] for name in mutation.PLACES.get(path, ())}
    for node in tree.body:
        own = [node] if isinstance(node, ast.FunctionDef) else getattr(node, "body", ())
        for function in own:
            if isinstance(function, ast.FunctionDef) and not function.name.startswith(LEFT_OUT):
                name = function.name if function is node else f"{node.name}.{function.name}"
                if name not in mutation.PLACES.get(path, ()) and name not in derivatives:
                    yield name


def sample(number, rng):
    """Functions drawn at random, and in each a fault: list of `Fault`."""
    places = [(path, name) for path in TESTS for name in functions(path)]
    found = []
    for index in rng.permutation(len(places)):
        if len(found) == number:
            break
        path, name = places[index]
        tree = tree_of(path)
        own = list(faults_in(tree, path, name, find(tree, name.split(".")), variants, guards=True))
        if own:
            found.append(own[rng.integers(len(own))])
    return found


def reason(fault):
    """Why a fault need not be noticed; None if it must."""
    for function, before, after, why in REASONS:
        if fault.function == function and fault.after == fault.before.replace(before, after) != fault.before:
            return why
    return None


# --- catching ---------------------------------------------------------------------------------------------------------

# Python reads the fault from its standard input where it would read the file; the code that it kept is passed over.
_PROGRAM = f"""
import resource
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

file, source = Path(sys.argv[1]), sys.stdin.buffer.read()
get_data, path_stats = SourceFileLoader.get_data, SourceFileLoader.path_stats

def is_the_file(name):
    return Path(name).name == file.name and Path(name).resolve() == file

def path_stats_of(self, name):
    if is_the_file(name):
        raise OSError
    return path_stats(self, name)

SourceFileLoader.path_stats = path_stats_of
SourceFileLoader.get_data = lambda self, name: source if is_the_file(name) else get_data(self, name)
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_CPU, ({PATIENCE}, {PATIENCE + 1}))
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""


def tests_of(path):
    return TESTS[path] if path.startswith("kernels/") else (*TESTS[path], *_BORDER)


def caught_by(path, source, tests):
    """The first test, of files of them, that notices a source in place of a file; None if none does."""
    environment = {**os.environ, "L96KIT_NUM_THREADS": "1"}
    if path.startswith("kernels/"):
        environment["NUMBA_DISABLE_JIT"] = "1"
    command = [sys.executable, "-c", _PROGRAM, str(file_of(path).resolve()), *(f"tests/{name}" for name in tests)]
    command += ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb", "no", "-W", "ignore"]
    options = {"cwd": CHECKOUT, "env": environment, "capture_output": True, "timeout": 3 * PATIENCE}
    try:
        done = subprocess.run(command, input=source.encode(), **options)
    except subprocess.TimeoutExpired:  # without computing, such as one that waits for a lock
        return "it hangs"
    if done.returncode == -signal.SIGXCPU:
        return "it hangs"
    lines = [line for line in done.stdout.decode().splitlines() if line.startswith(("FAILED", "ERROR"))]
    return None if done.returncode == 0 else lines[0] if lines else f"pytest ends with {done.returncode}"


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m l96kit.validation.slips", description=__doc__.split("\n\n")[0])
    parser.add_argument("--faults", type=int, default=40, metavar="N", help="how many (40)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every fault and what caught it there")
    parser.add_argument("--store", action="store_true", help="keep the report under validation/results/")
    chosen = parser.parse_args(arguments)
    if not (CHECKOUT / "tests").is_dir():
        parser.error(f"expected a checkout with tests/, found none at {CHECKOUT}; clone the repository")

    planted, rows = sample(chosen.faults, np.random.default_rng(chosen.seed)), []
    def plant(fault):
        return caught_by(fault.path, fault.source, tests_of(fault.path))

    with progress_bar(len(planted), "faults") as bar, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for fault, by in zip(planted, pool.map(plant, planted)):
            why = reason(fault)
            verdict = "caught" if by else "equivalent" if why else "survived"
            about = {"path": fault.path, "function": fault.function, "before": fault.before, "after": fault.after}
            rows.append({**about, "verdict": verdict, "by": by or why})
            bar.update(1)
    found = {"provenance": provenance(), "faults": rows}
    text = mutation.report(found, "Slips planted outside the derivatives")
    print(text)
    keep("slips", found, text, chosen.json, chosen.store)
    return 1 if any(row["verdict"] == "survived" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
