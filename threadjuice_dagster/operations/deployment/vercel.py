"""Vercel as a target, by its REST API (https://vercel.com/docs/rest-api): files by digest, staged, promoted, confirmed.

A staged deployment is one for production that takes no domain. In what order things are done belongs in
``operations/deployment/service.py``.
"""

import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, ThreadJuiceError, TransientFailure
from threadjuice_dagster.operations.deployment.targets import Deployer, Opened, Staged
from threadjuice_dagster.operations.deployment.vercel_uploads import Content, upload_of
from threadjuice_dagster.resources.http import Answer, retry_after, send
from threadjuice_dagster.site.layout import PICTURES, File

UPLOADS = 8
"""Files sent at a time."""

ATTEMPTS = 5
"""Times a request is sent; uploads of a large site meet a limit now and then."""

ROUNDS = 3
"""Times Vercel may say that it lacks files before it is believed to lose them."""

BUILD_SECONDS = 2700.0
"""What Vercel gives a build, and so the longest it may take to unpack a large site."""

HEAVIEST_UPLOAD = 1_000_000_000
"""Bytes that Vercel takes in a deployment on its Pro plan; on Hobby a tenth (https://vercel.com/docs/limits)."""

_BROKEN = ("ERROR", "CANCELED", "BLOCKED", "DELETED")


class VercelTarget(Deployer):
    """A project on Vercel. ``site_url`` is where readers see it; empty asks the project for its first domain."""

    has_limits = True

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

    def stage(
        self,
        name: str,
        folder: Path,
        files: Collection[File],
        shared: Collection[File],
        created: Callable[[str], None] = lambda _: None,
    ) -> Staged:
        """Create a deployment of the files, sending those Vercel does not have, and wait until it is ready."""
        upload = upload_of(folder, files, shared)
        wanted, sent = upload.files, set[str]()
        _refuse_weight(files)
        for _ in range(ROUNDS):
            document, missing = self._create(name, wanted.values())
            if not missing:
                break
            # A shared file that Vercel has forgotten is left out: nobody has it any more.
            has = upload.contents.keys()
            wanted = {path: file for path, file in wanted.items() if file.sha1 in has or file.sha1 not in missing}
            self._upload({digest: upload.contents[digest] for digest in missing & has})
            sent |= missing & has
        else:
            message = f"Vercel still lacks {len(missing)} files that it was sent."
            raise TransientFailure(message, "Deploy again.", exhausted=True)
        identity = str(document["id"])
        created(identity)
        seconds = BUILD_SECONDS if upload.is_bundled else self.ready_seconds
        self._until(f"Deployment {identity} was not ready", seconds, f"/v13/deployments/{identity}", _is_ready)
        new = [file for file in wanted.values() if file.sha1 in sent]
        size = sum({file.sha1: file.size for file in new}.values())
        return Staged(identity, self._address(str(document["url"])), len(new), len(wanted), size)

    def promote(self, identity: str) -> None:
        """Point the project's domains at it, and wait until Vercel says that all of them are."""
        try:  # 409 is a promotion that is under way already
            self._ask("POST", f"/v10/projects/{self.project_id}/promote/{identity}", {}, allowed=(409,))
        except TransientFailure:
            if self.live() != identity:  # else only the answer was lost
                raise
        self._confirm(identity)

    def restore(self, identity: str) -> None:
        """Roll back to it; where the plan allows that for the last deployment only, promote it again."""
        path = f"/v1/projects/{self.project_id}/rollback/{identity}"
        if self._ask("POST", path, {}, allowed=(402, 409, 422)).status in (402, 422):
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
        answer, document = self._asked("GET", f"/v13/deployments/{identity}", allowed=(404, 410))
        return answer.status == 200 and document.get("readyState") == "READY"

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
        """Its own address, or the site's; past Vercel's protection where the address is the project's."""
        if deployment:
            yield Opened(deployment.url, {"x-vercel-skip-toolbar": "1", **self._passes})
            return
        if self.site_url and not self._passes:
            yield Opened(self.site_url.rstrip("/"), {})
            return
        domains = self._domains()
        if not (self.site_url or domains):
            raise ConfigurationError("Where readers see the site is not known.", "Set PRODUCTION_URL.")
        url = self.site_url.rstrip("/") or domains[0]
        yield Opened(url, self._passes if url in domains else {})

    def _domains(self) -> list[str]:
        """The addresses of the project's domains; none where the site's is set and Vercel does not answer."""
        project: dict[str, Any] = {}
        with suppress(*([ThreadJuiceError] if self.site_url else [])):
            project = self._project()
        return [self._address(str(domain)) for domain in _production(project).get("alias") or []]

    def locked_out(self, answer: Answer, opened: Opened) -> ThreadJuiceError | None:
        """What is told where deployment protection answers instead of the site."""
        with_secret = bool(self._passes.items() & opened.headers.items())
        return locked(opened.url, answer, with_secret=with_secret) if is_locked(answer) else None

    @property
    def _passes(self) -> dict[str, str]:
        return {"x-vercel-protection-bypass": self.bypass} if self.bypass else {}

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
        params = {"skipAutoDetectionConfirmation": "1"}
        answer, created = self._asked("POST", path, document, params, allowed=(400,))
        error = created.get("error") or {}
        if error.get("code") == "missing_files":
            return {}, {str(digest) for digest in error.get("missing") or ()}
        if answer.status >= 400:
            raise refusal("the deployment", answer.status, self._reason(answer))
        if not (created.get("id") and created.get("url")):
            raise TransientFailure("Vercel did not say which deployment it made.", "Deploy again.", exhausted=True)
        return created, set()

    def _upload(self, contents: Mapping[str, Content]) -> None:
        """Send contents by digest, several at a time; the first that cannot be sent ends it."""

        def send_one(digest: str) -> None:
            self._ask("POST", "/v2/files", contents[digest](), headers={"x-vercel-digest": digest})

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
                answer, document = self._asked("GET", path, attempts=1)
                if done(document):
                    return
                told = retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
            except TransientFailure as failure:
                told = failure.retry_after
            wait = max(self.poll_seconds, told or 0.0)
            if time.monotonic() + wait > deadline:
                raise TransientFailure(f"{otherwise} within {seconds:g} seconds.", "Deploy again.", exhausted=True)
            time.sleep(wait)

    def _project(self, attempts: int = ATTEMPTS) -> dict[str, Any]:
        return self._asked("GET", f"/v9/projects/{self.project_id}", attempts=attempts)[1]

    def _asked(self, *arguments: Any, **options: Any) -> tuple[Answer, dict[str, Any]]:
        """What Vercel answers, as ``_ask``, and its document; half of one is asked for again."""
        for attempt in range(ROUNDS):
            answer = self._ask(*arguments, **options)
            try:
                return answer, _document(answer)
            except TransientFailure:
                if attempt == ROUNDS - 1:
                    raise
        raise AssertionError

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
        answer = send(method, url, {**team, **(params or {})} or None, given, body, 60.0, attempts, self._reason)
        if answer.status >= 300 and answer.status not in allowed:
            raise refusal(f"{method} {path}", answer.status, self._reason(answer))
        return answer

    def _reason(self, answer: Answer) -> str:
        """Why Vercel refuses, as it says; without our secrets, should it repeat one."""
        told = reason(answer)
        for secret in filter(None, (self.token, self.bypass)):
            told = told.replace(secret, "***")
        return told

    def _address(self, host: str) -> str:
        """Vercel names addresses without their scheme; they have the API's."""
        return host.rstrip("/") if "://" in host else f"{urlsplit(self.api_url).scheme}://{host.rstrip('/')}"


def _refuse_weight(files: Collection[File]) -> None:
    """Refuse a site that Vercel would not take because of its pictures, before anything is sent."""
    size = sum({file.sha1: file.size for file in files if file.path.startswith(PICTURES)}.values())
    if size > HEAVIEST_UPLOAD:
        message = (
            f"The site's pictures have {size / 1e9:.1f} GB, and Vercel takes {HEAVIEST_UPLOAD / 1e9:g} GB at most."
        )
        next_step = "Nothing was sent. Set CDN_BUCKET, run: threadjuice maintenance optimize, then deploy again."
        raise PermanentFailure(message, next_step)


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


_CREATE_ANOTHER = "Create another one at vercel.com/account/tokens, with access to the project, and set VERCEL_TOKEN."
_UNCHANGED = "See what Vercel's documentation says of that code; the site in use is unchanged."
_LIMITED = "Wait until Vercel's limit is over, or take a larger plan; the site in use is unchanged."
_FEWER = "Set CDN_BUCKET, then run: threadjuice maintenance optimize. The site in use is unchanged."
_NEXT_STEPS = {
    401: _CREATE_ANOTHER,
    402: _LIMITED,
    403: _CREATE_ANOTHER,
    404: "Check VERCEL_PROJECT_ID, VERCEL_TEAM_ID and VERCEL_API_URL.",
    413: _FEWER,
    429: _LIMITED,
}
_TOO_MANY = re.compile(r"files.{0,20}should NOT have more than", re.IGNORECASE)
_LOGIN = re.compile(r"vercel\.com/(?:sso-api|login)|_vercel_sso_nonce|_vercel_password", re.IGNORECASE)
_LONGEST = 300


def reason(answer: Answer) -> str:
    """Vercel's own message and code for a refusal, in one line; empty where it gives none."""
    try:
        error = json.loads(answer.body).get("error")
    except (ValueError, AttributeError, RecursionError):
        return ""
    if not isinstance(error, Mapping):
        return ""
    message, code = _line(error.get("message")), _line(error.get("code"))
    return f"{message.rstrip('.')} ({code})" if message and code else message or code


def refusal(asked: str, status: int, told: str) -> ThreadJuiceError:
    """The failure that a refusal amounts to. ``asked`` names the request, ``told`` is Vercel's reason."""
    message = f"Vercel refused {asked} with {status}{f': {told}' if told else ''}."
    if _TOO_MANY.search(told):
        return PermanentFailure(message, _FEWER)
    next_step = _NEXT_STEPS.get(status, _UNCHANGED)
    if status == 402:  # a plan's limit of a day or a month: it is over by itself
        return TransientFailure(message, next_step, exhausted=True)
    return PermanentFailure(message, next_step)


def is_locked(answer: Answer) -> bool:
    """Whether this is deployment protection instead of the site: a refusal, or the way to Vercel's login."""
    told = [answer.headers.get(name, "") for name in ("location", "set-cookie")]
    redirects = 300 <= answer.status < 400 and bool(_LOGIN.search(" ".join(told)))
    return answer.status in (401, 403) or redirects


def locked(url: str, answer: Answer, *, with_secret: bool) -> ThreadJuiceError:
    """What is told of a deployment that nobody gets to see without a login."""
    message = f"Vercel's deployment protection answers {answer.status} at {url} instead of the site"
    if with_secret:
        message, what = f"{message}, and does not take the bypass secret", "a secret that is valid now"
    else:
        what = "a secret"
    next_step = f"Set VERCEL_AUTOMATION_BYPASS_SECRET to {what}, from the project's Deployment Protection settings."
    return PermanentFailure(f"{message}.", next_step)


def _line(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:_LONGEST]
