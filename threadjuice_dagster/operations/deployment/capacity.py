"""What the newest build weighs, asked of its notes. What that means is said by ``capacity_rules.py``."""

from datetime import datetime, timedelta
from pathlib import Path

from threadjuice_dagster.operations.deployment.capacity_rules import WINDOW_DAYS, capacity_finding
from threadjuice_dagster.operations.deployment.targets import Deployer
from threadjuice_dagster.operations.deployment.vercel import VercelTarget
from threadjuice_dagster.operations.findings import Finding
from threadjuice_dagster.resources.storage import FolderStorage, Storage


def capacity_of(site: Path, deployer: Deployer, cdn: Storage, daily: int, moment: datetime) -> Finding:
    """When the site built in a folder will not fit into a deployment any more."""
    from threadjuice_dagster.site.memory import noted_size

    def told(state: str, message: str) -> Finding:
        return Finding.model_validate({"name": "vercel_capacity", "state": state, "message": message})

    if not isinstance(deployer, VercelTarget):
        return told("stand-in", "A folder takes any number of files.")
    size = noted_size(site, moment - timedelta(days=WINDOW_DAYS))
    if size is None:
        return told("ok", "Nothing is built yet.")
    has_cdn = not isinstance(cdn, FolderStorage) or bool(cdn.public_url)
    return capacity_finding(size, daily, has_cdn=has_cdn)
