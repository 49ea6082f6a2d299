"""The files of a deployment to Vercel: the site, the events function and the settings, one by one or in bundles.

A deployment may have 15,000 files, and the smallest plan allows 5,000 uploads a day (https://vercel.com/docs/limits).
So a large site is sent as archives, which Vercel's build step unpacks; the output of a build has no limit. A story
always goes into the same bundle, so that a deployment uploads only the bundles that changed.
"""

import functools
import gzip
import hashlib
import importlib.metadata
import importlib.resources
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from threadjuice_dagster.operations.engagement.receiver import PATHS
from threadjuice_dagster.site.layout import MARKER, SHARED, File, Marker

MOST_LOOSE = 4_000
"""Most files of a site that is sent one by one. A larger site is bundled."""

BUNDLES = 1024
"""Bundles of a large site. At 100,000 stories each holds about 200 files."""

_CARRIED = (
    "database/addresses.py",
    "domain/story/page_events.py",
    "operations/engagement/rules.py",
    "operations/engagement/store.py",
    "operations/engagement/receiver.py",
)
_OUTPUT = "public"
_UNPACK = f'mkdir -p {_OUTPUT} && for bundle in bundles/*.tgz; do tar -xzf "$bundle" -C {_OUTPUT} || exit 1; done'
_LOOSE_FILES = "**/*.{html,css,js,json,xml,svg,woff,woff2,avif,webp,jpeg,png}"
_PACKERS = 4

Content = Callable[[], bytes]


class VercelUpload(NamedTuple):
    """The files of a deployment by path, and functions that make their contents by digest.

    Files without such a function are at Vercel already. ``is_bundled`` says that Vercel has to unpack archives.
    """

    files: dict[str, File]
    contents: dict[str, Content]
    is_bundled: bool


def upload_of(folder: Path, files: Collection[File], shared: Collection[File]) -> VercelUpload:
    """Return what to send of the site in a folder. ``shared`` are files of the deployment before, which Vercel has."""
    origins = Marker.read((folder / MARKER).read_bytes()).origins
    is_bundled = len(files) > MOST_LOOSE
    beside = {"vercel.json": _settings(origins, bundled=is_bundled), **function_files()}
    place = f"{_OUTPUT}/" if is_bundled else ""
    single = [file for file in files if not is_bundled or file.path.startswith(SHARED)]
    wanted = {place + file.path: file._replace(path=place + file.path) for file in (*shared, *single)}
    contents: dict[str, Content] = {file.sha1: (folder / file.path).read_bytes for file in single}
    made: dict[str, Content] = {path: functools.partial(bytes, data) for path, data in beside.items()}
    if is_bundled:
        made |= _bundles(folder, [file for file in files if not file.path.startswith(SHARED)])
    with ThreadPoolExecutor(_PACKERS) as pool:
        for file, content in zip(pool.map(_described, made, made.values()), made.values(), strict=True):
            wanted[file.path] = file
            contents[file.sha1] = content
    return VercelUpload(wanted, contents, is_bundled)


def function_files() -> dict[str, bytes]:
    """Return the files of the events function by their path in a deployment.

    Vercel makes a function of each file in ``api/``, except in folders whose name begins with an underscore.
    """
    package = importlib.resources.files("threadjuice_dagster")
    carried = {f"api/_vendor/threadjuice_dagster/{path}": (package / path).read_bytes() for path in _CARRIED}
    needs = {"psycopg[binary]": "psycopg", "crawlerdetect": "crawlerdetect"}
    requirements = [f"{name}=={importlib.metadata.version(package)}\n" for name, package in needs.items()]
    return {
        "api/events.py": (package / "operations/engagement/function.py").read_bytes(),
        "api/requirements.txt": "".join(requirements).encode(),
        **carried,
    }


def function_settings(*, bundled: bool = False) -> dict[str, Any]:
    """Return the function's part of ``vercel.json``. By default a Python function contains every file of the site."""
    left_out = f"{{bundles,{_OUTPUT}}}/**" if bundled else _LOOSE_FILES
    return {
        "rewrites": [{"source": path, "destination": "/api/events"} for path in PATHS],
        "functions": {"api/events.py": {"maxDuration": 10, "excludeFiles": left_out}},
    }


def _settings(origins: Collection[str], *, bundled: bool) -> bytes:
    """Return ``vercel.json`` with the site's headers. The site's relative links need the slash after a folder."""
    from threadjuice_dagster.site.headers import header_rules

    settings = {
        "framework": None,
        "buildCommand": _UNPACK if bundled else "",
        "installCommand": "",
        "outputDirectory": _OUTPUT if bundled else ".",
        "cleanUrls": False,
        "trailingSlash": True,
        "headers": [
            {"source": rule.source, "headers": [{"key": name, "value": text} for name, text in rule.headers.items()]}
            for rule in header_rules(origins)
        ],
        **function_settings(bundled=bundled),
    }
    return json.dumps(settings, indent=1).encode()


def _bundles(folder: Path, files: Collection[File]) -> Mapping[str, Content]:
    """Return a function for each bundle, by its path. Files of one folder are in the same bundle."""
    members: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        # By folder, not by file: a story's page and record then change one bundle, not two.
        place = hashlib.sha256(file.path.rpartition("/")[0].encode()).digest()
        members[f"bundles/{int.from_bytes(place[:8]) % BUNDLES:04}.tgz"].append(file.path)
    return {path: functools.partial(_packed, folder, sorted(inside)) for path, inside in sorted(members.items())}


def _packed(folder: Path, paths: Sequence[str]) -> bytes:
    """Return the files as an archive whose bytes depend on paths and contents only."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            data = (folder / path).read_bytes()
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    # mtime=0: a time in the header would give unchanged bundles a new digest.
    return gzip.compress(stream.getvalue(), mtime=0)


def _described(path: str, content: Content) -> File:
    data = content()
    return File(path, hashlib.sha1(data, usedforsecurity=False).hexdigest(), len(data))
