"""What a deployment to Vercel has beside the pages: the function that counts, and how it is reached."""

import importlib.metadata
import importlib.resources
from typing import Any

from threadjuice_dagster.site.engagement import PATHS

_CARRIED = ("domain/engagement.py", "database/engagement.py", "site/engagement.py")

VERCEL_SETTINGS: dict[str, Any] = {
    "rewrites": [{"source": path, "destination": "/api/events"} for path in PATHS],
    "functions": {
        "api/events.py": {"maxDuration": 10, "excludeFiles": "**/*.{html,css,js,json,xml,svg,woff,avif,webp,jpeg,png}"},
    },
}
"""What ``vercel.json`` says of the function. By default a Python function carries every file of the deployment."""


def function_files() -> dict[str, bytes]:
    """The function's files by their path in a deployment.

    Vercel makes a function of each file in ``api/``, save those in a folder whose name begins with an underscore.
    """
    package = importlib.resources.files("threadjuice_dagster")
    carried = {f"api/_vendor/threadjuice_dagster/{path}": (package / path).read_bytes() for path in _CARRIED}
    psycopg = importlib.metadata.version("psycopg")
    return {
        "api/events.py": (package / "site/functions/events.py").read_bytes(),
        "api/requirements.txt": f"psycopg[binary]=={psycopg}\n".encode(),
        **carried,
    }
