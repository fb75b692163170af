"""What the Makefile and the README tell to run is there."""

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from l96kit.validation.operators import OPERATORS

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
COMMANDS = sorted({(name, " ".join(rest.split())) for name, rest in re.findall(
    r"-m (l96kit\.validation\.\w+)([^`\n]*)", f"{MAKEFILE}\n{README}"
)})  # fmt: skip


def test_tests_that_the_makefile_names_are_there():
    names = re.findall(r"(tests/\w+\.py)(?:::(\w+)(?:\[([^\]]*)\])?)?", MAKEFILE)
    assert len(names) >= 7
    for file, function, case in names:
        source = (ROOT / file).read_text()
        assert not function or f"def {function}(" in source, f"{file}: expected {function}, found none"
        if case:
            name, _, dtype = case.rpartition(", ")
            assert name in {operator.name for operator in OPERATORS} and dtype in ("float64", "float32")


@pytest.mark.parametrize(("module", "arguments"), COMMANDS)
def test_commands_have_the_options_that_they_are_given(module, arguments):
    source = Path(find_spec(module).origin).read_text()
    for option in re.findall(r"--[\w-]+", arguments):
        assert f'"{option}"' in source, f"{module}: expected the option {option}, found none"


# --- with environments that only write down what they are asked for ---------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """The Makefile beside environments that stand, whose Python fails if a file `fails` lies beside it."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"))
        os.utime(tmp_path / name, (1, 1))
    for name, stamp in ((".venv", "installed-test"), (".venv-oldest", "installed"), (".venv-newest", "installed")):
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text('#!/bin/sh\necho "$@" >> "$(dirname "$0")/asked"\ntest ! -e "$(dirname "$0")/fails"\n')
        python.chmod(0o755)
        (tmp_path / name / stamp).touch()
        os.utime(tmp_path / name / stamp, (2, 2))
    return tmp_path


def make(folder, target):
    """The exit status, and what each environment was asked for."""
    status = subprocess.run(["make", target], cwd=folder, capture_output=True).returncode
    return status, {file.parent.parent.name: file.read_text() for file in folder.glob(".venv*/bin/asked")}


@pytest.mark.parametrize("ill", ["oldest", "newest"])
def test_dependencies_with_which_tests_fail_are_not_compatible(ill, checkout):
    status, asked = make(checkout, "compat")
    assert status == 0 and all("pytest" in asked[f".venv-{age}"] for age in ("oldest", "newest"))
    (checkout / f".venv-{ill}" / "bin" / "fails").touch()
    assert make(checkout, "compat")[0] != 0


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml"])
def test_new_requirements_are_installed_before_the_tests(name, checkout):
    assert "install" not in make(checkout, "test")[1][".venv"]
    os.utime(checkout / name)
    status, asked = make(checkout, "test")
    assert status == 0 and "pip install" in asked[".venv"] and ".[test]" in asked[".venv"]
