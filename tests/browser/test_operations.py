"""An operator's morning in the real Dagster UI: launch, fail, be alerted, open the failed run by the alert's link."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.reddit_server import RedditServer
from servers.webhook import Webhook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def until(found: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if result := found():
                return result
        except OSError:
            pass
        time.sleep(0.5)
    return pytest.fail(f"waited {seconds:.0f} s for {what}")


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        yield server


@pytest.fixture
def ui(newsroom_environment: dict[str, str], webhook: Webhook, tmp_path: Path) -> Iterator[str]:
    """The address of a Dagster UI whose newsroom cannot log in to Reddit."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with RedditServer() as reddit, (tmp_path / "log").open("w") as log:
        reddit.always("token", "401")
        given = {
            "THREADJUICE_PREVIEW_PORT": "0",
            "THREADJUICE_PRODUCTION_PORT": "0",
            "REDDIT_CLIENT_ID": "id",
            "REDDIT_CLIENT_SECRET": "secret",
            "praw_reddit_url": reddit.url,
            "praw_oauth_url": reddit.url,
            "MONITORING_WEBHOOK": webhook.url,
        }
        code = "from threadjuice_dagster.cli import main; main()"
        command = [sys.executable, "-c", code, "dev", "--port", str(port)]
        process = subprocess.Popen(command, env={**os.environ, **given}, stdout=log, stderr=log)
        address = f"http://127.0.0.1:{port}"
        try:
            until(lambda: urllib.request.urlopen(f"{address}/server_info", timeout=5), 120, "the Dagster UI")
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            finally:
                process.kill()


@pytest.fixture
def page() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser.new_page(viewport={"width": 1400, "height": 900})
        browser.close()


def test_a_run_launched_in_the_ui_fails_and_the_alert_leads_back_to_it(
    ui: str, webhook: Webhook, page: Any, tmp_path: Path
) -> None:
    page.goto(f"{ui}/assets/reddit_threads", timeout=90_000)
    page.get_by_role("button", name="Materialize", exact=False).first.click(timeout=90_000)
    until(lambda: webhook.messages, 150, "an alert")
    (message,) = webhook.messages
    assert (message["type"], message["asset"]) == ("alert", "reddit_threads")
    assert message["run"]["url"].startswith(f"{ui}/runs/")
    page.goto(message["run"]["url"], timeout=60_000)
    page.get_by_text("Failure", exact=True).first.wait_for(timeout=60_000)
    page.get_by_text("RUN_FAILURE").first.wait_for(timeout=60_000)
    page.screenshot(path=str(tmp_path / "run.png"))
