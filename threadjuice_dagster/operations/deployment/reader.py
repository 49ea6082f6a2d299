"""Fetch pages and pictures of a deployment as a reader does, and time them beside those of the live one.

What the figures mean belongs in ``operations/deployment/rules.py``.
"""

import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from threadjuice_dagster.failures import PermanentFailure, ThreadJuiceError
from threadjuice_dagster.operations.deployment.rules import Compared, Speed, compared, typical
from threadjuice_dagster.operations.deployment.targets import Deployer, Opened, Staged
from threadjuice_dagster.resources.http import Answer, request_once
from threadjuice_dagster.site.markup import Page


class Fetched(NamedTuple):
    """The answer to a link, and the seconds until all of it had arrived."""

    link: str
    answer: Answer
    seconds: float

    @property
    def text(self) -> str:
        """The page."""
        return self.answer.body.decode(errors="replace")


def read(site: Opened, link: str) -> Fetched:
    """Fetch a link of the front page. The headers that open a protected site are sent to its own address only.

    Raises ``TransientFailure`` without an answer.
    """
    address = urljoin(f"{site.url.rstrip('/')}/", link)
    own = urlsplit(address).netloc == urlsplit(site.url).netloc
    began = time.monotonic()
    answer = request_once(address, site.headers if own else None)
    return Fetched(link, answer, time.monotonic() - began)


def read_page(site: Opened, link: str) -> Fetched:
    """Fetch a page of the site. Raises ``PermanentFailure`` if it is missing."""
    reading = read(site, link)
    if reading.answer.status != 200:
        message = f"{link} answers {reading.answer.status} on the live site."
        raise PermanentFailure(message, "Deploy again, or: threadjuice deploy rollback")
    return reading


ROUNDS = 5
"""Times that each address is fetched, of which the median counts. One more round before opens the connections."""


def compared_with_live(deployer: Deployer, staged: Staged) -> list[Compared]:
    """Time front page, first story, first picture and feed of both, in turns, so that a busy moment strikes both.

    Return nothing where nothing is live. Raises ``ThreadJuiceError`` if the staged deployment does not answer.
    """
    if not deployer.live():
        return []
    with ExitStack() as stack:
        places = [stack.enter_context(deployer.opened(deployment)) for deployment in (staged, None)]
        links = [_links(places[0]), {}]
        with suppress(ThreadJuiceError):  # a live site that does not answer cannot be compared with
            links[1] = _links(places[1])
        samples: list[defaultdict[str, list[Speed]]] = [defaultdict(list), defaultdict(list)]
        for number in range(ROUNDS + 1):
            for place, named, speeds in zip(places, links, samples, strict=True):
                for name, link in named.items():
                    if number:
                        speeds[name].append(_measured(place, link))
    mine, theirs = ({name: typical(figures) for name, figures in speeds.items()} for speeds in samples)
    return compared(mine, theirs)


def _links(site: Opened) -> dict[str, str]:
    """Return the links of a site that are timed, by name."""
    page = Page(read_page(site, "/").text)
    story = next((link for link in page.links() if "story/" in link), "")
    picture = next((picture.choices[0] for picture in page.pictures()), "")
    named = {"front page": "/", "story": story, "picture": picture, "feed": "/feed.xml"}
    return {name: link for name, link in named.items() if link}


def _measured(site: Opened, link: str) -> Speed:
    reading = read(site, link)
    answer = reading.answer
    return Speed(first_byte_ms=answer.first_byte * 1000, whole_ms=reading.seconds * 1000, bytes=len(answer.body))
