"""The command line: parses, calls, prints. What it does stands in the folders below it."""

import sys


def main() -> None:
    """Run the command line. Exit status: 0 done; 1 failed; 2 wrong usage; 3 done in part; 130 interrupted."""
    try:
        # In here: Ctrl-C may come while the modules are read
        from energy_forecast.cli.app import run

        run()
    except KeyboardInterrupt:
        print("Interrupted; nothing of the unfinished step was kept.", file=sys.stderr)
        raise SystemExit(130) from None
