"""A newsroom that deploys a written site to a folder or a loopback Vercel, and readers who ask for it meanwhile."""

import hashlib
import json
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from servers.vercel_server import PROJECT, TOKEN, VercelServer

from threadjuice_dagster.failures import ThreadJuiceError
from threadjuice_dagster.operations.deployment.service import DeploymentService
from threadjuice_dagster.operations.deployment.store import Deployments
from threadjuice_dagster.operations.deployment.targets import Deployer, LocalTarget
from threadjuice_dagster.operations.deployment.vercel import VercelTarget
from threadjuice_dagster.resources.postgres import Postgres
from threadjuice_dagster.site.publisher import Publisher

BYPASS = "a-bypass-secret"


ROOT = Path(__file__).parents[1]


def write_site(home: Path, version: str, stories: int = 3) -> dict[str, str]:
    """A built site every file of which tells its version; returns its pages and the stylesheet each one needs."""
    sheet = f"assets/site.{hashlib.sha1(version.encode()).hexdigest()[:8]}.css"
    page = f'<html><head><link rel="stylesheet" href="{{root}}{sheet}"></head><body>version {version}</body></html>'
    files = {
        "index.html": page.format(root=""),
        "404.html": "<html>not here</html>",
        "about/index.html": page.format(root="../"),
        "feed.xml": f"<rss><!-- version {version} --></rss>",
        "robots.txt": "User-agent: *\n",
        sheet: f"/* version {version} */",
        "img/ab/480.jpg": "a picture that never changes",
        "version.json": json.dumps({"version": version, "stories": stories}),
        **{f"story/s{number}/index.html": page.format(root="../../") for number in range(stories)},
    }
    folder = home / "site" / "versions" / version
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    link = home / "site" / "current-next"
    link.symlink_to(Path("versions") / version)
    link.replace(home / "site" / "current")
    return files


def vercel_target(server: VercelServer, **changes: Any) -> VercelTarget:
    values = {
        "token": TOKEN,
        "project_id": PROJECT,
        "bypass": BYPASS,
        "api_url": server.url,
        "site_url": server.live_url,
        "poll_seconds": 0.02,
        "confirm_seconds": 1.0,
    }
    return VercelTarget(**{**values, **changes})


class Newsroom:
    """Runs the deployment's assets as jobs do, with a home of its own."""

    def __init__(self, database: Postgres, home: Path, deployer: Deployer) -> None:
        self.database, self.home, self.deployer = database, home, deployer
        self.service = DeploymentService(database=self.database, deployer=deployer, settle_seconds=0.2)
        self.book = Deployments(database.unchecked_store, deployer.place)
        self.result: dg.ExecuteInProcessResult
        self.run_id, self.error = "", ""

    def run(self, *assets: Any, **config: Any) -> bool:
        given = {"ops": {"production_deployment": {"config": config}}} if config else {}
        self.result = dg.materialize(
            list(assets),
            raise_on_error=False,
            run_config={**given, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            resources={
                "database": self.database,
                "deployment_service": self.service,
                "publisher": Publisher(folder=str(self.home / "site")),
            },
        )
        self.run_id = self.result.run_id
        return self.result.success

    def deploy(self, version: str, **site: Any) -> bool:
        """What the assets do, without a run around it."""
        write_site(self.home, version, **site)
        return self.stage() and self._do(lambda: self.service.promote(self.run_id))

    def stage(self) -> bool:
        self.run_id = uuid.uuid4().hex
        return self._do(lambda: self.service.stage(self.home / "site", self.run_id, datetime.now(UTC)))

    def promote(self) -> bool:
        self.run_id = uuid.uuid4().hex
        return self._do(lambda: self.service.promote(self.run_id))

    def roll_back(self, reference: str = "previous") -> bool:
        self.run_id = uuid.uuid4().hex
        return self._do(lambda: self.service.roll_back(reference, self.run_id))

    def _do(self, act: Callable[[], Any]) -> bool:
        try:
            act()
        except ThreadJuiceError as error:
            self.error = str(error)
            return False
        return True

    @property
    def steps(self) -> dict[str, str]:
        return {step.name: step.state for step in self.book.steps(self.run_id)}

    def message(self, name: str) -> str:
        return next(step.message for step in self.book.steps(self.run_id) if step.name == name)

    @property
    def live(self) -> str:
        live = self.book.live()
        return live.version if live else ""

    @property
    def address(self) -> str:
        """Where operators are told that readers are."""
        live = self.book.live()
        assert live
        return self.service.with_public_address(live).url

    def seen(self) -> str:
        """The version that readers see."""
        with self.deployer.opened() as opened:
            return str(json.loads(get(f"{opened.url}/version.json")[1])["version"])


def get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Prober:
    """A reader who loads a page and then what it needs, every 20 ms, and remembers what was wrong."""

    def __init__(self, url: str) -> None:
        self.url, self.wrong, self.versions, self.loads = url, list[str](), list[str](), 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Prober":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        paths = ("/", "/story/s1/index.html", "/about/index.html", "/feed.xml", "/img/ab/480.jpg")
        while not self._stop.wait(0.02):
            try:
                self._load(paths[self.loads % len(paths)])
            except Exception as error:
                self.wrong.append(repr(error))
            self.loads += 1

    def _load(self, path: str) -> None:
        status, body = get(self.url + path)
        if status != 200:
            self.wrong.append(f"{path} answered {status}")
            return
        text = body.decode()
        if "version " not in text:
            return
        version = text.partition("version ")[2].split("<")[0].split(" ")[0]
        if self.versions[-1:] != [version]:
            self.versions.append(version)
        if "stylesheet" in text:
            sheet = text.partition('href="')[2].partition('"')[0].replace("../", "")
            status, style = get(f"{self.url}/{sheet}")
            if status != 200 or f"version {version} " not in style.decode():
                self.wrong.append(f"the stylesheet of {path} answered {status}")


@contextmanager
def damaged(newsroom: Newsroom, vercel: VercelServer, path: str) -> Iterator[None]:
    """What is staged meanwhile serves something else at a path."""
    vercel.damage = {path: b"something else"}
    stage = LocalTarget.stage

    def stage_damaged(self: LocalTarget, *arguments: Any) -> Any:
        staged = stage(self, *arguments)
        file = Path(self.folder) / "versions" / staged.id / path
        file.unlink()
        file.write_text("something else")
        return staged

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalTarget, "stage", stage_damaged)
        yield
    vercel.damage = {}
