"""Vercel as a place to deploy to, by its REST API (https://vercel.com/docs/rest-api).

A staged deployment is one for production that is given no domain. The order of the steps belongs in
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
"""Files uploaded at a time."""

ATTEMPTS = 5
"""Attempts for each request: uploads of a large site meet a rate limit now and then."""

ROUNDS = 3
"""Times that Vercel may report missing files before the deployment fails."""

BUILD_SECONDS = 2700.0
"""Vercel's time limit for a build, and so the longest that unpacking a large site may take."""

HEAVIEST_UPLOAD = 1_000_000_000
"""Most bytes of a deployment on Vercel's Pro plan (https://vercel.com/docs/limits)."""

_BROKEN = ("ERROR", "CANCELED", "BLOCKED", "DELETED")


class VercelTarget(Deployer):
    """A project on Vercel. Without a ``site_url`` the project's first domain is where readers see the site."""

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
        """Create a deployment, upload the files that Vercel does not have, and wait until it is ready."""
        upload = upload_of(folder, files, shared)
        wanted, sent = upload.files, set[str]()
        _refuse_weight(files)
        # Vercel names the digests that it lacks only when a deployment is requested: request, upload, request again.
        for _ in range(ROUNDS):
            document, missing = self._create(name, wanted.values())
            if not missing:
                break
            # A shared file that Vercel has deleted is left out: no copy of it is left here.
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
        """Point the project's domains at it, and wait until Vercel confirms all of them."""
        try:  # 409: a promotion is under way already
            self._ask("POST", f"/v10/projects/{self.project_id}/promote/{identity}", {}, allowed=(409,))
        except TransientFailure:
            if self.live() != identity:  # otherwise it succeeded, and only the answer was lost
                raise
        self._confirm(identity)

    def restore(self, identity: str) -> None:
        """Roll back to it, or promote it where the plan allows a rollback to the last deployment only."""
        path = f"/v1/projects/{self.project_id}/rollback/{identity}"
        if self._ask("POST", path, {}, allowed=(402, 409, 422)).status in (402, 422):
            self.promote(identity)
            return
        self._confirm(identity)

    def live(self) -> str:
        """Return the deployment that the domains were pointed at last."""
        project = self._project()
        last = project.get("lastAliasRequest") or {}
        if last.get("jobStatus") == "succeeded" and last.get("toDeploymentId"):
            return str(last["toDeploymentId"])
        return str((_production(project)).get("id") or "")

    def keeps(self, identity: str) -> bool:
        """Return whether Vercel has it, ready to be shown."""
        answer, document = self._asked("GET", f"/v13/deployments/{identity}", allowed=(404, 410))
        return answer.status == 200 and document.get("readyState") == "READY"

    def remove(self, identity: str) -> None:
        """Delete it, so that its own address stops answering."""
        self._ask("DELETE", f"/v13/deployments/{identity}", allowed=(404, 410))

    def check(self) -> tuple[str, bool]:
        """Return the project's name, and whether only a promotion moves its domains. Sends one request, once."""
        project = self._project(attempts=1)
        if not (project.get("id") or project.get("name")):
            raise PermanentFailure("Vercel did not answer with a project.", "Check VERCEL_API_URL.")
        return str(project.get("name") or self.project_id), project.get("autoAssignCustomDomains") is False

    @contextmanager
    def opened(self, deployment: Staged | None = None) -> Iterator[Opened]:
        """Yield its own address, or the site's. The bypass secret is sent to the project's addresses only."""
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
        """Return the addresses of the project's domains, or none if Vercel does not answer and ``site_url`` is set."""
        project: dict[str, Any] = {}
        with suppress(*([ThreadJuiceError] if self.site_url else [])):
            project = self._project()
        return [self._address(str(domain)) for domain in _production(project).get("alias") or []]

    def protection_failure(self, answer: Answer, opened: Opened) -> ThreadJuiceError | None:
        """Return the failure where deployment protection answers instead of the site."""
        with_secret = bool(self._passes.items() & opened.headers.items())
        return _protected(opened.url, answer, with_secret=with_secret) if _is_protection(answer) else None

    @property
    def _passes(self) -> dict[str, str]:
        return {"x-vercel-protection-bypass": self.bypass} if self.bypass else {}

    def _create(self, name: str, files: Collection[File]) -> tuple[dict[str, Any], set[str]]:
        """Request a deployment. Return Vercel's answer, and the digests of files to upload first."""
        document = {
            "name": "threadjuice",
            "project": self.project_id,
            "target": "production",
            # Otherwise Vercel would show the deployment to readers before it is tested.
            "autoAssignCustomDomains": False,
            "files": [{"file": file.path, "sha": file.sha1, "size": file.size} for file in files],
            "projectSettings": {"framework": None},
            "meta": {"threadjuiceDeployment": name},
        }
        path = "/v13/deployments"
        # Without it Vercel asks which framework the site uses, and refuses to deploy.
        params = {"skipAutoDetectionConfirmation": "1"}
        answer, created = self._asked("POST", path, document, params, allowed=(400,))
        error = created.get("error") or {}
        if error.get("code") == "missing_files":
            return {}, {str(digest) for digest in error.get("missing") or ()}
        if answer.status >= 400:
            raise _refusal("the deployment", answer.status, self._reason(answer))
        if not (created.get("id") and created.get("url")):
            raise TransientFailure("Vercel did not say which deployment it made.", "Deploy again.", exhausted=True)
        return created, set()

    def _upload(self, contents: Mapping[str, Content]) -> None:
        """Upload contents by digest, several at a time. The first failure ends the upload."""

        def send_one(digest: str) -> None:
            self._ask("POST", "/v2/files", contents[digest](), headers={"x-vercel-digest": digest})

        with ThreadPoolExecutor(UPLOADS, thread_name_prefix="upload") as pool:
            sending = [pool.submit(send_one, digest) for digest in contents]
            try:
                for upload in sending:
                    upload.result()
            finally:
                # After a failure the other uploads are of no use.
                pool.shutdown(wait=False, cancel_futures=True)

    def _confirm(self, identity: str) -> None:
        def is_confirmed(project: Mapping[str, Any]) -> bool:
            last = project.get("lastAliasRequest") or {}
            # The project still reports the alias request of an earlier promotion for a moment.
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
        """Poll until ``done`` accepts an answer, as slowly as Vercel asks. Outages meanwhile are tolerated."""
        deadline = time.monotonic() + seconds
        while True:
            asked_wait: float | None = None
            try:
                answer, document = self._asked("GET", path, attempts=1)
                if done(document):
                    return
                asked_wait = retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
            except TransientFailure as failure:
                asked_wait = failure.retry_after
            wait = max(self.poll_seconds, asked_wait or 0.0)
            if time.monotonic() + wait > deadline:
                raise TransientFailure(f"{otherwise} within {seconds:g} seconds.", "Deploy again.", exhausted=True)
            time.sleep(wait)

    def _project(self, attempts: int = ATTEMPTS) -> dict[str, Any]:
        return self._asked("GET", f"/v9/projects/{self.project_id}", attempts=attempts)[1]

    def _asked(self, *arguments: Any, **options: Any) -> tuple[Answer, dict[str, Any]]:
        """Send a request as ``_ask`` does, and return the answer and its JSON. Truncated JSON is requested again."""
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
        """Send a request and return the answer. Raises for every refusal whose status is not ``allowed``."""
        if not self.project_id:
            raise ConfigurationError("VERCEL_TOKEN is set, but not VERCEL_PROJECT_ID.", "Set VERCEL_PROJECT_ID=prj_...")
        raw = isinstance(content, bytes)
        kind = {} if content is None else {"Content-Type": "application/octet-stream" if raw else "application/json"}
        # The token travels in a header only: addresses end up in logs and messages.
        given = {"Authorization": f"Bearer {self.token}", **kind, **(headers or {})}
        team = {"teamId": self.team_id} if self.team_id else {}
        body = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
        url = self.api_url.rstrip("/") + path
        answer = send(method, url, {**team, **(params or {})} or None, given, body, 60.0, attempts, self._reason)
        if answer.status >= 300 and answer.status not in allowed:
            raise _refusal(f"{method} {path}", answer.status, self._reason(answer))
        return answer

    def _reason(self, answer: Answer) -> str:
        """Return Vercel's reason for a refusal, with our secrets blotted out."""
        text = _message_in(answer)
        for secret in filter(None, (self.token, self.bypass)):
            text = text.replace(secret, "***")
        return text

    def _address(self, host: str) -> str:
        """Return an address with the API's scheme: Vercel names hosts without one."""
        return host.rstrip("/") if "://" in host else f"{urlsplit(self.api_url).scheme}://{host.rstrip('/')}"


def _refuse_weight(files: Collection[File]) -> None:
    """Refuse a site whose pictures alone exceed Vercel's limit, before anything is sent."""
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


def _message_in(answer: Answer) -> str:
    """Return Vercel's message and code for a refusal in one line, or an empty text."""
    try:
        error = json.loads(answer.body).get("error")
    except (ValueError, AttributeError, RecursionError):
        return ""
    if not isinstance(error, Mapping):
        return ""
    message, code = _line(error.get("message")), _line(error.get("code"))
    return f"{message.rstrip('.')} ({code})" if message and code else message or code


def _refusal(request: str, status: int, reason: str) -> ThreadJuiceError:
    """Return the failure for a refusal. ``reason`` is Vercel's own."""
    message = f"Vercel refused {request} with {status}{f': {reason}' if reason else ''}."
    if _TOO_MANY.search(reason):
        return PermanentFailure(message, _FEWER)
    next_step = _NEXT_STEPS.get(status, _UNCHANGED)
    if status == 402:  # a plan's limit for a day or a month, which ends by itself
        return TransientFailure(message, next_step, exhausted=True)
    return PermanentFailure(message, next_step)


def _is_protection(answer: Answer) -> bool:
    """Return whether deployment protection answered: by a refusal, or by a redirect to Vercel's login."""
    hints = [answer.headers.get(name, "") for name in ("location", "set-cookie")]
    redirects = 300 <= answer.status < 400 and bool(_LOGIN.search(" ".join(hints)))
    return answer.status in (401, 403) or redirects


def _protected(url: str, answer: Answer, *, with_secret: bool) -> ThreadJuiceError:
    """Return the failure for a deployment that cannot be seen without a login."""
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
