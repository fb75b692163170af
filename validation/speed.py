"""How fast the kernels are against JAX and plain NumPy, and how their cost grows: `python -m l96kit.validation.speed`.

Everything is measured in one run on one machine. Each figure is a ratio taken round by round, with both sides timed
one right after the other, so that what slows the machine down slows both; given are the median and the quartiles over
the rounds. Compilation is outside of the rounds and stands below the table. What a peer computes is compared with what
we do. JAX comes twice: written as its users do, which is what the bars are meant for, and tuned by hand for XLA. The
exit status says only whether the measurement ran: whether a bar was met is in the table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

import l96kit
from l96kit import Lorenz96, Propagator
from l96kit.validation import _speed_emulators, _speed_filters, _speed_spectral
from l96kit.validation._contestants import DT, JAX_ENVIRONMENT, PEERS, F, Jax, K, NumPy, Ours, seconds_of
from l96kit.validation._emulator_contestants import PEERS as EMULATOR_PEERS
from l96kit.validation._record import RESULTS, provenance
from l96kit.validation._timing import in_turn, row, summary

AGREEMENT = 1e-10  # relative difference to a peer, after a run so short that chaos has not grown it


class Task(NamedTuple):
    """What is timed on both sides: `kind` of operator, sizes, and how many times faster we mean to be than JAX."""

    label: str
    kind: str
    members: int
    steps: int
    bar: float


TASKS = (
    Task("ensemble forward", "forward", 64, 2000, 12),
    Task("gradient of a scalar at the end", "gradient", 64, 200, 30),
    Task("tangent", "tangent", 64, 200, 10),
    Task("single trajectory", "forward", 1, 5000, 5),
)
SCALING_WORK = 16384 * K * 64  # site-steps of each size
THREADS_BAR, MEMBERS_BAR, SITES_BAR, START_BAR = 1.7, 1.5, 2.0, 1.5  # the last in seconds, the others ratios


def ensemble(members, sites=K):
    """States near the attractor (member, site), or one state alone (site,)."""
    x = F + np.random.default_rng(3).standard_normal((members, sites))
    x = Propagator(Lorenz96(sites, F), DT).forecast(x, 200)
    return x if members > 1 else x[0]


# --- the measurements -----------------------------------------------------------------------------------------------


def against_peers(peers, rounds):
    """One core: for each task our time, each peer's, and their ratio."""
    ours, rows = Ours(), []
    for task in TASKS:
        x, steps = ensemble(task.members), task.steps
        prepared = [(peer.name, peer.prepare(task.kind, x, steps)) for peer in peers if task.kind in peer.kinds]
        for peer in peers:
            if task.kind in peer.kinds:
                check_agreement(ours, peer, task.kind, x)
        seconds = in_turn([ours.prepare(task.kind, x, steps), *(call for _, call in prepared)], rounds, task.label)
        for (name, _), theirs in zip(prepared, seconds[1:]):
            rows.append(
                row(
                    f"{task.label}, {task.members} x {steps} steps, against {name}",
                    theirs / seconds[0],
                    task.bar if name == Jax.name else None,
                    seconds=summary(seconds[0]),
                    peer_seconds=summary(theirs),
                    member_steps=task.members * steps,
                )
            )
    return rows


def check_agreement(ours, peer, kind, x, steps=10):
    mine, theirs = ours.prepare(kind, x, steps)(), np.asarray(peer.again(kind, x, steps)())
    error = np.abs(mine - theirs).max() / np.abs(mine).max()
    if not error <= AGREEMENT:
        raise ArithmeticError(
            f"{peer.name}, {kind}: expected the same numbers as ours to {AGREEMENT:g}, found a difference of "
            f"{error:.2g}; one of the two does not compute what the other does"
        )


def scaling(rounds):
    """One core: the cost per member and step, and per site and step, relative to the smallest."""
    rows = []
    for what, bar, sizes in (
        ("member-step", MEMBERS_BAR, [(64, K), (1024, K), (16384, K)]),
        ("site-step", SITES_BAR, [(64, K), (64, 10 * K), (64, 100 * K)]),
    ):
        calls = [forecast_of(members, sites, SCALING_WORK // (members * sites)) for members, sites in sizes]
        seconds = in_turn(calls, rounds, f"cost per {what}")
        for (members, sites), theirs in zip(sizes[1:], seconds[1:]):
            label = f"cost per {what}, {members} members of K={sites} against 64 of K={K}"
            sizes_seconds = {"seconds": summary(seconds[0]), "seconds_larger": summary(theirs)}
            rows.append(row(label, theirs / seconds[0], bar, False, **sizes_seconds))
    return rows


def forecast_of(members, sites, steps, threads=1):
    propagator, x = Propagator(Lorenz96(sites, F), DT, threads=threads), ensemble(members, sites)
    return lambda: propagator.forecast(x, steps)


def two_threads(rounds):
    one, two = in_turn([forecast_of(4096, K, 400, threads) for threads in (1, 2)], rounds, "two threads")
    return [row("two threads against one, 4096 x 400 steps", one / two, THREADS_BAR, seconds=summary(two))]


# --- a fresh process ------------------------------------------------------------------------------------------------

FIRST_GRADIENT = {
    "l96kit": """
import numpy as np
from l96kit import Lorenz96, Propagator

def cost(y, t):
    y_ad = np.zeros_like(y)
    y_ad[-1] = y[-1]
    return 0.5 * (y[-1] ** 2).sum(), y_ad

x = 8 + np.sin(np.arange(64.0 * 40)).reshape(64, 40)
Propagator(Lorenz96(40, 8.0), 0.05).gradient(x, cost, 200, every=200)
""",
    "JAX": """
import jax, numpy as np
from jax import numpy as jnp

def tendency(x):
    return (jnp.roll(x, -1, -1) - jnp.roll(x, 2, -1)) * jnp.roll(x, 1, -1) - x + 8.0

def step(x, _):
    k1 = tendency(x)
    k2 = tendency(x + 0.025 * k1)
    k3 = tendency(x + 0.025 * k2)
    k4 = tendency(x + 0.05 * k3)
    return x + 0.05 / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

x = 8 + np.sin(np.arange(64.0 * 40)).reshape(64, 40)
gradient = jax.jit(jax.grad(lambda x: 0.5 * jnp.sum(jax.lax.scan(step, x, None, 200)[0] ** 2)))
gradient(x).block_until_ready()
""",
}


def fresh_processes(names, rounds):
    """Seconds of a process that imports and takes one gradient: with nothing compiled, then with its code on disk."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {
            "l96kit": {"L96KIT_CACHE_DIR": folder},
            "JAX": {
                **JAX_ENVIRONMENT,
                "JAX_COMPILATION_CACHE_DIR": folder,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            },
        }
        compiling = {name: seconds_of(process(name, kept[name])) for name in names}
        seconds = in_turn([process(name, kept[name]) for name in names], rounds, "fresh processes")
        uncached = in_turn([process("JAX", JAX_ENVIRONMENT)], rounds, "JAX afresh")[0] if "JAX" in names else None
    ours, label = seconds[0], "import and first gradient in a fresh process"
    rows = [row(f"{label}, code on disk, in seconds", ours, START_BAR, False, seconds_with_nothing_compiled=compiling)]
    if uncached is not None:
        for how, theirs, bar in (("with its cache", seconds[1], 1), ("without a cache", uncached, None)):
            rows.append(row(f"{label}, JAX {how} over ours", theirs / ours, bar, peer_seconds=summary(theirs)))
    return rows


def process(name, environment):
    paths = [str(Path(l96kit.__file__).resolve().parent.parent), os.environ.get("PYTHONPATH")]
    everything = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment}

    def run():
        subprocess.run([sys.executable, "-c", FIRST_GRADIENT[name]], env=everything, check=True)

    return run


# --- the report -----------------------------------------------------------------------------------------------------


def available(names):
    """The peers that were asked for and are installed; the others are named."""
    found = []
    for name in names:
        if find_spec(name) is None:
            print(f"{name}: not installed, its rows are left out; pip install 'l96kit[peers]'")
        else:
            found.append(name)
    return found


def measure(peer_names, quick, subject):
    """All figures as a dict for JSON."""
    rounds = 5 if quick else 25
    names = available(peer_names)
    cores = cores_of_this_process()
    pin(cores[:1])  # before JAX is imported, whose threads then share the one core
    record = provenance()
    record["versions"].update({name: version(name) for name in names})
    if subject == "filters":
        rows = _speed_filters.measure(rounds, "dapper" in names)
        return {"provenance": record, "quick": quick, "about": _speed_filters.ABOUT, "figures": rows}
    if subject == "emulators":
        rows = _speed_emulators.measure([EMULATOR_PEERS[name]() for name in names], rounds)
        return {"provenance": record, "quick": quick, "about": f"K={K}, RK4, float32, one core", "figures": rows}
    names = [name for name in names if name in PEERS]
    peers = [NumPy(), *(peer() for name in names for peer in PEERS[name])]
    rows = against_peers(peers, rounds) + scaling(rounds) + _speed_spectral.measure("jax" in names, rounds)
    pin(cores)
    if len(cores) > 1:
        rows += two_threads(rounds)
    else:
        print("two threads: only one core is available, left out")
    rows += fresh_processes(["l96kit", *(PEERS[name][0].name for name in names)], 3 if quick else 9)
    variants = {task: tried for peer in peers if isinstance(peer, Jax) for task, tried in peer.record.items()}
    about = f"K={K}, RK4, dt={DT}, float64"
    return {"provenance": record, "quick": quick, "about": about, "jax": variants, "figures": rows}


def cores_of_this_process():
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count()))


def pin(cores):
    """Keep this process, and those that it starts, on the given cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def table(report):
    machine = report["provenance"]["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in report["provenance"]["versions"].items())
    lines = [f"{machine['cpu']}, {machine['cores']} cores; {versions}", report["about"], ""]
    width = max(len(figure["label"]) for figure in report["figures"])
    lines.append(f"{'':{width}}  {'median':>8}  {'quartiles':>15}  {'bar':>7}")
    for figure in report["figures"]:
        low, high = figure["ratio"]["quartiles"]
        aim = "" if figure["bar"] is None else f"{'>=' if figure['at_least'] else '<='} {figure['bar']:g}"
        verdict = {None: "", True: "met", False: "NOT met"}[figure["met"]]
        median, spread = figure["ratio"]["median"], f"{low:.3g} - {high:.3g}"
        lines.append(f"{figure['label']:{width}}  {median:8.3g}  {spread:>15}  {aim:>7}  {verdict}".rstrip())
    lines.append("")
    for figure in report["figures"]:
        if "peer_seconds" in figure and "member_steps" not in figure and "seconds" in figure:
            mine, theirs = (figure[key]["median"] for key in ("seconds", "peer_seconds"))
            lines.append(f"{figure['label']}: {1e3 * mine:.3g} ms each, peer {1e3 * theirs:.3g}")
        if "member_steps" in figure:
            mine, theirs = (figure["member_steps"] / figure[key]["median"] / 1e6 for key in ("seconds", "peer_seconds"))
            lines.append(f"{figure['label']}: {mine:.3g} million member-steps/s, peer {theirs:.3g}")
        for name, seconds in figure.get("seconds_with_nothing_compiled", {}).items():
            lines.append(f"import and first gradient with nothing compiled, {name}: {seconds:.2g} s")
    for task, (best, *_) in report.get("jax", {}).items():
        layout = "(site, member)" if best["sites_first"] else "(member, site)"
        how = f"{best['neighbours']}, {layout}, unroll {best['unroll']}{', remat' if best['remat'] else ''}"
        lines.append(f"{task}: {how}, compiled in {best['seconds_to_compile']:.2g} s")
    return "\n".join(lines)


def parser():
    top = argparse.ArgumentParser(
        prog="python -m l96kit.validation.speed",
        description=__doc__.split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "--peers",
        nargs="*",
        default=[],
        choices=[*EMULATOR_PEERS, "dapper"],
        help="what to compare with, besides NumPy",
    )
    subject = top.add_mutually_exclusive_group()
    subject.add_argument("--emulators", action="store_true", help="time networks, against PyTorch and JAX")
    subject.add_argument("--filters", action="store_true", help="time filters, against DAPPER")
    top.add_argument("--quick", action="store_true", help="few rounds: a look, not a measurement")
    top.add_argument("--json", metavar="PATH", help="write everything that was measured to this file")
    top.add_argument(
        "--store",
        action="store_true",
        help=f"write it to {RESULTS.name}/speed.json, speed_emulators.json or speed_filters.json",
    )
    return top


def main(arguments=None) -> int:
    options = parser().parse_args(arguments)
    subject = "emulators" if options.emulators else "filters" if options.filters else ""
    report = measure(options.peers, options.quick, subject)
    print(table(report))
    name = f"speed_{subject}.json" if subject else "speed.json"
    for path in filter(None, (options.json, options.store and RESULTS / name)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(report, indent=1) + "\n")
        print(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
