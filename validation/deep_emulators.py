"""The emulators of Nonnenmacher & Greenberg (2021)."""

import argparse
import sys

import numpy as np

from l96kit.validation._trained import trained


def main(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", nargs=2, metavar=("NETWORK", "STEPS"))
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args(arguments)
    name, steps = options.train
    weights, about = trained(name, int(steps), dtype=np.dtype(options.dtype), store=True)
    print(name, steps, about)


if __name__ == "__main__":
    sys.exit(main())
