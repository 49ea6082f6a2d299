"""A webhook as chat services and programs have them: takes messages, and fails when it is told to."""

from typing import Any

from servers.loopback import LoopbackServer, Reply, Request


class Webhook(LoopbackServer):
    """Every POST is a message, under the kind ``alert``."""

    prefix = "/hook/s3cr3t-part"

    def kind_of(self, method: str, path: str, body: bytes) -> str:
        return "alert"

    def answer(self, request: Request) -> Reply:
        return Reply({"ok": True})

    @property
    def messages(self) -> list[Any]:
        """Every message that was sent, in the order of arrival, whether it was taken or not."""
        return [request.json for request in self.seen("alert")]
