"""How stories are shown in the Dagster UI: as Markdown in which the story's own text is escaped."""

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
"""An invisible character. Dagster's UI makes a link of every bare address, escaped or not, unless this stands in it."""


def escape(text: str) -> str:
    """Return Markdown that shows exactly this text: no markup, link, picture or HTML in it takes effect."""
    unlinked = _ADDRESS.sub(_JOINER, " ".join(text.split()))
    return _SPECIAL.sub(r"\\\1", unlinked).replace("\\<", "&lt;").replace("\\>", "&gt;")


def code(text: str) -> str:
    """Return a name or a line as Markdown code; backticks become apostrophes."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def described(text: str) -> str:
    """Return a description that reads the same as plain text and in the UI, which takes it for Markdown.

    The UI fetches no picture for it, and links only to addresses that it shows.
    """
    return _LINK.sub(_JOINER, text)


def story_summary(story: StoryDraft) -> str:
    """Return headline, dek and first paragraph in under 1,000 characters, the most that the UI shows inline."""
    draft = story.draft
    parts = [f"**{escape(cut(draft.title, 120))}**", f"*{escape(cut(draft.dek, 160))}*" if draft.dek else ""]
    return cut_markdown([*parts, escape(cut(draft.sections[0].text, 320))])


def story_markdown(story: StoryDraft) -> str:
    """Return the whole story with its quotes where the page shows them."""
    lines = [f"# {escape(story.draft.title)}", f"*{escape(story.draft.dek)}*"]
    for section, quotes in story.draft.layout():
        if section.heading:
            lines.append(f"## {escape(section.heading)}")
        mark = "> " if section.kind == "excerpt" else ""
        lines += [mark + escape(paragraph) for paragraph in section.text.split("\n\n")]
        lines += [f"> {escape(quoted.text)} (comment {escape(quoted.comment_id)})" for quoted in quotes]
    return "\n\n".join(lines)


def score_table(score: QualityScore) -> str:
    """Return a table of every dimension of rubric and judge with its evidence."""
    rows = [
        f"| rubric: {dimension.name} | {dimension.score:.1f} | {escape(cut('; '.join(dimension.evidence), 200))} |"
        for dimension in score.rubric.dimensions
    ]
    if score.judge:
        rows += [
            f"| judge: {name} | {rated.median} of 5 | {escape(cut(rated.evidence, 200))} |"
            for name, rated in score.judge.dimensions.items()
        ]
    return "\n".join(["| dimension | score | evidence |", "|---|---|---|", *rows])


def quote_table(score: QualityScore) -> str:
    """Return a table of every quote with its comment and its place in the comment."""
    rows = [
        f"| {escape(cut(quoted.text, 100))} | {escape(quoted.comment_id)} "
        f"| {f'{quoted.start} to {quoted.end}' if quoted.found else escape(quoted.message)} |"
        for quoted in score.grounding.quotes
    ]
    return "\n".join(["| quote | comment | characters |", "|---|---|---|", *rows]) if rows else "none"


def review_list(stories: Sequence[StoryRecord]) -> str:
    """Return the stories that wait for a person: score, reasons and opening of each."""
    return "\n\n".join(map(_waiting, stories)) or "No story waits for a decision."


def decision_list(decisions: Sequence[Decision]) -> str:
    """Return a list of decisions as the audit has them."""
    lines = (
        f"* {decision.at:%Y-%m-%d %H:%M}, {escape(decision.actor)}: {decision.action} `{decision.story_id}`, "
        f"{escape(cut(decision.reason, 200))}"
        for decision in decisions
    )
    return "\n".join(lines) or "No decisions yet."


def _waiting(story: StoryRecord) -> str:
    score = "no score" if story.score is None else f"{story.score:.1f} of 10"
    reasons = [f"* {reason.check}: {escape(cut(reason.message, 300))}" for reason in story.reasons]
    opening = escape(cut(story.sections[0].text, 240)) if story.sections else ""
    head = f"**{escape(cut(story.title, 120))}** ({story.status}, {score})\n\n`{story.id}`"
    return "\n\n".join(filter(None, [head, "\n".join(reasons), f"> {opening}" if opening else ""]))


def image_markdown(image: StoryImage, address: Callable[[Variant], str]) -> str:
    """Return the picture with its credit; ``address`` returns the address of a variant."""
    shown = min((v for v in image.variants if v.format == "jpeg"), key=lambda v: v.width, default=None)
    if shown is None:
        return escape(image.credit)
    place = quote(address(shown), safe=":/?#@&=+$,;~%")  # a bracket would end the picture's address
    return f"![{escape(cut(image.alt_text, 120))}]({place})\n\n{escape(image.credit)}"


def cut_markdown(parts: list[str]) -> str:
    """Return the paragraphs joined, as many as fit into 1,000 characters."""
    text = ""
    for part in filter(None, parts):
        if len(text) + len(part) > 980:
            break
        text += part + "\n\n"
    return text.strip()
