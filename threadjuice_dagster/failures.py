"""Define the kinds of failure. Every part raises one of these, and the kind alone decides about a retry."""


class ThreadJuiceError(Exception):
    """An error that an operator can act on: a message of one line and a next step of one line."""

    kind = "error"

    def __init__(self, message: str, next_step: str = "") -> None:
        self.message = _line(message)
        self.next_step = _line(next_step)
        super().__init__(f"{self.message} {self.next_step}".strip())

    @property
    def record(self) -> dict[str, str]:
        """Return the error as it is stored with a story and printed as JSON."""
        return {"kind": self.kind, "message": self.message, "next_step": self.next_step}


def _line(text: str) -> str:
    """Return the text as one line of bounded length, without bytes that a database, terminal or JSON reader refuses."""
    return " ".join(text[:4000].replace("\0", " ").encode(errors="replace").decode().split())


class TransientFailure(ThreadJuiceError):
    """A failure that may pass: an outage, a limit, a time-out. ``retry_after`` is in seconds, if the service gave it.

    ``exhausted`` means that the caller's own retries are used up, so the step is not retried. ``service`` names an
    outside service that is down for every request.
    """

    kind = "transient"

    def __init__(
        self,
        message: str,
        next_step: str = "",
        *,
        retry_after: float | None = None,
        exhausted: bool = False,
        service: str = "",
    ) -> None:
        super().__init__(message, next_step)
        self.retry_after = retry_after
        self.exhausted = exhausted
        self.service = service


class PermanentFailure(ThreadJuiceError):
    """A failure that a retry does not mend: a wrong key, a missing object, refused content."""

    kind = "permanent"


class Unsuitable(PermanentFailure):
    """An editorial outcome: the thread or the answer cannot become a story. Another thread takes its place."""

    kind = "unsuitable"


class UnexpectedFailure(PermanentFailure):
    """An error that no code expects. The run's log has its traceback."""

    kind = "unexpected"


class ConfigurationError(PermanentFailure):
    """A wrong or missing setting. The message names the variable and gives an example."""

    kind = "configuration"


class UsageError(PermanentFailure):
    """A request that cannot be met, such as one for an unknown category. The message lists what there is."""

    kind = "usage"


class BudgetSpent(ThreadJuiceError):
    """The day's budget allows no further request. Stories wait for the next day, or for a higher budget."""

    kind = "waiting"

    def __init__(self, message: str) -> None:
        super().__init__(
            message, "Wait for the next day (UTC), or raise DAILY_BUDGET_USD; then run: threadjuice content generate"
        )


class OrderUnfilled(ThreadJuiceError):
    """Fewer stories were published than an order asked for. The message says how many, and names every cause."""

    kind = "unfilled"


class Interrupted(ThreadJuiceError):
    """Work that somebody stopped, or whose process died. The next order continues it."""

    kind = "interrupted"

    def __init__(self) -> None:
        super().__init__(
            "The work was stopped before its end.", "Run it again: threadjuice content generate, or the same command."
        )
