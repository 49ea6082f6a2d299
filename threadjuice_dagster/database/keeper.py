"""Stops the embedded server when its last user has ended, however it ended.

This is a program of its own that imports the standard library alone: ``keeper.py FILE_DESCRIPTOR ACCOUNT COMMAND...``.
It waits until no process shares the lock of the file any more, and holds that lock while the command, run as the
account, stops the server.
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
