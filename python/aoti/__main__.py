"""python -m aoti inspect FILE…: what packages hold, as tables."""

import argparse
import os
import sys

import aoti


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m aoti", description=aoti.__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    inspect = commands.add_parser("inspect", help="print what packages hold, take and return")
    inspect.add_argument("files", nargs="+", metavar="FILE")
    failed = False
    sys.stdout.reconfigure(errors="backslashreplace")  # of whatever encoding
    for file in parser.parse_args().files:
        try:
            print(f"{os.fsencode(file).decode(errors='replace')}\n{aoti.inspect(file)}", flush=True)
        except aoti.Error as error:
            print(error, file=sys.stderr)
            failed = True
        except BrokenPipeError:  # nobody reads on, as with `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
