"""What the README says was measured is what stands in validation/results, rounded to the digits that it shows."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from l96kit.validation._tuned_filters import MEMBERS, SYSTEMS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROSE = " ".join(README.split())
NUMBER = r"[\d,]*\.?\d+(?:e[+-]?\d+)?"


def stored(name):
    return json.loads((ROOT / f"validation/results/{name}.json").read_text())


def numbers(text):
    """(value, half a unit of its last digit) of each number in a text; zeros at the end of a whole one are none."""
    found = []
    for match in re.findall(NUMBER, text):
        digits, _, exponent = match.replace(",", "").partition("e")
        whole, _, fraction = digits.partition(".")
        places = -len(fraction) if fraction else len(whole) - len(whole.rstrip("0"))
        found.append((float(digits + "e" + (exponent or "0")), 0.5 * 10.0 ** (places + int(exponent or 0))))
    return found


def assert_shows(text, values):
    shown = numbers(text)
    assert len(shown) == len(values), text
    for (number, half), value in zip(shown, values):
        assert abs(number - value) <= half * (1 + 1e-6), f"{text}: expected {value:.6g}, found {number:g}"


def rows(first_heading):
    """The cells of all rows below that line of headings."""
    lines = README[README.index(first_heading) :].splitlines()
    count = next(i for i, line in enumerate(lines) if not line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:count]]


class Measured:
    """The figures of a speed report by their labels: ratios, and our median of a time."""

    def __init__(self, name):
        self._figures = {figure["label"]: figure for figure in stored(name)["figures"]}

    def ratio(self, label):
        return self._figures[label]["ratio"]["median"]

    def find(self, start, end):
        (found,) = (own for label, own in self._figures.items() if label.startswith(start) and label.endswith(end))
        return found


def test_speed_against_jax():
    found = Measured("speed")
    starts = "ensemble forward", "gradient of a scalar at the end", "tangent", "single trajectory"
    lines = rows("| | million member-steps/s | NumPy |")
    assert len(lines) == len(starts)
    for (_, steps, *ratios), start in zip(lines, starts):
        own = found.find(start, "against JAX")
        assert_shows(steps, [own["member_steps"] / own["seconds"]["median"] / 1e6])
        for text, peer in zip(ratios, ("NumPy", "JAX", "JAX, tuned")):
            if text:
                assert_shows(text, [found.find(start, f"against {peer}")["ratio"]["median"]])


def test_speed_in_prose():
    found = Measured("speed")
    spectral = "Kuramoto-Sivashinsky, a step of 64 members, against"
    fresh = "import and first gradient in a fresh process,"
    threads = found.find("two threads", "")["ratio"]
    for sentence, values in (
        (r"takes ([\d.]+) ms, [\d.]+ times less than with", [1e3 * found.find(spectral, "JAX")["seconds"]["median"]]),
        (r"ms, ([\d.]+) times less than with NumPy", [found.ratio(f"{spectral} NumPy")]),
        (r"transforms and ([\d.]+) times less than JAX", [found.ratio(f"{spectral} JAX")]),
        (r"Two threads do ([\d.]+) times as much as one \(quartiles ([\d.]+) and ([\d.]+):",
         [threads["median"], *threads["quartiles"]]),
        (r"member-step costs ([\d.]+) times as much among 16,384",
         [found.find("cost per member-step, 16384", "")["ratio"]["median"]]),
        (r"a site-step ([\d.]+) times as much on a ring of 4,000",
         [found.find("cost per site-step, 64 members of K=4000", "")["ratio"]["median"]]),
        (r"first gradient after ([\d.]+) s, JAX after ([\d.]+) times that with its compilation .*? after ([\d.]+)",
         [found.ratio(f"{fresh} {end}") for end in
          ("code on disk, in seconds", "JAX with its cache over ours", "JAX without a cache over ours")]),
    ):  # fmt: skip
        (match,) = re.finditer(sentence, PROSE)
        assert_shows(" ".join(match.groups()), values)


def test_speed_of_emulators():
    found = Measured("speed_emulators")
    for label, milliseconds, *ratios in rows("| | milliseconds | PyTorch | JAX |"):
        start = re.match(r"\w+, [\w-]+", label)[0]
        for text, peer in zip(ratios, ("PyTorch", "JAX")):
            own = found.find(start, f"against {peer}")
            assert_shows(text, [own["ratio"]["median"]])
            assert_shows(milliseconds, [1e3 * own["seconds"]["median"]])


def test_speed_of_filters():
    found = Measured("speed_filters")
    starts = [
        *("EnKF, N = 40", "ETKF, N = 28", "LETKF, N = 7", "LETKF, N = 10", "iEnKS, N = 40", "4D-Var, window"),
        "forecast of 100",
    ]
    lines = rows("| | milliseconds a cycle | DAPPER |")
    assert len(lines) == len(starts)
    for (_, milliseconds, one, each), start in zip(lines, starts):
        alone = found.find(
            start, "a step, against DAPPER" if start.startswith("forecast") else "a cycle, against DAPPER"
        )
        assert_shows(milliseconds, [1e3 * alone["seconds"]["median"]])
        assert_shows(one, [alone["ratio"]["median"]])
        if each:
            assert_shows(each, [found.find(start, "each of 64 experiments, against DAPPER")["ratio"]["median"]])
    costs = [100 * (own["ratio"]["median"] - 1) for label, own in found._figures.items() if "all scores" in label]
    assert_shows(re.search(r"together cost (\d+ to \d+) % more", PROSE)[1], [min(costs), max(costs)])


def test_four_d_var():
    lines, found = rows("| window (steps) | time units |"), stored("fourdvar")["rows"]
    assert len(lines) == len(found)
    for (window, time, *cells), row in zip(lines, found):
        assert int(window) == row["window"]
        assert_shows(time, [0.0125 * row["window"]])
        for cell, name in zip(cells, ("background", "analysis", "80 steps later")):
            assert_shows(cell, row[name])


def test_errors_of_emulators():
    """The result is a table; a cell of ours shows as many digits or fewer."""
    table = (ROOT / "validation/results/deep_emulators_2.md").read_text()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:2] == "| "]
    by_label = {tuple(cells[0].replace("N = ", "").split(", ")): cells[2:5] for cells in lines[1:]}
    ours = rows("| network | N (steps) | precision |")
    assert len(ours) >= 7
    for network, steps, precision, *cells in ours:
        for text, whole in zip(cells, by_label[network.split(",")[0], steps, precision]):
            rounded = [half for _, half in numbers(whole)]
            for (number, half), (value, _), known_to in zip(numbers(text), numbers(whole), rounded):
                assert abs(number - value) <= half + known_to, f"{network}, {steps}: {text} for {whole}"


def test_points_of_the_literature():
    own = stored("filters_points")["rows"]
    within = sum(row["within"] for row in own)
    match = re.search(r"Of (\d+) scores in the literature .*? ours agree with (\d+) to the tolerance", PROSE)
    assert [int(group) for group in match.groups()] == [len(own), within]


def test_tuned_filters():
    lines = rows("| | 10 of 40 sites in turn, sigma 1 |")
    methods = [(kind, members) for kind in ("LETKF", "IEnKS") for members in MEMBERS] + [("4D-Var", 0)]
    assert len(lines) == len(methods)
    systems = "L96-partial-1", "L96-full-1", "L96-partial-2.5", "L96-full-2.5", "KS-1", "KS-2.5"
    assert set(systems) == set(SYSTEMS)
    for column, name in enumerate(systems, start=1):
        found = {
            (row["kind"].replace("iEnKS", "IEnKS"), row["members"]): row for row in stored(f"filters_{name}")["rows"]
        }
        for line, method in zip(lines, methods):
            assert_shows(line[column], [found[method]["climatology"]["mean"], found[method]["expected"]])


@pytest.mark.parametrize(
    ("start", "sentence"), [("L96", r"Lorenz-96, (\d+) of (\d+) agree"), ("KS", r"KS (\d+) of (\d+) agree")]
)
def test_how_many_tuned_filters_agree(start, sentence):
    found = [row for name in SYSTEMS if name.startswith(start) for row in stored(f"filters_{name}")["rows"]]
    agree = sum(row["climatology"]["within"] or row["truth"]["within"] for row in found)
    assert [int(group) for group in re.search(sentence, PROSE).groups()] == [agree, len(found)]


def test_derivatives():
    mutants = [fault["verdict"] for fault in stored("mutation")["faults"]]
    assert "survived" not in mutants
    assert_shows(re.search(r"catches them: all ([\d,]+) when last stored", PROSE)[1], [mutants.count("caught")])
    match = re.search(r"\((\d+) rows each,", PROSE)
    for target in ("cpu", "simulator"):
        held = stored(f"gradients_{target}")["operators"]
        assert len(held) == int(match[1]) and not any(row["failures"] for row in held)
    kernels = stored("gradients_ptx")["ptx"]
    match = re.search(r"All (\d+) CUDA kernels compile to PTX .*? (\d+) of them without spills", PROSE)
    assert [int(group) for group in match.groups()] == [len(kernels), sum(not row["spills"] for row in kernels)]
    spilled = sorted(row["spills"] for row in kernels if row["spills"])
    assert [int(own) for own in re.search(r"spills (\d+) and (\d+) bytes", PROSE).groups()] == spilled


def test_days_are_those_of_the_results():
    for pattern, names in (
        (r"one core \(AMD EPYC, ([\d-]+); `python -m l96kit.validation.speed", ["speed"]),
        (r"`validation/results/\*.md`, of ([\d-]+) on two cores", ["fourdvar"]),
    ):
        day = re.search(pattern, PROSE)[1]
        assert {stored(name)["provenance"]["date"][:10] for name in names} == {day}


def test_the_reader_of_numbers():
    assert numbers("1,100 x") == [(1100.0, 50.0)]
    assert numbers("0.092 +- 0.041") == pytest.approx(np.array([(0.092, 0.0005), (0.041, 0.0005)]))
    assert numbers("5.8e-7") == [(pytest.approx(5.8e-7), pytest.approx(5e-9))]
