"""python -m aoti inspect FILE…: what packages hold, as tables; python -m aoti compile FILE: compiles its sources."""

import argparse
import os
import sys
from pathlib import Path

import aoti
from aoti._sources import compile_package


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m aoti", description=aoti.__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    inspect = commands.add_parser("inspect", help="print what packages hold, take and return")
    inspect.add_argument("files", nargs="+", metavar="FILE")
    inspect.set_defaults(command=_inspect)
    compile_ = commands.add_parser("compile", help="compile a package of sources (aot_inductor.package_cpp_only)")
    compile_.add_argument("file", metavar="FILE", type=Path, help="the package, or a directory with an unpacked one")
    compile_.add_argument("-o", "--output", type=Path, help="where to write it; by default FILE gets the images")
    compile_.set_defaults(command=_compile)
    arguments = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # of whatever encoding
    sys.stderr.reconfigure(errors="backslashreplace")
    return arguments.command(arguments)


def _inspect(arguments: argparse.Namespace) -> int:
    failed = False
    for file in arguments.files:
        try:
            print(f"{os.fsencode(file).decode(errors='replace')}\n{aoti.inspect(file)}", flush=True)
        except aoti.Error as error:
            print(error, file=sys.stderr)
            failed = True
        except BrokenPipeError:  # nobody reads the rest, as with `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    return int(failed)


def _compile(arguments: argparse.Namespace) -> int:
    try:
        aoti.inspect(arguments.file)  # raises if it is not a package
        compile_package(arguments.file, arguments.output)
    except (aoti.Error, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
