"""What an operator sees of a story in the Dagster UI: Markdown with the story's own text escaped."""

import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

from threadjuice_dagster.domain.judging.verdicts import QualityScore
from threadjuice_dagster.domain.language.text import cut
from threadjuice_dagster.domain.pictures.images import StoryImage, Variant
from threadjuice_dagster.domain.story.records import Decision, StoryRecord
from threadjuice_dagster.domain.story.stories import StoryDraft

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~&$-])")
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)(?=\w)", re.IGNORECASE)
_LINK = re.compile(r"(?<=\])(?=\s*[(\[:])|(?<=<)(?=[a-z/!?])", re.IGNORECASE)
_JOINER = "\u2060"
"""Shows nothing. Dagster's UI makes a link of every bare address, escaped or not, unless this stands in it."""


def escape(text: str) -> str:
    """Text as Markdown that shows as exactly that text: no markup, no link, no picture, no HTML of its own."""
    unlinked = _ADDRESS.sub(_JOINER, " ".join(text.split()))
    return _SPECIAL.sub(r"\\\1", unlinked).replace("\\<", "&lt;").replace("\\>", "&gt;")


def code(text: str) -> str:
    """A name or a line as Markdown shows code: as it is, but for backticks."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def described(text: str) -> str:
    """A description that reads the same as plain text, in a chat and in the UI, which takes it for Markdown.

    No picture is fetched for it and nothing links to anywhere but the address it shows.
    """
    return _LINK.sub(_JOINER, text)


def story_summary(story: StoryDraft) -> str:
    """Headline, dek and first paragraph in under 1,000 characters, the most the UI shows inline."""
    draft = story.draft
    parts = [f"**{escape(cut(draft.title, 120))}**", f"*{escape(cut(draft.dek, 160))}*" if draft.dek else ""]
    return cut_markdown([*parts, escape(cut(draft.sections[0].text, 320))])


def story_markdown(story: StoryDraft) -> str:
    """The whole story with its quotes where the page shows them."""
    lines = [f"# {escape(story.draft.title)}", f"*{escape(story.draft.dek)}*"]
    for section, quotes in story.draft.layout():
        if section.heading:
            lines.append(f"## {escape(section.heading)}")
        mark = "> " if section.kind == "excerpt" else ""
        lines += [mark + escape(paragraph) for paragraph in section.text.split("\n\n")]
        lines += [f"> {escape(quoted.text)} (comment {escape(quoted.comment_id)})" for quoted in quotes]
    return "\n\n".join(lines)


def score_table(score: QualityScore) -> str:
    """Every dimension of rubric and judge with its evidence, as a table."""
    rows = [
        f"| rubric: {dimension.name} | {dimension.score:.1f} | {escape(cut('; '.join(dimension.evidence), 200))} |"
        for dimension in score.rubric.dimensions
    ]
    if score.judge:
        rows += [
            f"| judge: {name} | {found.median} of 5 | {escape(cut(found.evidence, 200))} |"
            for name, found in score.judge.dimensions.items()
        ]
    return "\n".join(["| dimension | score | evidence |", "|---|---|---|", *rows])


def quote_table(score: QualityScore) -> str:
    """Every quote with the comment and the characters of it where it stands."""
    rows = [
        f"| {escape(cut(one.text, 100))} | {escape(one.comment_id)} "
        f"| {f'{one.start} to {one.end}' if one.found else escape(one.message)} |"
        for one in score.grounding.quotes
    ]
    return "\n".join(["| quote | comment | characters |", "|---|---|---|", *rows]) if rows else "none"


def review_list(stories: Sequence[StoryRecord]) -> str:
    """Stories that wait for a person: how good, why they wait, and how they begin."""
    return "\n\n".join(map(_waiting, stories)) or "No story waits for a decision."


def decision_list(decisions: Sequence[Decision]) -> str:
    """The newest lines of the audit."""
    lines = (
        f"* {one.at:%Y-%m-%d %H:%M}, {escape(one.actor)}: {one.action} `{one.story_id}`, {escape(cut(one.reason, 200))}"
        for one in decisions
    )
    return "\n".join(lines) or "No decisions yet."


def _waiting(story: StoryRecord) -> str:
    score = "no score" if story.score is None else f"{story.score:.1f} of 10"
    reasons = [f"* {reason.check}: {escape(cut(reason.message, 300))}" for reason in story.reasons]
    opening = escape(cut(story.sections[0].text, 240)) if story.sections else ""
    head = f"**{escape(cut(story.title, 120))}** ({story.status}, {score})\n\n`{story.id}`"
    return "\n\n".join(filter(None, [head, "\n".join(reasons), f"> {opening}" if opening else ""]))


def image_markdown(image: StoryImage, address: Callable[[Variant], str]) -> str:
    """The picture itself with its credit; ``address`` says where a browser gets a variant."""
    shown = min((v for v in image.variants if v.format == "jpeg"), key=lambda v: v.width, default=None)
    if shown is None:
        return escape(image.credit)
    place = quote(address(shown), safe=":/?#@&=+$,;~%")  # a bracket would end the picture's address
    return f"![{escape(cut(image.alt_text, 120))}]({place})\n\n{escape(image.credit)}"


def cut_markdown(parts: list[str]) -> str:
    """Paragraphs joined, as many as stay under 1,000 characters."""
    text = ""
    for part in filter(None, parts):
        if len(text) + len(part) > 980:
            break
        text += part + "\n\n"
    return text.strip()
