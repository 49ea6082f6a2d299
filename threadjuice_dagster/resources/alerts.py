"""The alert desk: where alerts are delivered. Which there are belongs in ``resources/watch.py``."""

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.domain.incidents import Alert, Undelivered
from threadjuice_dagster.domain.webhooks import Format, Reader, detect, render, sign, summary
from threadjuice_dagster.failures import TransientFailure
from threadjuice_dagster.resources.http import look, retry_after
from threadjuice_dagster.resources.postgres import Database

if TYPE_CHECKING:
    from threadjuice_dagster.resources.watch import Watch

log = logging.getLogger(__name__)

AT_ONCE = 50
"""Messages delivered in one go; the next go is seconds away."""

REFUSED = (400, 413, 415, 422)
"""What a webhook answers that does not like this one message."""


class AlertDesk(dg.ConfigurableResource):
    """Delivers what waits in the outbox to the webhook, or to the log where there is none.

    ``format`` is empty to go by the webhook's address. A ``secret`` has every message signed. ``ui_url`` and
    ``runbook_url`` are what links lead to.
    """

    database: dg.ResourceDependency[Database]
    webhook: str = ""
    secret: str = ""
    format: str = ""
    ui_url: str = "http://127.0.0.1:3000"
    runbook_url: str = "docs/EMERGENCY.md"
    long_run_minutes: float = 60.0
    timeout_seconds: float = 10.0

    def watch(self, instance: dg.DagsterInstance) -> "Watch":
        """The watch over an instance, with the thresholds of the settings."""
        from threadjuice_dagster.resources.watch import Watch

        return Watch(instance, self.database.store, self.long_run_minutes)

    def deliver(self) -> int:
        """Deliver what is due; returns how many messages arrived. The rest waits, and is tried again."""
        return self.database.store.incidents.deliver(self.send, AT_ONCE, lambda: datetime.now(UTC))

    def send(self, alert: Alert) -> None:
        """Deliver one message. Raises ``Undelivered``, which says why without the webhook's address."""
        reader = Reader(ui_url=self.ui_url, runbook_url=self.runbook_url)
        if not self.webhook:
            trouble = alert.incident.trouble
            log.warning("%s. %s %s See %s.", summary(alert), trouble.message, trouble.next_step, reader.runbook(alert))
            return
        form: Format = self.format or detect(self.webhook)  # type: ignore[assignment]
        body = render(alert, form, reader)
        headers = {"Content-Type": "application/json", **sign(self.secret, alert.id, int(time.time()), body)}
        try:
            answer = look(self.webhook, headers, "POST", self.timeout_seconds, body)
        except TransientFailure as error:
            raise Undelivered(error.message) from error
        if 200 <= answer.status < 300:
            return
        wait = retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
        problem = f"The webhook answered {answer.status}."
        log.warning("%s %s", problem, summary(alert))
        raise Undelivered(problem, alone=answer.status in REFUSED, retry_after=wait)
