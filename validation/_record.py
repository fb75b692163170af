"""How results are written down: tables, intervals, and where a stored result comes from."""

import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import numba
import numpy as np

import l96kit

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


def provenance():
    """What is needed to judge or repeat a result: dict of date (UTC), machine, versions, commit and command."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform(terse=True)},
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
            "l96kit": l96kit.__version__,
        },
        "commit": _commit(),
        "command": " ".join(["python", *_arguments()]),
    }


def markdown(headings, rows):
    """A table, its columns as wide as their longest cell."""
    rows = [[str(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def interval(values):
    """The mean with its 95 % interval, if there are several values."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return f"{values[0]:.3g}"
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3g} +- {half:.2g}"


def keep(name, found, text, path=None, stored=False):
    """Write what was found to the file that was asked for, and with its report `text` to results/ if wanted."""
    everything = json.dumps(found, indent=1) + "\n"
    if path:
        path.write_text(everything)
    if stored:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(everything)
        (RESULTS / f"{name}.md").write_text(text + "\n")


def store(name, data, title, text):
    """Keep a result in results/ as `name`.json, with its provenance, and `name`.md, a table under a heading."""
    RESULTS.mkdir(exist_ok=True)
    record = provenance()
    versions = ", ".join(f"{package} {version}" for package, version in record["versions"].items())
    machine = f"{record['machine']['cpu']}, {record['machine']['cores']} cores"
    about = f"{record['date']}, {machine}, {versions}, commit {record['commit']}."
    heading = f"# {title}\n\n`{record['command']}`\n\n{about}"
    (RESULTS / f"{name}.md").write_text(f"{heading}\n\n{text}\n")
    (RESULTS / f"{name}.json").write_text(json.dumps({"provenance": record, **data}, indent=1) + "\n")


def _cpu():
    """The model name as Linux gives it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit():
    """The commit of the checkout that this file lies in, marked where files differ from it; None outside of one."""
    if not (HERE.parent / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _arguments():
    """The command line after `python`, with the module's name in place of its path."""
    module = getattr(sys.modules.get("__main__"), "__spec__", None)
    first = ["-m", module.name] if module else [Path(sys.argv[0]).name]
    return [*first, *sys.argv[1:]]
