"""The package's structure: layers, lengths, names, and what loading the code location imports."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

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
    "nupunkt",
    "snowballstemmer",
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


def _structure() -> ModuleType:
    """The script behind ``make structure``."""
    spec = importlib.util.spec_from_file_location("structure", PACKAGE.parent / ".ci" / "structure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["structure"] = module
    spec.loader.exec_module(module)
    return module


STRUCTURE = _structure()
MODULES = STRUCTURE.read_package(PACKAGE.parent)


def test_no_file_is_longer_than_its_bound() -> None:
    too_long = {name for name, module in MODULES.items() if module.lines > STRUCTURE.MAX_FILE_LINES}
    assert too_long == set()


def test_no_function_is_longer_than_its_bound() -> None:
    assert {name for _, name in STRUCTURE.long_functions(MODULES)} == set()


def test_no_class_name_stands_twice() -> None:
    assert STRUCTURE.repeated_classes(MODULES) == {}


def test_a_first_line_is_a_sentence_with_a_verb_and_a_full_stop() -> None:
    assert STRUCTURE.is_sentence("Return the posts of a thread.")
    assert STRUCTURE.is_sentence("The writer keeps the order.")
    assert not STRUCTURE.is_sentence("The comments of a thread.")
    assert not STRUCTURE.is_sentence("Return the posts of a thread")


def test_the_private_modules_of_dagster_are_those_that_the_architecture_lists() -> None:
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dagster"):
                names = [f"{node.module}.{alias.name}" for alias in node.names if node.module.endswith("event_log")]
                found |= {name for name in names or [node.module] if "._" in name}
    text = (PACKAGE.parent / "docs" / "ARCHITECTURE.md").read_text().partition("## Private modules of Dagster")[2]
    listed = re.findall(r"^\| `(dagster\.[\w.]+)`", text.partition("\n## ")[0], re.MULTILINE)
    assert sorted(found) == listed


def test_every_benchmark_can_be_loaded() -> None:
    names = sorted(f"benchmarks.{path.stem}" for path in (PACKAGE.parent / "benchmarks").glob("[a-z]*.py"))
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    subprocess.run([sys.executable, "-c", code, *names], cwd=PACKAGE.parent, check=True)
