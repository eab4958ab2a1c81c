"""Standard output and standard error that never interrupt the work of a command.

A stream may be closed, its reader may be gone, its disk may be full. The command then continues without it, completes
its work, and reports the fault by the exit status. Standard library only: this runs before everything else.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any, TextIO

# The shell's status of a program ended by SIGPIPE
BROKEN_PIPE = 141
_STANDARD = (0, 1, 2)


class Output(io.RawIOBase):
    """A descriptor to write to. After its first error it accepts and discards everything; `error` keeps the number."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.error: int | None = None

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        """Write everything, and return its length."""
        rest = memoryview(data).cast("B")
        length = len(rest)
        while rest and self.error is None:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = error.errno or errno.EIO
        return length


def open_streams() -> Output:
    """Replace standard output and standard error, and return the first. A closed one discards all output."""
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is used, so it is this one. A file or socket must not get it
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    output = Output(1)
    sys.stdout = _text(output, sys.stdout, line_buffering=output.isatty())
    sys.stderr = _text(Output(2), sys.stderr, line_buffering=True)
    return output


def _text(raw: Any, before: TextIO | None, *, line_buffering: bool) -> io.TextIOWrapper:
    """Return a text stream like Python's own, except that it escapes characters that the encoding lacks."""
    unbuffered = bool(getattr(before, "write_through", False)) and not line_buffering
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=line_buffering,
        write_through=unbuffered,
    )


def finish(output: Output, status: int) -> int:
    """Flush the output, and return the exit status: an error of standard output counts if nothing else has failed."""
    sys.stdout.flush()
    if output.error is None:
        return status
    if output.error != errno.EPIPE:
        done = "The command succeeded, but" if status == 0 else "The command failed too, and"
        print(
            f"Error: Standard output cannot be written: {os.strerror(output.error)}. {done} its output is incomplete. "
            "Redirect it elsewhere, or free some space.",
            file=sys.stderr,
        )
    return status or (BROKEN_PIPE if output.error == errno.EPIPE else 1)
