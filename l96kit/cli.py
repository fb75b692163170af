"""The command `l96kit`."""

import argparse
import sys

from l96kit import __version__


def parser():
    top = argparse.ArgumentParser(
        prog="l96kit",
        description="Lorenz-96-class models with hand-written tangents and adjoints, and what they are for.",
    )
    top.add_argument("--version", action="version", version=f"l96kit {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="simulate Lorenz-96, check its derivatives, train an emulator, and assimilate",
        description=(
            "Simulates Lorenz-96 (K=40, F=8), checks tangent and adjoint, measures how errors grow, and runs twin "
            "experiments of strong-constraint 4D-Var (10 of 40 sites observed at each step of 0.0125, error 1). Trains "
            "an emulator on 1,200 steps, compares its Jacobian with the simulator's, and assimilates with both. Runs "
            "two ensemble filters. Prints tables and writes demo.h5, emulator.h5 and figures. The first run compiles "
            "for a minute or two."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument("--seed", type=int, default=0, help="of all random numbers")
    demo.add_argument("--out", default="l96kit-demo", help="folder for the results, made if need be")
    demo.add_argument(
        "--windows", type=int, nargs="+", default=[8, 24, 40, 56, 72], help="lengths of 4D-Var windows, in steps"
    )
    demo.add_argument("--truths", type=int, default=5, help="independent twin experiments for each window")
    demo.add_argument(
        "--cycles", type=int, default=8, help="successive windows in each; the first three are not scored"
    )
    demo.add_argument(
        "--emulator",
        choices=("small", "deep"),
        default="small",
        help="small: sqNet, 20 weights, seconds; deep: deepNet, 43,201 weights, minutes",
    )
    return top


def main(arguments=None) -> int:
    options = parser().parse_args(arguments)
    try:
        from l96kit import demo

        demo.run(options.out, options.seed, options.windows, options.truths, options.cycles, options.emulator)
    except KeyboardInterrupt:
        print("\ninterrupted; files that were complete are in place, nothing is half written", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ArithmeticError, MemoryError) as problem:
        print(f"l96kit {options.command}: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
