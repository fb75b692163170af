"""The package as others get it: from a wheel outside the checkout, and from a checkout that was never installed."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {  # folder of the checkout: where it is installed
    "l96kit": "l96kit",
    "kernels": "l96kit/kernels",
    "reference": "l96kit/reference",
    "validation": "l96kit/validation",
}

ONE_STEP = """
import numpy as np
import l96kit, l96kit.kernels.tile, l96kit.reference.lorenz96, l96kit.validation
from l96kit.reference.runge_kutta import rk4

x = 8 + np.sin(np.arange(12.0))
y = l96kit.Propagator(l96kit.Lorenz96(12, 8.0), dt=0.05).step(x)
f = lambda x: l96kit.reference.lorenz96.tendency(x, 8.0)
assert np.abs(y - rk4(f, x, 0.05)).max() < 1e-13
for module in (l96kit, l96kit.kernels.tile, l96kit.reference.lorenz96, l96kit.validation):
    print(module.__file__)
print(*l96kit.__path__)
"""


def run(arguments, folder, **environment):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what a clone holds, so that building leaves nothing behind here."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(checkout)], folder)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_runs_outside_the_checkout(wheel, tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "setup.cfg").touch()  # a neighbour that must not be taken for a checkout's
    run(["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel)], elsewhere)
    out = run(["-c", ONE_STEP], elsewhere, PYTHONPATH=str(site), L96KIT_CACHE_DIR=str(tmp_path / "cache"))
    assert out == [
        str(site / "l96kit/__init__.py"),
        str(site / "l96kit/kernels/tile.py"),
        str(site / "l96kit/reference/lorenz96.py"),
        str(site / "l96kit/validation/__init__.py"),
        str(site / "l96kit"),
    ]


def test_checkout_runs_uninstalled(checkout, tmp_path):
    out = run(["-c", ONE_STEP], tmp_path, PYTHONPATH=str(checkout), L96KIT_CACHE_DIR=str(tmp_path / "cache"))
    assert out == [
        str(checkout / "l96kit/__init__.py"),
        str(checkout / "kernels/tile.py"),
        str(checkout / "reference/lorenz96.py"),
        str(checkout / "validation/__init__.py"),
        f"{checkout / 'l96kit'} {checkout}",
    ]


def test_wheel_holds_every_module_and_nothing_else_at_the_top(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"l96kit"}
    for source, installed in PACKAGES.items():
        for file in (ROOT / source).rglob("*.py"):
            assert f"{installed}/{file.relative_to(ROOT / source).as_posix()}" in names
    assert "l96kit/py.typed" in names
    for file in (ROOT / "validation/results").rglob("*.*"):
        assert f"l96kit/{file.relative_to(ROOT).as_posix()}" in names


@pytest.fixture(scope="module")
def metadata(wheel):
    return Parser().parsestr(read(wheel, "METADATA"))


def read(wheel, file):
    archive = zipfile.ZipFile(wheel)
    (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
    return archive.read(f"{folder}/{file}").decode()


def test_metadata(wheel, metadata):
    assert metadata["Name"] == "l96kit"
    assert metadata["Version"] == "0.1.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert set(metadata.get_all("Provides-Extra")) == {"cuda", "dask", "peers", "test"}
    assert "l96kit = l96kit.cli:main" in read(wheel, "entry_points.txt")


def requirements(metadata, extra=None):
    """Names as they are imported, of those that an extra adds or of all others."""
    found = {}
    for line in metadata.get_all("Requires-Dist"):
        text, _, condition = line.partition(";")
        if (extra is None) == ("extra" not in condition) and (extra or "") in condition:
            name = re.match(r"[\w-]+", text).group()
            found[name.replace("-", "_")] = text[len(name) :]
    return found


def imported(folder):
    """What the modules of a folder import that is neither Python's nor ours."""
    names = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"l96kit"}


def test_extras_hold_what_evidence_imports_beyond_the_package(metadata):
    """What the package itself imports is in test_layering."""
    extras = {name for extra in ("peers", "test") for name in requirements(metadata, extra)}
    theirs = {"llvmlite", "pandas"}  # which come with Numba and xarray
    assert imported("validation") - set(requirements(metadata)) <= extras | theirs


def test_requirements_say_from_which_version_on(metadata):
    """`make compat` tests these. Peers and Dask are for those who have them; the assembler must be as new as the
    compiler that comes with numba-cuda."""
    for extra in (None, "test", "cuda"):
        found = requirements(metadata, extra)
        assert {name for name, versions in found.items() if ">=" not in versions} <= {"nvidia_cuda_nvcc"}
