"""The HTTP headers of the site's files: content types, caching, and the content security policy.

The preview server sends them itself; a deployment to Vercel writes them into ``vercel.json``.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".xml": "application/xml; charset=utf-8",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".avif": "image/avif",
    ".webp": "image/webp",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}

IMMUTABLE = ("assets", "img")
"""Folders whose files are named by a hash of their content."""

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
CACHED = {"Cache-Control": "public, max-age=31536000, immutable"}
UNCACHED = {"Cache-Control": "no-cache"}


class HeaderRule(NamedTuple):
    """The headers of every path that ``source``, a regular expression of the whole path, matches."""

    source: str
    headers: Mapping[str, str]


def content_policy(origins: Iterable[str]) -> str:
    """Return the content security policy: the site's own files, and pictures from these origins."""
    pictures = " ".join(["'self'", "data:", *sorted(set(origins))])
    return (
        f"default-src 'none'; img-src {pictures}; style-src 'self'; font-src 'self'; script-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


def header_rules(origins: Iterable[str]) -> tuple[HeaderRule, ...]:
    """Return the headers of a site whose pictures also come from ``origins``."""
    policy = {"Content-Security-Policy": f"{content_policy(origins)}; frame-ancestors 'none'"}
    return (
        HeaderRule("/(.*)", {**policy, **ALWAYS}),
        HeaderRule(f"/({'|'.join(IMMUTABLE)})/(.*)", CACHED),
        HeaderRule(f"/((?!{'/|'.join(IMMUTABLE)}/).*)", UNCACHED),
    )


def headers_of(path: str, origins: Iterable[str] = ()) -> dict[str, str]:
    """Return all headers of the file at a path of the site."""
    always, cached, uncached = (rule.headers for rule in header_rules(origins))
    kind = CONTENT_TYPES.get(PurePosixPath(path).suffix.lower(), "application/octet-stream")
    return {"Content-Type": kind, **always, **(cached if path.partition("/")[0] in IMMUTABLE else uncached)}
