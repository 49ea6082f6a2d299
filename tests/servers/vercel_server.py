"""A loopback server that speaks Vercel's API: files by digest, deployments, promotions and rollbacks.

What it does and says is from Vercel's documentation (https://vercel.com/docs/rest-api, /docs/limits,
/docs/project-configuration, /docs/deployment-protection) and its own client (packages/client in vercel/vercel).

Kinds of request: ``create``, ``upload``, ``deployment``, ``project``, ``promote``, ``rollback``, ``delete``. Every
deployment is served at an address of its own from the bytes that were uploaded, with the headers its ``vercel.json``
asks for, after its ``buildCommand`` was really run; ``live_url`` is the domain that promotions move. Faults beside
those of every loopback server: ``broken`` (a deployment that ends in ERROR), ``forgets`` (a digest that was uploaded is
missing again), ``expired`` (token), ``limited`` (402, the day's deployments), ``uploads`` (429, the day's uploads),
``truncated`` (half a document), ``cut`` (a connection that ends in the document), and ``lost:KIND``: what was asked is
done, and then the fault KIND is the answer. Attributes bend it further; see ``VercelServer``.
"""

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers.loopback import LoopbackServer, Reply, Request, main

MOST_FILES = 15_000
LIMITED = 'Resource is limited - try again in 24 hours (more than 100, code: "api-deployments-free-per-day").'
UPLOADS = 'Too many requests - try again in 24 hours (more than 5000, code: "api-upload-free").'
LOGIN = b"<!doctype html><title>Authentication Required</title><a href='https://vercel.com/sso-api?nonce=1'>Log in</a>"
TOKEN, PROJECT = "vcp_loopback_token", "prj_loopback"
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "application/javascript; charset=utf-8",
    "xml": "application/xml",
    "json": "application/json; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "svg": "image/svg+xml",
    "avif": "image/avif",
    "webp": "image/webp",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "woff": "font/woff",
    "woff2": "font/woff2",
}


class Host:
    """One address, and what is behind it now: a mapping of path to bytes, or None."""

    def __init__(self, bypass: str = "") -> None:
        self.files: dict[str, bytes] | None = None
        self.damage: dict[str, bytes | int] = {}
        self.bypass = bypass
        self.redirects_to_login = False
        self.bare = False
        self.overlay: dict[str, str] = {}
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                host.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(handler.path.split("?")[0]).lstrip("/")
        if self.bypass and handler.headers.get("x-vercel-protection-bypass") != self.bypass:
            cookie = {"Set-Cookie": "_vercel_sso_nonce=1; Secure; HttpOnly", "Content-Type": TYPES["html"]}
            if self.redirects_to_login:
                return self._send(handler, 302, b"", {"Location": "https://vercel.com/sso-api?url=x&nonce=1", **cookie})
            return self._send(handler, 401, LOGIN, cookie)
        files = self.files
        if files is None:
            return self._send(handler, 404, b"DEPLOYMENT_NOT_FOUND", {})
        path = path + "index.html" if not path or path.endswith("/") else path
        damage = self.damage.get(path)
        if isinstance(damage, int):
            return self._send(handler, damage, b"scripted", {})
        if path not in files:
            return self._send(handler, 404, files.get("404.html", b""), {"Content-Type": TYPES["html"]})
        headers = {"Content-Type": TYPES.get(path.rpartition(".")[2], "application/octet-stream")}
        return self._send(handler, 200, damage or files[path], headers | self._asked_for(files, path) | self.overlay)

    def _asked_for(self, files: dict[str, bytes], path: str) -> dict[str, str]:
        rules = json.loads(files.get("vercel.json", b"{}")).get("headers", [])
        matching = [rule for rule in rules if re.fullmatch(rule["source"], f"/{path}")]
        return {} if self.bare else {one["key"]: one["value"] for rule in matching for one in rule["headers"]}

    def _send(self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)


class VercelServer(LoopbackServer):
    """Speaks POST /v13/deployments, POST /v2/files, GET and DELETE /v13/deployments/x, GET /v9/projects/x,
    POST /v10/projects/x/promote/y, POST /v1/projects/x/rollback/y.

    ``ready_after`` and ``alias_after`` are the answers that say "not yet", ``alias_lag`` those that still tell of the
    alias request before; ``alias_job`` is how a request ends;
    ``damage`` what a new deployment serves instead of what was uploaded (path → bytes or status), ``live_damage``
    the same on the domain after a promotion. ``bypass`` opens deployments, which otherwise answer with a login, or
    redirect to it (``redirects_to_login``).
    """

    def __init__(self, port: int = 0, bypass: str = "") -> None:
        super().__init__(port)
        self.bypass = bypass
        self.contents: dict[str, bytes] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.hosts: dict[str, Host] = {}
        self.live_host = Host()
        self.live = ""
        self.request: dict[str, Any] | None = None
        self.ready_after = self.alias_after = self.alias_lag = 0
        self.before: list[dict[str, Any] | None] = []
        self.alias_job = "succeeded"
        self.damage: dict[str, bytes | int] = {}
        self.live_damage: dict[str, bytes | int] = {}
        self.plan = "pro"
        self.redirects_to_login = False

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for host in (self.live_host, *self.hosts.values()):
            host.close()

    def __enter__(self) -> Self:
        return super().__enter__()

    @property
    def live_url(self) -> str:
        return f"http://{self.live_host.name}"

    def kind_of(self, method: str, path: str, body: bytes) -> str:
        kinds = {
            r"POST /v13/deployments": "create",
            r"POST /v2/files": "upload",
            r"GET /v13/deployments/\w+": "deployment",
            r"DELETE /v13/deployments/\w+": "delete",
            r"GET /v9/projects/\w+": "project",
            r"POST /v10/projects/\w+/promote/\w+": "promote",
            r"POST /v1/projects/\w+/rollback/\w+": "rollback",
        }
        return next((kind for form, kind in kinds.items() if re.fullmatch(form, f"{method} {path}")), "unknown")

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.fault("expired", request)
        if request.kind == "unknown":
            return Reply(self.problem(404), 404)
        if "/projects/" in request.path and request.path.split("/")[3] != PROJECT:
            return Reply(self.problem(404), 404)
        reply: Reply = getattr(self, f"_{request.kind}")(request)
        return reply

    def fault(self, name: str, request: Request) -> Reply:
        if name == "expired":
            error = {"code": "forbidden", "message": "Not authorized", "invalidToken": True}
            return Reply({"error": error}, 403)
        if name == "broken":
            reply = self._create(request)
            if reply.status == 200:
                self.deployments[reply.document["id"]]["readyState"] = "ERROR"
            return reply
        if name == "forgets":
            digest = request.json["files"][0]["sha"]
            self.contents.pop(digest, None)
            return self._missing([digest])
        if name == "limited":
            limit = {"total": 100, "remaining": 0, "reset": int(time.time() * 1000) + 86_400_000}
            error = {"code": "api-deployments-free-per-day", "message": LIMITED, "limit": limit}
            return Reply({"error": error}, 402)
        if name == "uploads":
            return Reply({"error": {"code": "rate_limited", "message": UPLOADS}}, 429, {"Retry-After": "86400"})
        if name in ("truncated", "cut"):
            reply = self.answer(request)
            whole = json.dumps(reply.document).encode() if reply.raw is None else reply.raw
            headers = {"Content-Length": str(len(whole) + 9)} if name == "cut" else {}
            return dataclasses.replace(reply, raw=whole[: len(whole) // 2], headers=headers)
        if name.startswith("lost:"):
            self.answer(request)
            return self.fault(name.removeprefix("lost:"), request)
        return super().fault(name, request)

    def _create(self, request: Request) -> Reply:
        document = request.json
        assert document["project"] == PROJECT
        assert document["target"] == "production"
        assert document["name"]
        if len(document["files"]) > MOST_FILES:
            told = f"Invalid request: `files` should NOT have more than 15000 items, received {len(document['files'])}."
            return Reply({"error": {"code": "bad_request", "message": told}}, 400)
        missing = sorted({file["sha"] for file in document["files"]} - self.contents.keys())
        if missing:
            return self._missing(missing)
        identity = f"dpl_{len(self.deployments) + 1}x{len(request.body)}"
        host = Host(self.bypass)
        host.redirects_to_login = self.redirects_to_login
        host.files = _built({file["file"]: self.contents[file["sha"]] for file in document["files"]})
        host.damage = dict(self.damage)
        self.hosts[identity] = host
        deployment = {"id": identity, "url": host.name, "readyState": "QUEUED", "target": "production", "asked": 0}
        self.deployments[identity] = deployment
        if document.get("autoAssignCustomDomains") is not False:
            self._move(identity)
        return Reply(deployment)

    def _missing(self, digests: list[str]) -> Reply:
        error = {"code": "missing_files", "message": "Missing files", "missing": digests}
        return Reply({"error": error}, 400)

    def _upload(self, request: Request) -> Reply:
        digest = hashlib.sha1(request.body).hexdigest()
        if request.headers.get("x-vercel-digest") != digest:
            return Reply({"error": {"code": "bad_request", "message": "digest"}}, 400)
        assert request.headers["content-length"] == str(len(request.body))
        self.contents[digest] = request.body
        return Reply({"urls": []})

    def _deployment(self, request: Request) -> Reply:
        deployment = self.deployments.get(request.path.split("/")[3])
        if deployment is None:
            return Reply({"error": {"code": "not_found", "message": "The deployment cannot be found"}}, 404)
        if deployment["readyState"] == "QUEUED":
            deployment["asked"] += 1
            if deployment["asked"] > self.ready_after:
                deployment["readyState"] = "READY"
            else:
                return Reply({**deployment, "readyState": ("QUEUED", "BUILDING")[deployment["asked"] % 2]})
        return Reply(deployment)

    def _delete(self, request: Request) -> Reply:
        identity = request.path.split("/")[3]
        if self.deployments.pop(identity, None) is None:
            return Reply({"error": {"code": "not_found", "message": "gone"}}, 404)
        self.hosts[identity].files = None
        return Reply({"uid": identity, "state": "DELETED"})

    def _project(self, request: Request) -> Reply:
        last = self.before.pop() if self.before else self._last_request()
        production = {"id": self.live, "alias": [self.live_host.name]} if self.live else None
        return Reply(
            {
                "id": PROJECT,
                "name": "threadjuice",
                "autoAssignCustomDomains": False,
                "targets": {"production": production} if production else {},
                "lastAliasRequest": last,
            }
        )

    def _last_request(self) -> dict[str, Any] | None:
        if self.request and self.request["jobStatus"] in ("pending", "in-progress"):
            self.request["left"] -= 1
            if self.request["left"] < 0:
                self.request["jobStatus"] = self.alias_job
                if self.alias_job == "succeeded":
                    self._move(self.request["toDeploymentId"], self.request["type"])
        return self.request

    def _promote(self, request: Request) -> Reply:
        return self._point(request, "promote")

    def _rollback(self, request: Request) -> Reply:
        if self.plan == "hobby":
            return Reply({"error": {"code": "plan", "message": "upgrade to roll back further"}}, 402)
        return self._point(request, "rollback")

    def _point(self, request: Request, kind: str) -> Reply:
        identity = request.path.split("/")[5]
        if identity not in self.deployments:
            return Reply(self.problem(404), 404)
        self.before = [self.request] * self.alias_lag
        self.request = {
            "type": kind,
            "fromDeploymentId": self.live,
            "toDeploymentId": identity,
            "jobStatus": "in-progress" if self.alias_after or self.alias_job != "succeeded" else "succeeded",
            "requestedAt": int(time.time() * 1000),
            "left": self.alias_after,
        }
        if self.request["jobStatus"] == "succeeded":
            self._move(identity, kind)
        return Reply(None, 201, raw=b"")

    def _move(self, identity: str, kind: str = "promote") -> None:
        self.live = identity
        self.live_host.damage = dict(self.live_damage) if kind == "promote" else {}
        self.live_host.files = self.hosts[identity].files


def _built(files: dict[str, bytes]) -> dict[str, bytes]:
    """What a deployment serves: its files, or what its build command makes of them in the output directory."""
    settings = json.loads(files.get("vercel.json", b"{}"))
    if not settings.get("buildCommand"):
        return files
    assert len(settings["buildCommand"]) <= 256
    with tempfile.TemporaryDirectory() as folder:
        for path, data in files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(data)
        subprocess.run(["/bin/sh", "-c", settings["buildCommand"]], cwd=folder, check=True)
        root = Path(folder) / settings["outputDirectory"]
        built = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {**built, "vercel.json": files["vercel.json"]}


if __name__ == "__main__":
    main(VercelServer)
