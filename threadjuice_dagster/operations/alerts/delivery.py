"""The alert desk: where alerts are delivered. Which there are belongs in ``operations/alerts/service.py``."""

import logging
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dagster as dg

from threadjuice_dagster.failures import TransientFailure
from threadjuice_dagster.operations.alerts.rules import Alert, Undelivered
from threadjuice_dagster.operations.alerts.webhook_answers import refusal
from threadjuice_dagster.operations.alerts.webhook_forms import Format, Reader, summary
from threadjuice_dagster.operations.alerts.webhooks import detect, endpoint, render, sign
from threadjuice_dagster.resources.http import request_once, retry_after
from threadjuice_dagster.resources.postgres import Database

if TYPE_CHECKING:
    from threadjuice_dagster.operations.alerts.service import Watch

log = logging.getLogger(__name__)

AT_ONCE = 50
"""Messages delivered in one go; the next go is seconds away."""

REFUSED = (400, 415, 422)
"""What a webhook answers that does not like this one message, and does not say why."""


SECRET = 8
"""Characters from which a part of a webhook's address may be what makes it secret."""


class AlertDelivery(dg.ConfigurableResource):
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
        from threadjuice_dagster.operations.alerts.service import Watch

        return Watch(instance, self.database.store, self.long_run_minutes)

    def deliver(self) -> int:
        """Deliver what is due; returns how many messages arrived. The rest waits, and is tried again."""
        from threadjuice_dagster.operations.alerts.store import Incidents

        return Incidents(self.database.store.engine).deliver(self.send, AT_ONCE, lambda: datetime.now(UTC))

    def send(self, alert: Alert) -> None:
        """Deliver one message. Raises ``Undelivered``, which says why without the webhook's address."""
        reader = Reader(ui_url=self.ui_url, runbook_url=self.runbook_url)
        if not self.webhook:
            trouble = alert.incident.trouble
            log.warning("%s. %s %s See %s.", summary(alert), trouble.message, trouble.next_step, reader.runbook(alert))
            return
        form: Format = self.format or detect(self.webhook)  # type: ignore[assignment]
        body = render(alert, form, reader, self.webhook)
        headers = {"Content-Type": "application/json", **sign(self.secret, alert.id, int(time.time()), body)}
        try:
            answer = request_once(endpoint(self.webhook, form), headers, "POST", self.timeout_seconds, body)
        except TransientFailure as error:
            raise Undelivered(error.message) from error
        refused = refusal(form, answer.status, answer.body)
        if refused is None:
            return
        wait = refused.retry_after or retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC))
        step = " Mend MONITORING_WEBHOOK." if refused.blame == "webhook" else ""
        problem = f"The webhook answered {self._without_address(refused.reason)}.{step}"
        log.warning("%s %s", problem, summary(alert))
        alone = refused.blame == "unknown" and (answer.status in REFUSED or answer.status < 300)
        raise Undelivered(problem, alone=alone, final=refused.blame == "message", retry_after=wait)

    def _without_address(self, text: str) -> str:
        """What a service said without the parts of the webhook's address, which are its secret."""
        parts = urlsplit(self.webhook)
        secrets = [*re.split(r"[/&=]", f"{parts.path}&{parts.query}"), parts.password or ""]
        for secret in sorted(filter(lambda part: len(part) >= SECRET, secrets), key=len, reverse=True):
            text = text.replace(secret, "…")
        return text.rstrip(".")
