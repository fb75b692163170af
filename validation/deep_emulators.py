"""The emulators of Nonnenmacher & Greenberg (2021, J. Adv. Model. Earth Syst.), trained and measured anew.

    python -m l96kit.validation.deep_emulators [--figure 1 2 3 s3 a3] [--networks deepNet:1200 ...] [--store] [--quick]

Figures are those of the paper: 1 one rollout, its Jacobians and sensitivity; 2 (and A2) errors against the size of the
training set; 3 4D-Var with the emulator and with the simulator on the same data; s3 a long free run; a3 training on
regions of a large ring. Networks that were trained before are read from validation/results/networks/; others are
trained first, which takes hours for deepNet (an interrupted training goes on). The paper gives curves without numbers.
"""

import argparse
import sys

import numpy as np

from l96kit import store
from l96kit.validation import _record
from l96kit.validation._emulator_errors import figure_1, figure_2, figure_s3
from l96kit.validation._emulator_uses import figure_3, figure_a3
from l96kit.validation._trained import BUILDERS, SIZES

WINDOWS = (8, 16, 24, 32, 40, 48, 56, 64, 72)
FIGURES = {"1": figure_1, "2": figure_2, "3": figure_3, "s3": figure_s3, "a3": figure_a3}


def network(text):
    """From deepNet:1200 or sqNet:1200:float64."""
    name, steps, dtype = (*text.split(":"), "float32")[:3]
    if name not in BUILDERS or int(steps) not in SIZES or dtype not in ("float32", "float64"):
        raise ValueError(text)
    return name, int(steps), np.dtype(dtype).type


def whole_number(text):
    if int(text) < 2:
        raise ValueError(text)
    return int(text)


DEFAULT = (
    "deepNet:1200",
    "deepNet:12000",
    "sqNet:1200",
    "sqNet:12000",
    "sqNet:1200:float64",
    "bilinNet:1200",
    "bilinNet:1200:float64",
)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m l96kit.validation.deep_emulators",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--figure", nargs="+", choices=[*FIGURES, "a2"], default=list(FIGURES), help="a2 is part of 2")
    parser.add_argument(
        "--networks",
        nargs="+",
        type=network,
        default=[*map(network, DEFAULT)],
        help="for figure 2, such as deepNet:1200 or sqNet:12000:float64",
    )
    parser.add_argument("--seeds", type=whole_number, default=3, help="networks that are trained")
    parser.add_argument("--windows", nargs="+", type=whole_number, default=list(WINDOWS), help="for figure 3, in steps")
    parser.add_argument(
        "--length", type=float, default=4.0, help="time units of each truth that are scored in figure 3"
    )
    parser.add_argument("--states", type=whole_number, default=1000, help="for figure 2")
    parser.add_argument("--quick", action="store_true", help="small: a look, not a measurement")
    parser.add_argument(
        "--store", action="store_true", help="keep networks, tables, numbers and figures in validation/results/"
    )
    options = parser.parse_args(arguments)
    if options.quick and options.store:
        parser.error("--quick is a look and --store keeps measurements; take one of them")
    if options.quick:
        options.networks = [chosen for chosen in options.networks if chosen[1] == 1200]
        options.states, options.windows = min(options.states, 20), options.windows[:2]
    for name in dict.fromkeys("2" if name == "a2" else name for name in options.figure):
        make = FIGURES[name]
        text, variables, figure = make(options)
        title = f"Deep emulators, figure {name}: {make.__doc__.splitlines()[0]}"
        print(f"\n{title}\n\n{text}")
        if options.store:
            _record.store(f"deep_emulators_{name}", {}, title, text)
            store.save(_record.RESULTS / f"deep_emulators_{name}.h5", variables)
            store.save_figure(figure, _record.RESULTS / f"deep_emulators_{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
