"""The table of derivatives: each operator on each target in each precision, and each CUDA kernel as PTX.

    python -m l96kit.validation.gradients [--target cpu] [--dtype float64] [--json PATH] [--store]

The exit status is the verdict: 0 if every row holds.
"""

import argparse
import json
import sys
import zlib
from pathlib import Path

import numpy as np

from l96kit.kernels.launch import require_cuda
from l96kit.validation import ptx, simulator
from l96kit.validation._record import keep, markdown, provenance
from l96kit.validation._workers import run_all
from l96kit.validation.battery import battery, failures
from l96kit.validation.operators import OPERATORS

TARGETS = ("cpu", "simulator", "ptx", "cuda")
DTYPES = ("float64", "float32")

# Members and sites; no tile divides the members.
SIZES = {"cpu": (17, 40), "simulator": (9, 5), "cuda": (17, 40)}
SIMULATED = ("forward", "tl", "ad", "dot", "slope 1", "slope 2", "accumulation")  # the others launch too many kernels

SHOWN = ("forward", "tl", "ad", "dot", "slope 1", "slope 2")  # the others are behind the verdict, and in the JSON
HEADINGS = ("forward error", "tangent error", "adjoint error", "dot test", "slope 1", "slope 2")


def check(index, target, dtype):
    """The checks of one operator: dict of check -> number."""
    operator = OPERATORS[index]
    rng = np.random.default_rng(zlib.crc32(operator.name.encode()))
    inputs = operator.sample(rng, *SIZES[target], np.dtype(dtype))
    if target == "simulator":
        with simulator.as_on_a_gpu(shared=dtype == "float64"):  # both kinds of memory, each in one precision
            return battery(operator, inputs, rng, "cuda", SIMULATED)
    return battery(operator, inputs, rng, target)


def rows_of(target, dtypes):
    """All rows of a target, as dicts for JSON."""
    tasks = [(index, target, dtype) for dtype in dtypes for index in range(len(OPERATORS))]
    environment = simulator.ENVIRONMENT if target == "simulator" else None
    results = run_all(check, tasks, target, environment=environment)
    return [
        {
            "operator": OPERATORS[index].name,
            "target": target,
            "dtype": dtype,
            "numbers": numbers,
            "failures": failures(numbers, dtype),
        }
        for (index, _, dtype), numbers in zip(tasks, results)
    ]


def ptx_rows(dtypes):
    """All CUDA kernels, as dicts for JSON."""
    tasks = [(kernel,) for kernel in ptx.kernels() if kernel.dtype in dtypes]
    rows = []
    for found in run_all(ptx.assemble, tasks, "ptx", "kernels"):
        spilled = f"spills: expected none, found {found.spills} bytes"
        rows.append({**found._asdict(), "failures": [spilled] if found.spills else []})
    return rows


# --- as text --------------------------------------------------------------------------------------------------------


def operator_table(rows):
    cells = [[row["operator"], row["target"], row["dtype"], *_shown(row["numbers"]), _verdict([row])] for row in rows]
    return markdown(("operator", "target", "dtype", *HEADINGS, "verdict"), cells)


def _shown(numbers):
    for name in SHOWN:
        if name not in numbers:
            yield "-"
        else:
            yield f"{numbers[name]:.4f}" if name.startswith("slope") else f"{numbers[name]:.0e}"


def ptx_table(rows):
    """One line for each kernel, with the registers of a thread for each precision and capability."""
    columns = sorted({(row["dtype"], row["target"]) for row in rows})
    lines = {}
    for row in rows:
        lines.setdefault((row["kernel"], row["tile"]), {})[row["dtype"], row["target"]] = row
    cells = [
        [
            *names,
            *(str(variants[column]["registers"]) for column in columns),
            str(sum(row["spills"] for row in variants.values())),
            str(max(row["stack"] for row in variants.values())),
            _verdict(variants.values()),
        ]
        for names, variants in lines.items()
    ]
    return markdown(("kernel", "tile", *map(" ".join, columns), "spilled bytes", "stack bytes", "verdict"), cells)


def _verdict(rows):
    return "; ".join(failure for row in rows for failure in row["failures"]) or "holds"


def report(found):
    """The whole result as Markdown."""
    about = found["provenance"]
    parts = [
        "# Derivatives",
        f"`{about['command']}`, {about['date']}, commit {about['commit']}\n"
        f"{about['machine']['cpu']}, {about['machine']['cores']} cores, {about['machine']['system']}; "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "Errors are relative: of the kernel and its tangent and adjoint against the NumPy reference and its complex "
        "step, and of <Lu, v> against <u, L'v>. Slopes are those of the Taylor remainders.",
    ]
    if found["operators"]:
        parts.append(operator_table(found["operators"]))
    if found["ptx"]:
        parts += ["Registers of a thread in each CUDA kernel, from ptxas:", ptx_table(found["ptx"])]
    return "\n\n".join([*parts, summary(found)])


def summary(found):
    rows = found["operators"] + found["ptx"]
    failed = sum(bool(row["failures"]) for row in rows)
    return f"{len(rows) - failed} of {len(rows)} rows hold." + (f" {failed} FAIL." if failed else "")


def main(arguments=None):
    about = __doc__.split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m l96kit.validation.gradients", description=about)
    parser.add_argument(
        "--target", choices=(*TARGETS, "all"), default="all", help="default: all, a GPU if there is one"
    )
    parser.add_argument("--dtype", choices=DTYPES, action="append", help="may be given twice; default: both")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every number there")
    parser.add_argument("--store", action="store_true", help="keep the tables under validation/results/")
    chosen = parser.parse_args(arguments)
    dtypes = chosen.dtype or DTYPES
    targets = [chosen.target] if chosen.target != "all" else [t for t in TARGETS if t != "cuda" or has_gpu()]

    everything = {"provenance": provenance(), "operators": [], "ptx": []}
    for target in targets:
        found = {"provenance": provenance(), "operators": [], "ptx": []}
        if target == "ptx":
            found["ptx"] = ptx_rows(dtypes)
        else:
            found["operators"] = rows_of(target, dtypes)
        text = report(found)
        print(text)
        keep(f"gradients_{target}", found, text, stored=chosen.store)  # at once, since each takes up to an hour
        for part in ("operators", "ptx"):
            everything[part] += found[part]
    if chosen.json:
        chosen.json.write_text(json.dumps(everything, indent=1) + "\n")
    return int(any(row["failures"] for row in everything["operators"] + everything["ptx"]))


def has_gpu():
    try:
        require_cuda()
    except RuntimeError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
