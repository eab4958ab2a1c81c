"""The command line: it parses arguments, calls the lower layers and prints the results."""

import gc
import os
import sys

from energy_forecast.cli import output_streams


def main() -> None:
    """Run the command line. Exit status: 0 done; 1 failed; 2 wrong usage; 3 done in part; 130 interrupted.

    141: the reader of standard output has gone.
    """
    # Files of a command must not be writable by everybody
    os.umask(os.umask(0o077) | 0o002)
    # The objects of imports stay: collecting after every 700 of them took a tenth of the time of a short command
    gc.set_threshold(100_000)
    output = output_streams.open_streams()
    status: int = 0
    try:
        # Imported here, so that Ctrl-C during the import is handled too
        from energy_forecast.cli.app import run

        run()
    except KeyboardInterrupt:
        print("Interrupted; the unfinished step was undone.", file=sys.stderr)
        status = 130
    except SystemExit as stopped:
        status = stopped.code if isinstance(stopped.code, int) else 0 if stopped.code is None else 1
    raise SystemExit(output_streams.finish(output, status))
