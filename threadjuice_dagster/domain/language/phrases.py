"""Phrases that give a text away as filler, platitude or advertisement, in small letters with straight apostrophes.

Patterns only; what they cost is decided in ``domain/judging/rubric.py``.
"""

import re

FILLER = re.compile(
    r"\b(?:lorem ipsum|dolor sit amet|consectetur adipiscing|sed do eiusmod|ut labore et dolore"
    r"|(?:content|text|story|paragraph|copy) goes here|(?:insert|add|put|write) (?:\w+ ){1,4}here\b"
    r"|your (?:text|content|story) here|placeholder (?:text|content)|(?:sample|dummy) (?:text|paragraph)\b"
    r"|this is (?:a|the) (?:test|sample|placeholder|filler|dummy)\b|as an ai (?:language )?model"
    r"|duis aute|excepteur sint|ut enim ad minim|quis nostrud"
    r"|(?:is|are) to be (?:written|filled in|completed) (?:later|here)"
    r"|your (?:text|content|words) (?:will|goes?|appears?)\b|replace this (?:text|paragraph|section)\b"
    r"|(?:more )?(?:text|content|details|copy) (?:will follow|to (?:follow|come))\b|(?:todo|tbd|tktk)\b)"
    r"|\{\{[^}]*\}\}|\[(?:insert|your|name|quote|date|place|link|image|todo|tbd)[^\]]*\]"
)
"""What stands where a text is still to be written."""

GENERIC = re.compile(
    r"\b(?:it(?:'s| is) (?:important|essential|crucial|vital|worth noting|always a good idea|no secret)\b"
    r"|in today's (?:\S+ ){0,3}(?:world|society|age)|fast-paced\b|communication is key|in conclusion\b"
    r"|(?:there are|come in|a) (?:many|various|several|variety of|wide range of|number of) (?:different )?"
    r"(?:ways|reasons|things|factors|kinds|aspects|opinions|perspectives|tips|benefits)\b|everyone is different\b"
    r"|each (?:person|situation|individual) is (?:unique|different)|when it comes to\b"
    r"|play(?:s|ing)? an? (?:\w+ )?role in\b|make (?:the most|informed|sure to|healthy)\b"
    r"|stay (?:positive|motivated|tuned|organi[sz]ed|focused)\b|achieve (?:your|their) (?:goals|full)|best practices\b"
    r"|key (?:to success|takeaway)|don't forget to|many people (?:believe|think|find|feel|agree|have|struggle|around)"
    r"|some people\b.{0,60}\bwhile others\b|situations? like (?:this|these) (?:can|may|are)\b|life is full of\b"
    r"|at its core\b|take (?:care of yourself|the time to)\b|healthy (?:lifestyle|diet|habits)\b|work-life balance\b"
    r"|opinions? (?:may )?vary\b)"
)
"""Platitudes; a story may have one of them."""

SELLING = re.compile(
    r"\b(?:sign up (?:now|today|for)|(?:click|tap) (?:here|below|the link)|(?:limited|special)[- ]time|world-class"
    r"|seamless(?:ly)?|cutting[- ]edge|state-of-the-art|industry-leading|unlock (?:your|the)|(?:to the )?next level"
    r"|elevate (?:your|the)|empower|(?:free|fast) shipping|money[- ]back|satisfaction guaranteed|follow us on"
    r"|subscribe (?:to|now|today)|(?:shop|order|buy|call) (?:now|today)|don't miss (?:out|this)|act now|learn more"
    r"|get started|(?:satisfied|happy|valued) (?:customers|clients)|trusted by|our (?:\w+ )?(?:platform|customers"
    r"|clients|products?|solutions?|services|collection|experts|newsletter|community|app)\b"
    r"|we (?:deliver|offer|provide|pride ourselves|are committed|are proud)"
    r"|(?:premium|exclusive|unmatched|unbeatable|innovative|tailored|comprehensive|revolutionary) (?:\w+ )?(?:quality"
    r"|solutions?|services?|collection|offers?|experience|tips|range|products?|guide|prices?))\b"
)
"""What sells. One may stand in a story; two are an advertisement."""

TIRED_OPENING = re.compile(
    r"in today's|in this (?:article|post|story|day and age)|welcome (?:to|back)|have you ever (?:wondered|thought|felt)"
    r"|this (?:article|story|post) (?:is|will|explores|discusses)|since the dawn|as we all know|throughout history"
    r"|it is (?:important|well known|no secret)|many people|everyone (?:knows|has)|people often|there are many",
    re.IGNORECASE,
)
BAIT = re.compile(
    r"you won't believe|what happens? next|will (?:shock|blow)|doctors hate|number \d+ will", re.IGNORECASE
)
