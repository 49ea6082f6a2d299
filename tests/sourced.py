"""One thread from each source, as its parser hands it in. Every text was written for this project."""

from datetime import UTC, datetime, timedelta
from typing import Any

from threadjuice_dagster.domain.story.terms import SOURCES
from threadjuice_dagster.domain.story.threads import Author, Comment, SourceName, Thread

ASKED = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
LICENCE = "cc-by-sa-4.0"
WORKPLACE = "https://workplace.stackexchange.com"

QUESTION = """For six years I have written the rota for the night crew of a parcel depot. It has lived in one
spreadsheet on my laptop, with colours that only I understand. In January the depot bought a
planning program, and I was asked to move everything over by Easter.

The program refuses to let two people swap a shift unless a manager approves it first. My crew has
swapped shifts on a clipboard by the kettle since before I came, and nobody has ever missed one.
Last week I kept the clipboard beside the program, and my manager called that undermining the
project in front of the whole crew.

How can I explain that the clipboard works without looking as if I am fighting the new program?"""

ACCEPTED = """Stop arguing about the clipboard and start counting it. Write down every swap for four weeks: who
asked, who took the shift, and how long it took to settle. At the end you hold forty or fifty swaps
with no missed shift, and that is a different conversation from an opinion about software.

Then ask your manager for one thing only, which is a rule in the program that approves a swap when
both people have signed it. Most planning programs have such a rule and nobody switches it on. You
are then the person who made the program work, and the clipboard can retire with honour.

Do not keep both systems running without saying so. Two records that disagree are worse than either
alone, and the day a driver is missing everybody will look at you."""

SECOND = """Your manager did not hear a remark about swaps. What your manager heard was that the project has an
opponent, and projects with a deadline are nervous about opponents. Ask for ten minutes alone, say
first what the program does better than your spreadsheet, and only then bring up the kettle.

I ran a hospital pharmacy through the same change. The people who helped me most were those who told
me early, in private, and with an example on paper. The people who told me in the corridor were
right just as often, and I remember none of their arguments."""

THIRD = """Consider that the approval may be there for a reason that nobody told you. Night work has rest
rules, and in many places an employer must be able to show that eleven hours lay between two shifts.
A clipboard shows who worked, but it does not stop a tired driver from taking a third night in a
row.

Ask which rule the approval is meant to keep. If it is the rest rule, a swap between two rested
people is harmless and can be approved in advance."""

REMARKS = (
    (
        "98771",
        "98767",
        "We did exactly this at a bakery, and the count took the heat out of it within a fortnight.",
        14,
    ),
    ("98772", None, "Does the program have a trial account that you could show to the crew before Easter?", 6),
)

POST = """Our house has one freezer for four flats, and since August it has been ruled by a laminated label
that says CRUMBLE, DO NOT MOVE. Nobody has ever seen a crumble. I moved in with a bag of peas and
was told, very kindly, that the bottom drawer was spoken for.

Last Sunday the power went off for nine hours. We stood around the open freezer with torches and
bowls, and the woman from the top floor finally lifted the label. Underneath was a shoebox full of
letters, dry as toast, wrapped in three bread bags. She put it under her arm, said that it had been
the safest place in the building, and went upstairs.

Should I ask her about the letters, or is this the moment to quietly claim the drawer for my peas?"""

REPLIES = (
    "Claim the drawer, and leave a bag of peas at her door with a note. She will tell you about it all by Christmas.",
    "My grandmother kept her wedding telegrams under the fish fingers, because burglars never look below the fish.",
    "I disagree with everybody who says to ask. Somebody who hides letters under a crumble has answered that already.",
    "Check the door seal before you put anything back in. Nine hours without power is long, and a worn seal leaks.",
    "The real question is who laminated the label, because that person owns a machine and is not to be crossed.",
    "Write to the landlord and ask for a second freezer. Keep the old one for letters, since it has proved itself.",
)

_PLACES: dict[SourceName, tuple[str, str, str, str]] = {
    "reddit": ("reddit-1frz01", "reddit:flatshare", "flatshare", "https://www.reddit.com/r/flatshare/comments/1frz01/"),
    "hackernews": ("hn-41234567", "hackernews:ask", "Hacker News", "https://news.ycombinator.com/item?id=41234567"),
    "lemmy": ("lemmy-lemmy.world-4711", "lemmy:lemmy.world/c/housing", "housing", "https://lemmy.world/post/4711"),
    "discourse": (
        "discourse-talk.example.org-42",
        "discourse:https://talk.example.org",
        "Shared Houses",
        "https://talk.example.org/t/the-crumble/42",
    ),
    "submission": ("submission-frz01", "", "unknown", ""),
    "sample": ("sample-frz01", "samples", "flatshare", "https://www.reddit.com/r/flatshare/comments/frz01/"),
}


def thread_from(source: SourceName, **changes: Any) -> Thread:
    """Return the thread of one source: a question with answers of Stack Exchange, else the story of a freezer."""
    thread = _question() if source == "stackexchange" else _freezer(source)
    return thread.model_copy(update=changes)


def every_thread() -> list[Thread]:
    """Return one thread from each source."""
    return [thread_from(source) for source in SOURCES]


def link_post(source: SourceName = "hackernews") -> Thread:
    """Return a post that is a title and a link."""
    title = "A freezer that kept letters dry for forty years"
    return thread_from(source, title=title, body="", link="https://museum.example/letters")


def author(name: str, number: int) -> Author:
    """Return somebody who wrote on Stack Exchange."""
    return Author(name=name, url=f"{WORKPLACE}/users/{number}/{name.lower().replace(' ', '-')}")


def _question() -> Thread:
    answers = (
        ("98767", ACCEPTED, 61, True, author("Orla Penhaligon", 501)),
        ("98768", SECOND, 44, False, author("T. Vasquez-Lind", 502)),
        ("98769", THIRD, 9, False, None),
    )
    comments = [
        Comment(
            id=number,
            body=text,
            kind="answer",
            accepted=accepted,
            score=score,
            created_at=ASKED + timedelta(hours=place + 1),
            permalink=f"{WORKPLACE}/a/{number}",
            author=who,
        )
        for place, (number, text, score, accepted, who) in enumerate(answers)
    ]
    comments += [
        Comment(
            id=number,
            body=text,
            score=score,
            parent_id=parent,
            depth=int(parent is not None),
            created_at=ASKED + timedelta(hours=8),
            permalink=f"{WORKPLACE}/questions/98765/#comment{number}_{parent or '98765'}",
            author=author("Benedikta Rowe", 503),
        )
        for number, parent, text, score in REMARKS
    ]
    return Thread(
        id="se-workplace-98765",
        source="stackexchange",
        spec="stackexchange:workplace",
        community="workplace",
        title="How do I defend a clipboard without fighting the new planning program?",
        body=QUESTION,
        permalink=f"{WORKPLACE}/questions/98765/how-do-i-defend-a-clipboard",
        licence=LICENCE,
        author=author("Rota Keeper", 500),
        score=37,
        num_comments=len(comments),
        created_at=ASKED,
        comments=tuple(comments),
    )


def _freezer(source: SourceName) -> Thread:
    key, spec, community, permalink = _PLACES[source]
    return Thread(
        id=key,
        source=source,
        spec=spec,
        community=community,
        title="The label on our freezer said crumble, and it was never crumble",
        body=POST,
        permalink=permalink,
        score=212,
        num_comments=len(REPLIES),
        created_at=ASKED,
        comments=tuple(
            Comment(
                id=f"c{number}",
                body=text,
                score=90 - number,
                created_at=ASKED + timedelta(hours=number),
                permalink="" if source in ("reddit", "sample", "submission") else f"{permalink}#c{number}",
            )
            for number, text in enumerate(REPLIES)
        ),
    )
