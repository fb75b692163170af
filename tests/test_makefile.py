"""What the Makefile and the README tell to run is there."""

import re
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
