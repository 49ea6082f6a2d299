"""The site as a reader gets it: a page or a picture fetched from a deployment, with the time it took.

What an answer means belongs to whoever asks: ``assets/`` and ``operations/deployment/rules.py``.
"""

import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from threadjuice_dagster.failures import PermanentFailure, ThreadJuiceError
from threadjuice_dagster.operations.deployment.rules import Compared, Speed, compared, typical
from threadjuice_dagster.operations.deployment.targets import Deployer, Opened, Staged
from threadjuice_dagster.resources.http import Answer, look
from threadjuice_dagster.site.markup import Page


class Reading(NamedTuple):
    """What a link led to, and the seconds until all of it was there."""

    link: str
    answer: Answer
    seconds: float

    @property
    def text(self) -> str:
        """The page."""
        return self.answer.body.decode(errors="replace")


def read(site: Opened, link: str) -> Reading:
    """What a link of the front page leads to. Only the site's own address is sent the headers that open it.

    Raises ``TransientFailure`` where nothing answers.
    """
    address = urljoin(f"{site.url.rstrip('/')}/", link)
    own = urlsplit(address).netloc == urlsplit(site.url).netloc
    began = time.monotonic()
    answer = look(address, site.headers if own else None)
    return Reading(link, answer, time.monotonic() - began)


def read_page(site: Opened, link: str) -> Reading:
    """A page of the site. Raises ``PermanentFailure`` if it is not there."""
    reading = read(site, link)
    if reading.answer.status != 200:
        message = f"{link} answers {reading.answer.status} on the live site."
        raise PermanentFailure(message, "Deploy again, or: threadjuice deploy rollback")
    return reading


ROUNDS = 5
"""Times each is fetched; of a figure the median counts. A round before these opens the connections."""


def compared_with_live(deployer: Deployer, staged: Staged) -> list[Compared]:
    """Front page, first story, first picture and feed of both; nothing where nothing is live.

    Raises ``ThreadJuiceError`` if the staged deployment does not answer.
    """
    if not deployer.live():
        return []
    with ExitStack() as stack:
        places = [stack.enter_context(deployer.opened(one)) for one in (staged, None)]
        links = [_links(places[0]), {}]
        with suppress(ThreadJuiceError):  # a live site that does not answer is nothing to be held against
            links[1] = _links(places[1])
        found: list[defaultdict[str, list[Speed]]] = [defaultdict(list), defaultdict(list)]
        for number in range(ROUNDS + 1):
            for place, named, speeds in zip(places, links, found, strict=True):
                for name, link in named.items():
                    if number:
                        speeds[name].append(_measured(place, link))
    mine, theirs = ({name: typical(samples) for name, samples in speeds.items()} for speeds in found)
    return compared(mine, theirs)


def _links(site: Opened) -> dict[str, str]:
    """What is fetched of a site, by name."""
    page = Page(read_page(site, "/").text)
    story = next((link for link in page.links() if "story/" in link), "")
    picture = next((picture.choices[0] for picture in page.pictures()), "")
    named = {"front page": "/", "story": story, "picture": picture, "feed": "/feed.xml"}
    return {name: link for name, link in named.items() if link}


def _measured(site: Opened, link: str) -> Speed:
    reading = read(site, link)
    answer = reading.answer
    return Speed(first_byte_ms=answer.first_byte * 1000, whole_ms=reading.seconds * 1000, bytes=len(answer.body))
