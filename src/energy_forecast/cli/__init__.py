"""The command line: parses, calls, prints. What it does stands in the folders below it."""

import os
import sys

from energy_forecast.cli import output_streams


def main() -> None:
    """Run the command line. Exit status: 0 done; 1 failed; 2 wrong usage; 3 done in part; 130 interrupted.

    141: nobody reads standard output any more.
    """
    # Nothing that a command makes can be changed by everybody
    os.umask(os.umask(0o077) | 0o002)
    output = output_streams.open_streams()
    status: int = 0
    try:
        # In here: Ctrl-C may come while the modules are read
        from energy_forecast.cli.app import run

        run()
    except KeyboardInterrupt:
        print("Interrupted; nothing of the unfinished step was kept.", file=sys.stderr)
        status = 130
    except SystemExit as stopped:
        status = stopped.code if isinstance(stopped.code, int) else 0 if stopped.code is None else 1
    raise SystemExit(output_streams.finish(output, status))
