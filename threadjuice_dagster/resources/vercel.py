"""Vercel as a target, by its REST API (https://vercel.com/docs/rest-api): files by digest, staged, promoted, confirmed.

A staged deployment is one for production that takes no domain. In what order things are done belongs in
``resources/deployments.py``.
"""

import hashlib
import importlib.metadata
import importlib.resources
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from threadjuice_dagster.domain.deployments import MARKER, File, Marker
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, TransientFailure
from threadjuice_dagster.resources.deployer import Deployer, Opened, Staged
from threadjuice_dagster.resources.http import Answer, refused, retry_after, send
from threadjuice_dagster.site.engagement import PATHS

UPLOADS = 8
"""Files sent at a time."""

ATTEMPTS = 5
"""Times a request is sent; uploads of a large site meet a limit now and then."""

ROUNDS = 3
"""Times Vercel may say that it lacks files before it is believed to lose them."""

_CARRIED = ("domain/engagement.py", "database/engagement.py", "site/engagement.py")

VERCEL_SETTINGS: dict[str, Any] = {
    "rewrites": [{"source": path, "destination": "/api/events"} for path in PATHS],
    "functions": {
        "api/events.py": {"maxDuration": 10, "excludeFiles": "**/*.{html,css,js,json,xml,svg,woff,avif,webp,jpeg,png}"},
    },
}
"""What ``vercel.json`` says of the function. By default a Python function carries every file of the deployment."""

_BROKEN = ("ERROR", "CANCELED", "BLOCKED", "DELETED")
_CREATE_ANOTHER = "Create another one at vercel.com/account/tokens, with access to the project, and set VERCEL_TOKEN."


class VercelTarget(Deployer):
    """A project on Vercel. ``site_url`` is where readers see it; empty asks the project for its first domain."""

    token: str
    project_id: str
    team_id: str = ""
    bypass: str = ""
    api_url: str = "https://api.vercel.com"
    site_url: str = ""
    ready_seconds: float = 900.0
    confirm_seconds: float = 90.0
    poll_seconds: float = 1.0

    @property
    def place(self) -> str:
        """The project."""
        return f"vercel {self.project_id}"

    def stage(self, name: str, folder: Path, files: Collection[File], shared: Collection[File]) -> Staged:
        """Create a deployment of the files, sending those Vercel does not have, and wait until it is ready."""
        beside = _beside_the_pages(Marker.read((folder / MARKER).read_bytes()).origins)
        extra = {path: (File(path, _sha1(data), len(data)), data) for path, data in beside.items()}
        wanted = {file.path: file for file in (*shared, *files, *(file for file, _ in extra.values()))}
        contents: dict[str, Path | bytes] = {file.sha1: folder / file.path for file in files}
        contents |= {file.sha1: data for file, data in extra.values()}
        sent: set[str] = set()
        for _ in range(ROUNDS):
            created, missing = self._create(name, wanted.values())
            if not missing:
                break
            # A shared file that Vercel has forgotten is left out: nobody has it any more.
            wanted = {path: file for path, file in wanted.items() if file.sha1 in contents or file.sha1 not in missing}
            self._upload({digest: contents[digest] for digest in missing & contents.keys()})
            sent |= missing & contents.keys()
        else:
            message = f"Vercel still lacks {len(missing)} files that it was sent."
            raise TransientFailure(message, "Deploy again.", exhausted=True)
        identity = str(created["id"])
        path = f"/v13/deployments/{identity}"
        self._until(f"Deployment {identity} was not ready", self.ready_seconds, path, _is_ready)
        sizes = {file.sha1: file.size for file in wanted.values()}
        return Staged(identity, self._address(str(created["url"])), len(sent), sum(map(sizes.__getitem__, sent)))

    def promote(self, identity: str) -> None:
        """Point the project's domains at it, and wait until Vercel says that all of them are."""
        self._ask("POST", f"/v10/projects/{self.project_id}/promote/{identity}", {})
        self._confirm(identity)

    def restore(self, identity: str) -> None:
        """Roll back to it; where the plan allows that for the last deployment only, promote it again."""
        path = f"/v1/projects/{self.project_id}/rollback/{identity}"
        if self._ask("POST", path, {}, allowed=(402, 422)).status >= 400:
            self.promote(identity)
            return
        self._confirm(identity)

    def live(self) -> str:
        """What the domains were pointed at last."""
        project = self._project()
        last = project.get("lastAliasRequest") or {}
        if last.get("jobStatus") == "succeeded" and last.get("toDeploymentId"):
            return str(last["toDeploymentId"])
        return str((_production(project)).get("id") or "")

    def keeps(self, identity: str) -> bool:
        """Whether Vercel knows it, and it is ready."""
        answer = self._ask("GET", f"/v13/deployments/{identity}", allowed=(404, 410))
        return answer.status == 200 and _document(answer).get("readyState") == "READY"

    def remove(self, identity: str) -> None:
        """Delete it, so that its own address answers no more."""
        self._ask("DELETE", f"/v13/deployments/{identity}", allowed=(404, 410))

    def check(self) -> tuple[str, bool]:
        """The project's name, and whether its domains are only given by a promotion; asked once."""
        project = self._project(attempts=1)
        if not (project.get("id") or project.get("name")):
            raise PermanentFailure("Vercel did not answer with a project.", "Check VERCEL_API_URL.")
        return str(project.get("name") or self.project_id), project.get("autoAssignCustomDomains") is False

    @contextmanager
    def opened(self, deployment: Staged | None = None) -> Iterator[Opened]:
        """Its own address, past Vercel's protection; or the site's."""
        if deployment:
            passes = {"x-vercel-protection-bypass": self.bypass} if self.bypass else {}
            yield Opened(deployment.url, {"x-vercel-skip-toolbar": "1", **passes})
            return
        if self.site_url:
            yield Opened(self.site_url.rstrip("/"), {})
            return
        domains = _production(self._project()).get("alias") or []
        if not domains:
            raise ConfigurationError("Where readers see the site is not known.", "Set PRODUCTION_URL.")
        yield Opened(self._address(str(domains[0])), {})

    def _create(self, name: str, files: Collection[File]) -> tuple[dict[str, Any], set[str]]:
        """Ask for a deployment: what Vercel says of it, and the digests it has to be sent first."""
        document = {
            "name": "threadjuice",
            "project": self.project_id,
            "target": "production",
            "autoAssignCustomDomains": False,
            "files": [{"file": file.path, "sha": file.sha1, "size": file.size} for file in files],
            "projectSettings": {"framework": None},
            "meta": {"threadjuiceDeployment": name},
        }
        path = "/v13/deployments"
        answer = self._ask("POST", path, document, {"skipAutoDetectionConfirmation": "1"}, allowed=(400,))
        created = _document(answer)
        error = created.get("error") or {}
        if error.get("code") == "missing_files":
            return {}, {str(digest) for digest in error.get("missing") or ()}
        if answer.status >= 400:
            raise PermanentFailure(
                f"Vercel refused the deployment ({str(error.get('code') or answer.status)[:60]}).",
                "See what its documentation says of that code; the site in use is unchanged.",
            )
        return created, set()

    def _upload(self, contents: Mapping[str, Path | bytes]) -> None:
        """Send contents by digest, several at a time; the first that cannot be sent ends it."""

        def send_one(digest: str) -> None:
            source = contents[digest]
            data = source.read_bytes() if isinstance(source, Path) else source
            self._ask("POST", "/v2/files", data, headers={"x-vercel-digest": digest})

        with ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload") as pool:
            sending = [pool.submit(send_one, digest) for digest in contents]
            try:
                for one in sending:
                    one.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _confirm(self, identity: str) -> None:
        def is_confirmed(project: Mapping[str, Any]) -> bool:
            last = project.get("lastAliasRequest") or {}
            if last.get("toDeploymentId", identity) != identity:
                return False
            if last.get("jobStatus") == "failed":
                raise PermanentFailure(
                    f"Vercel could not point every domain at deployment {identity}.", "See the project's domains."
                )
            return last.get("jobStatus") in ("succeeded", "skipped")

        path = f"/v9/projects/{self.project_id}"
        self._until(f"The domains were not pointed at deployment {identity}", self.confirm_seconds, path, is_confirmed)

    def _until(self, otherwise: str, seconds: float, path: str, done: Callable[[Mapping[str, Any]], bool]) -> None:
        """Ask again and again, as slowly as Vercel wants it, until an answer will do; an outage may pass meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            told: float | None = None
            try:
                answer = self._ask("GET", path, attempts=1)
                if done(_document(answer)):
                    return
                told = retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
            except TransientFailure as failure:
                told = failure.retry_after
            wait = max(self.poll_seconds, told or 0.0)
            if time.monotonic() + wait > deadline:
                raise TransientFailure(f"{otherwise} within {seconds:g} seconds.", "Deploy again.", exhausted=True)
            time.sleep(wait)

    def _project(self, attempts: int = ATTEMPTS) -> dict[str, Any]:
        return _document(self._ask("GET", f"/v9/projects/{self.project_id}", attempts=attempts))

    def _ask(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        allowed: Collection[int] = (),
        attempts: int = ATTEMPTS,
    ) -> Answer:
        """What Vercel answers. Raises for every refusal that is not ``allowed``."""
        if not self.project_id:
            raise ConfigurationError("VERCEL_TOKEN is set, but not VERCEL_PROJECT_ID.", "Set VERCEL_PROJECT_ID=prj_...")
        raw = isinstance(content, bytes)
        kind = {} if content is None else {"Content-Type": "application/octet-stream" if raw else "application/json"}
        given = {"Authorization": f"Bearer {self.token}", **kind, **(headers or {})}
        team = {"teamId": self.team_id} if self.team_id else {}
        body = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
        url = self.api_url.rstrip("/") + path
        answer = send(method, url, {**team, **(params or {})} or None, given, body, 60.0, attempts)
        if answer.status in (401, 403):
            raise PermanentFailure(f"Vercel refuses the token or what it may do ({answer.status}).", _CREATE_ANOTHER)
        if answer.status >= 300 and answer.status not in allowed:
            raise refused(f"{method} {path}", answer.status)
        return answer

    def _address(self, host: str) -> str:
        """Vercel names addresses without their scheme; they have the API's."""
        return host.rstrip("/") if "://" in host else f"{urlsplit(self.api_url).scheme}://{host.rstrip('/')}"


def _beside_the_pages(origins: Collection[str]) -> dict[str, bytes]:
    """What a deployment has beside the site's files, by path: functions, and ``vercel.json`` with the site's headers.

    Folders end with a slash, as the site's relative links need it.
    """
    from threadjuice_dagster.site.headers import header_rules

    settings = {
        "framework": None,
        "buildCommand": "",
        "installCommand": "",
        "outputDirectory": ".",
        "cleanUrls": False,
        "trailingSlash": True,
        "headers": [
            {"source": rule.source, "headers": [{"key": name, "value": text} for name, text in rule.headers.items()]}
            for rule in header_rules(origins)
        ],
        **VERCEL_SETTINGS,
    }
    return {"vercel.json": json.dumps(settings, indent=1).encode(), **function_files()}


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _is_ready(deployment: Mapping[str, Any]) -> bool:
    state = deployment.get("readyState")
    if state in _BROKEN:
        raise PermanentFailure(
            f"Vercel could not make deployment {deployment.get('id')} ready: {state},"
            f" {str(deployment.get('errorMessage') or deployment.get('errorCode') or 'no reason given')[:200]}.",
            "See its log on Vercel; the site in use is unchanged.",
        )
    return state == "READY"


def _document(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.body or b"{}")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise TransientFailure("Vercel did not answer with JSON.", "Check VERCEL_API_URL.", exhausted=True)
    return document


def _production(project: Mapping[str, Any]) -> dict[str, Any]:
    return (project.get("targets") or {}).get("production") or {}


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
