"""Print how the package is built: its size, its rooms, its imports, its names and its words (``make structure``).

Takes another checkout's folder as its argument. It reads source text only and needs no network.
"""

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "threadjuice_dagster"
STORY_STEPS = ("story_assignments", "story_draft", "quality_score", "cleared_story", "story_image", "published_story")
"""The assets that one story passes through. A step that a checkout does not have is left out."""

MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 40
VAGUE_NAMES = ("one", "found", "told", "known", "look", "tell")
PRAGMA = re.compile(r"#\s*(noqa|type:|fmt:|pragma|mypy:)")
AUXILIARIES = {*"is are was were be has have had does do can cannot may must will should would need needs".split()}  # noqa: SIM905
VERBS = (Path(__file__).with_name("verbs.txt")).read_text().split()
FINITE = AUXILIARIES | {form for verb in VERBS for form in (verb, f"{verb}s", f"{verb}es", f"{verb[:-1]}ies")}


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name inside the package, its text and its syntax tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """Return the number of lines of the file."""
        return len(self.text.splitlines())

    @property
    def room(self) -> str:
        """Return the folder that the file lies in; files at the top lie in ``(top)``."""
        folders = self.name.split(".")[:-1]
        return "/".join(folders) or "(top)"


def read_package(root: Path) -> dict[str, Module]:
    """Return the modules of the checkout by name, without the migrations' versions."""
    modules = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / PACKAGE).with_suffix("").parts
        if "versions" not in parts:
            text = path.read_text()
            modules[".".join(parts)] = Module(".".join(parts), text, ast.parse(text))
    return modules


def imported_modules(module: Module, modules: dict[str, Module]) -> set[str]:
    """Return the package's modules that a module imports anywhere: lazily and for types as well."""
    imported = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            base = (node.module or "").removeprefix(PACKAGE).lstrip(".")
            names = [f"{base}.{alias.name}".lstrip(".") for alias in node.names]
            imported |= {name if name in modules else base for name in names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name.removeprefix(f"{PACKAGE}.") for alias in node.names}
    return imported & modules.keys()


def story_modules(modules: dict[str, Module]) -> tuple[set[str], set[str], set[str]]:
    """Return the modules of a story's way: those of its steps, with what they import, and with all behind them."""
    imports = {name: imported_modules(module, modules) for name, module in modules.items()}
    steps = {
        name
        for name, module in modules.items()
        for node in module.tree.body
        if name.startswith("assets.") and isinstance(node, ast.FunctionDef) and node.name in STORY_STEPS
    }
    direct = steps.union(*(imports[step] for step in steps))
    reached, waiting = set(direct), list(direct)
    while waiting:
        for name in imports[waiting.pop()] - reached:
            reached.add(name)
            waiting.append(name)
    return steps, direct, reached


def repeated_classes(modules: dict[str, Module]) -> dict[str, list[str]]:
    """Return the class names that are defined more than once, each with its modules."""
    places = defaultdict(list)
    for name, module in modules.items():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    return {name: where for name, where in places.items() if len(where) > 1}


def long_functions(modules: dict[str, Module]) -> list[tuple[int, str]]:
    """Return the functions that are too long, longest first."""
    functions = (
        (node.end_lineno - node.lineno + 1, f"{name}.{node.name}")
        for name, module in modules.items()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    )
    return sorted((item for item in functions if item[0] > MAX_FUNCTION_LINES), reverse=True)


def vague_names(modules: dict[str, Module]) -> Counter[str]:
    """Count the functions, arguments and variables that have a name which says nothing."""
    counts: Counter[str] = Counter()
    for module in modules.values():
        for node in ast.walk(module.tree):
            name = getattr(node, "id", None) or getattr(node, "arg", None) or getattr(node, "name", None)
            if name in VAGUE_NAMES:
                counts[name] += 1
    return counts


def comment_lines(module: Module) -> int:
    """Return how many lines have a comment; a directive to a tool is none."""
    tokens = tokenize.generate_tokens(io.StringIO(module.text).readline)
    return sum(token.type == tokenize.COMMENT and not PRAGMA.match(token.string) for token in tokens)


def unclear_docstrings(modules: dict[str, Module]) -> list[str]:
    """Return the docstrings of more than two lines whose first line is no sentence: no full stop, or no verb."""
    unclear = []
    for name, module in modules.items():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node) or ""
                first = docstring.partition("\n")[0]
                if docstring.count("\n") >= 2 and not is_sentence(first):
                    unclear.append(f"{name}.{getattr(node, 'name', '')}".rstrip(".") + f": {first}")
    return unclear


def is_sentence(line: str) -> bool:
    """Return whether a line ends like a sentence and has a word that can be its verb."""
    words = re.findall(r"[a-z]+", line.lower())
    return line.rstrip("`*").endswith((".", "?", "!", ":")) and any(word in FINITE for word in words)


def import_contracts(root: Path) -> list[str]:
    """Return import-linter's verdict, a line for each contract."""
    if "importlinter" not in (root / "pyproject.toml").read_text():
        return ["no contract is declared"]
    program = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    result = subprocess.run(
        [program, "--no-cache"], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    lines = [line for line in result.stdout.splitlines() if re.search(r"(KEPT|BROKEN)$|^Contracts:|^- ", line)]
    return lines or (result.stdout + result.stderr).splitlines()[-5:]


def main(root: Path) -> None:
    """Print the report on one checkout."""
    modules = read_package(root)
    lines = sum(module.lines for module in modules.values())
    migrations = sum(len(path.read_text().splitlines()) for path in (root / PACKAGE).rglob("versions/*.py"))
    print(f"modules {len(modules)}, lines {lines}; the migrations' versions have {migrations} lines more")
    print(f"\nfiles per room, lines, longest file (bound {MAX_FILE_LINES}):")
    rooms = defaultdict(list)
    for module in modules.values():
        rooms[module.room].append(module)
    for room, members in sorted(rooms.items()):
        longest = max(members, key=lambda module: module.lines)
        total = sum(module.lines for module in members)
        print(f"  {room:28} {len(members):3} files {total:6} lines   {longest.name.split('.')[-1]} {longest.lines}")
    print("\nimport contracts:", *(f"  {line}" for line in import_contracts(root)), sep="\n")
    steps, direct, reached = story_modules(modules)
    print(f"\na story's way: {len(steps)} modules of steps; {len(direct)} with what they import; {len(reached)} in all")
    print("  directly:", " ".join(sorted(direct)))
    repeated = repeated_classes(modules)
    print(f"\nclass names that stand more than once: {len(repeated)}", *_listed(repeated.items()), sep="\n")
    long = long_functions(modules)
    print(f"\nfunctions over {MAX_FUNCTION_LINES} lines: {len(long)}", *_listed(long), sep="\n")
    print(f"\nvague names: {dict(vague_names(modules).most_common()) or 'none'}")
    comments = sum(comment_lines(module) for module in modules.values())
    print(f"comment share: {comments / lines:.1%} ({comments} lines)")
    unclear = unclear_docstrings(modules)
    print(f"docstrings over two lines whose first line is no sentence: {len(unclear)}", *_listed(unclear), sep="\n")


def _listed(items: object) -> list[str]:
    return [f"  {item}" for item in items]  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parents[1]).resolve())
