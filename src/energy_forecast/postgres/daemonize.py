"""Start a server as a daemon, then exit. The client runs this module as a separate program.

Because of this process between them, the server is not a child of the client. Otherwise a client that keeps running
would keep a dead server as a zombie, whose pid looks alive to the next client. The module uses the standard library
only, and nothing of this package, so it starts in about 20 ms.

Arguments: the path of the record, the version of the server, the uid and gid to run as (or -), the program, and
its arguments.
"""

import os
import sys


def main(record: str, version: str, uid: str, gid: str, program: str, *arguments: str) -> None:
    """Fork, and run the server in the child."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    try:
        os.umask(0o077)
        # Written before root gives up its rights: the user of the server must not choose the recorded pid.
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
