"""The house: layers import downwards only, and loading the code location imports nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "threadjuice_dagster"
HEAVY = (
    "openai",
    "genai_prices",
    "sqlalchemy",
    "pandas",
    "praw",
    "boto3",
    "botocore",
    "alembic.command",
    "PIL",
    "numpy",
    "httpx2",
    "rensa",
    "matplotlib",
)
FORBIDDEN_IN_DOMAIN = ("dagster", "os", "sqlalchemy", "requests", "httpx2", "random", "time", "socket", "subprocess")


def imports(path: Path) -> set[str]:
    """Modules a file imports, at any depth, save those for type checking alone."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("domain/**/*.py")), ids=lambda path: path.name)
def test_the_domain_knows_nothing_above_it(path: Path) -> None:
    for module in imports(path):
        assert module.split(".")[0] not in FORBIDDEN_IN_DOMAIN, module
        if module.startswith("threadjuice_dagster."):
            assert module.split(".")[1] in ("domain", "failures"), module


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    load = "import sys, threadjuice_dagster.definitions as d; d.newsroom()"
    code = f"{load}; print([module for module in {HEAVY!r} if module in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_only_the_settings_read_the_environment() -> None:
    # The last three for boto3, for pg_dump, and as a function that Vercel runs.
    allowed = {"settings.py", "instance.py", "dev.py", "storage.py", "tools.py", "function.py"}
    for path in PACKAGE.rglob("*.py"):
        if path.name not in allowed:
            assert "os.environ" not in path.read_text(), path.name
            assert "getenv" not in path.read_text(), path.name


def test_every_module_says_what_belongs_in_it() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
