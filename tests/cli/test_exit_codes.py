"""An unknown name is wrong usage: every command exits with 2 and says what to do."""

import pytest
from command import threadjuice

UNKNOWN = {
    "show": ("content", "show", "nothing"),
    "publish": ("content", "publish", "nothing"),
    "takedown": ("content", "takedown", "nothing", "--reason", "asked to"),
    "validate": ("content", "validate", "nothing"),
    "list": ("content", "list", "--status", "nothing"),
    "generate, category": ("content", "generate", "--category", "nothing"),
    "generate, persona": ("content", "generate", "--persona", "nothing"),
    "mute": ("alerts", "mute", "nothing", "--for", "1h"),
    "mute, duration": ("alerts", "mute", "nothing", "--for", "soon"),
    "rollback": ("deploy", "rollback", "nothing"),
    "restore": ("database", "restore", "nothing"),
}


@pytest.mark.parametrize("arguments", UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_name_exits_with_two_and_a_next_step(
    newsroom_environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    code, document, message = threadjuice(*arguments)
    assert code == 2, (document, message)
    assert document["error"]["kind"] == "usage"
    assert document["error"]["next_step"]
