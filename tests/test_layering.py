"""Who may import whom, read from the sources."""

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("l96kit", "kernels", "reference", "validation", "tests")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

ANYTHING = None
MAY_IMPORT_OF_OURS = {
    "reference": {"reference"},
    "kernels": {"kernels"},
    "l96kit": {"l96kit", "kernels"},
    "validation": {"l96kit", "kernels", "reference", "validation"},
    "tests": ANYTHING,
}
MAY_IMPORT_OF_OTHERS = {
    "reference": {"numpy", "scipy"},
    "kernels": {"numpy", "numba", "llvmlite"},
    "l96kit": {"numpy", "scipy", "h5py", "matplotlib", "threadpoolctl", "tqdm", "checkpoint_schedules"},
    "validation": ANYTHING,
    "tests": ANYTHING,
}


def imported_names(text):
    """The dotted names that a source imports anywhere in it, a relative import with its dots in front."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "import_module",
            "__import__",
        ):
            (first,) = node.args[:1] or [None]
            if isinstance(first, ast.Constant):
                yield first.value


def folder_of(name):
    """Which of the five folders a dotted name of ours lies in: l96kit.kernels.tile is of `kernels`."""
    second = name.split(".")[1] if "." in name else ""
    return second if second in FOLDERS else "l96kit"


def faults(folder, text):
    """What a source in `folder` imports and must not."""
    found = []
    for name in imported_names(text):
        top = name.split(".")[0]
        if name.startswith("."):
            found.append(f"{name}: write l96kit... in full")
        elif top in FOLDERS[1:] and not (folder == "tests" and top == "tests"):
            found.append(f"{name}: bare, write l96kit.{name}")
        elif top == "l96kit":
            allowed = MAY_IMPORT_OF_OURS[folder]
            if allowed is not ANYTHING and folder_of(name) not in allowed:
                found.append(f"{name}: {folder} must not know {folder_of(name)}")
        elif top not in sys.stdlib_module_names:
            allowed = MAY_IMPORT_OF_OTHERS[folder]
            if allowed is not ANYTHING and top not in allowed:
                found.append(f"{name}: not among what {folder} may use")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports(path):
    assert faults(path.relative_to(ROOT).parts[0], path.read_text()) == []


def test_few_modules_know_numba():
    """So that another release of it, or another compiler, concerns these alone."""
    known = {
        path.name
        for path in (ROOT / "kernels").glob("*.py")
        if {name.split(".")[0] for name in imported_names(path.read_text())} & {"numba", "llvmlite"}
    }
    assert known == {"_targets.py", "_compilers.py", "_cache.py", "_cuda.py"}


@pytest.mark.parametrize(
    ("folder", "text"),
    [
        ("reference", "from l96kit.kernels import tile"),
        ("reference", "import l96kit"),
        ("reference", "import numba"),
        ("kernels", "from l96kit.reference.lorenz96 import tendency"),
        ("kernels", "from l96kit import models"),
        ("kernels", "def f():\n    import l96kit.models"),
        ("kernels", "import scipy"),
        ("l96kit", "from l96kit.validation import operators"),
        ("l96kit", "from l96kit.reference import lorenz96"),
        ("l96kit", "from numba import njit"),
        ("l96kit", "from . import models"),
        ("l96kit", "from l96kit import tests"),
        ("validation", "from l96kit.tests import test_border"),
        ("validation", "from kernels import tile"),
        ("tests", "import kernels.tile"),
        ("tests", "importlib.import_module('kernels.tile')"),
    ],
)
def test_the_check_itself_finds_faults(folder, text):
    assert len(faults(folder, text)) == 1


def test_the_five_folders_and_no_other():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    folders = {Path(file).parts[0] for file in files if len(Path(file).parts) > 1}
    assert folders == {*FOLDERS, ".ci"}


def test_what_is_imported_is_installed():
    """What the package needs at run time is what setup.cfg asks for, no more and no less."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    asked = {re.split("[<>=]", line)[0].replace("-", "_") for line in config["options"]["install_requires"].split()}
    used = {
        name.split(".")[0]
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] in ("l96kit", "kernels", "reference")
        for name in imported_names(path.read_text())
    }
    ours_or_pythons = {"l96kit", *sys.stdlib_module_names}
    assert asked == used - ours_or_pythons - {"llvmlite"}  # which comes with Numba, in the release that it needs


# What belongs to the whole process, and so to its other threads and to the user.
OF_THE_PROCESS = {"umask", "chdir", "putenv", "seterr", "seed", "simplefilter", "filterwarnings", "setlocale"}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parent.name in ("l96kit", "kernels")], ids=str)
def test_no_source_changes_the_process(path):
    calls = {
        getattr(node.func, "attr", "") for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    }
    assert not calls & OF_THE_PROCESS
