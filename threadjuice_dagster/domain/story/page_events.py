"""The events that a story's page reports and the newsroom counts.

This file imports nothing: the function that receives reports on Vercel is deployed with it.
"""

QUARTERS = (25, 50, 75, 100)
"""How far down its text a story was read, in per cent."""

REACTIONS = {"juicy": "Juicy", "moving": "Moving", "funny": "Funny"}
"""What a reader may say of a story, and how its button is labelled."""

EVENTS = (
    "view",
    *(f"depth:{quarter}" for quarter in QUARTERS),
    "share:native",
    "share:link",
    *(f"reaction:{name}" for name in REACTIONS),
)
"""Everything that is counted. A page view tells each at most once."""
