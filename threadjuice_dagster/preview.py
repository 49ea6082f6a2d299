"""What an operator sees of a story in the Dagster UI: Markdown with the story's own text escaped."""

import re
from collections.abc import Callable

from threadjuice_dagster.domain.images import StoryImage, Variant
from threadjuice_dagster.domain.stories import StoryDraft
from threadjuice_dagster.domain.text import cut
from threadjuice_dagster.domain.verdicts import QualityScore

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~&-])")


def escape(text: str) -> str:
    """Text as Markdown that shows as exactly that text: no markup, no link, no HTML of its own."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("\\<", "&lt;").replace("\\>", "&gt;")


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
        lines += [f"> {escape(quote.text)} (comment {escape(quote.comment_id)})" for quote in quotes]
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


def image_markdown(image: StoryImage, address: Callable[[Variant], str]) -> str:
    """The picture itself with its credit; ``address`` says where a browser gets a variant."""
    shown = min((v for v in image.variants if v.format == "jpeg"), key=lambda v: v.width, default=None)
    if shown is None:
        return escape(image.credit)
    return f"![{escape(cut(image.alt_text, 120))}]({address(shown)})\n\n{escape(image.credit)}"


def cut_markdown(parts: list[str]) -> str:
    """Paragraphs joined, as many as stay under 1,000 characters."""
    text = ""
    for part in filter(None, parts):
        if len(text) + len(part) > 980:
            break
        text += part + "\n\n"
    return text.strip()
