"""Run by the client as a program of its own: sets a server going as a daemon, then ends.

A process between the client and the server, so that the server is nobody's child: a client that lives on
would otherwise keep a dead server as a zombie, whose pid still looks alive to the next one. Standard library
only, and nothing of this package: it starts in about 20 ms.

Arguments: where to write the record, the server's version, the uid and gid to run as (or -), the program, and
its arguments.
"""

import os
import sys


def main(record: str, version: str, uid: str, gid: str, program: str, *arguments: str) -> None:
    """Fork, and become the server in the child."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    try:
        os.umask(0o077)
        # Written before root's rights are given up: the server's account must not be able to name us a pid.
        with open(record, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib would double the start-up time
            file.write(f"{os.getpid()} {version}\n")
        if uid != "-":
            os.setgroups([])
            os.setgid(int(gid))
            os.setuid(int(uid))
        os.execve(program, [program, *arguments], dict(os.environ))
    except OSError as error:
        print(f"FATAL:  {program} cannot be run: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
