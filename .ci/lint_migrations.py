"""Holds every migration since the first against the rules of ``.squawk.toml``: the SQL that Alembic emits offline.

Takes another folder of migrations as its argument.
"""

import importlib.resources
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

ROOT = Path(__file__).parents[1]


def main(folder: Path) -> int:
    """The linter's exit code."""
    with tempfile.TemporaryDirectory() as target:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        for script in ScriptDirectory.from_config(config).walk_revisions():
            if script.down_revision:
                config.output_buffer = io.StringIO()
                command.upgrade(config, f"{script.down_revision}:{script.revision}", sql=True)
                (Path(target) / f"{script.revision}.sql").write_text(config.output_buffer.getvalue())
        files = sorted(Path(target).iterdir())
        linter = Path(sys.executable).with_name("squawk")
        return subprocess.run([linter, "--config", ROOT / ".squawk.toml", *files], check=False).returncode


if __name__ == "__main__":
    ours = importlib.resources.files("threadjuice_dagster.database") / "migrations"
    sys.exit(main(Path(sys.argv[1] if sys.argv[1:] else str(ours))))
