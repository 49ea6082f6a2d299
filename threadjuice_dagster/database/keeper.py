"""Stops the embedded server when its last user has ended, however it ended.

A program of its own, ``keeper.py FILE_DESCRIPTOR ACCOUNT COMMAND...``, with nothing but the standard library: it waits
until nobody shares the lock of the file any more, and holds it while the command, run as the account, stops the server.
"""

import fcntl
import subprocess
import sys


def main() -> None:
    """Wait for the last user to end, then stop the server."""
    users, account, *command = sys.argv[1:]
    fcntl.flock(int(users), fcntl.LOCK_EX)
    subprocess.run(command, user=account or None, check=False)  # noqa: S603 -- given by whoever started the keeper


if __name__ == "__main__":
    main()
