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
from servers.loopback import LoopbackServer, Reply, Request
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
        code = "from threadjuice_dagster.cli.app import main; main()"
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


MUTATION = """mutation { addDynamicPartition(partitionsDefName: "stories", partitionKey: "attacked",
    repositorySelector: {repositoryLocationName: "threadjuice", repositoryName: "__repository__"}) { __typename } }"""
ATTACK = """async ([ui, mutation]) => {
    const address = `${ui}/graphql?query=${encodeURIComponent(mutation)}`
    const body = JSON.stringify({query: mutation}), outcomes = []
    const add = (name, wishes) => document.body.appendChild(Object.assign(document.createElement(name), wishes))
    const ended = element => new Promise(done => { element.onload = element.onerror = done })
    const form = 'application/x-www-form-urlencoded'
    for (const type of ['text/plain', 'text/plain; application/json', form, 'application/json'])
        for (const mode of ['no-cors', 'cors'])
            await fetch(address, {method: 'POST', mode, credentials: 'include', headers: {'Content-Type': type}, body})
                .then(answer => outcomes.push(answer.type), () => {})
    await fetch(address, {mode: 'no-cors', credentials: 'include'}).catch(() => {})
    navigator.sendBeacon(address, new Blob([body], {type: 'text/plain'}))
    await ended(add('img', {src: address}))
    await ended(add('iframe', {src: `${ui}/overview`}))
    const socket = new WebSocket(`${ui.replace('http', 'ws')}/graphql`, 'graphql-ws')
    outcomes.push(await new Promise(done => {
        socket.onopen = () => done('socket')
        socket.onerror = () => done('no socket')
    }))
    const sent = add('form', {action: address, method: 'post', enctype: 'text/plain'})
    setTimeout(() => sent.submit(), 0)
    return outcomes
}"""
ASK = """async query => {
    const headers = {'Content-Type': 'application/json'}
    return (await fetch('/graphql', {method: 'POST', headers, body: JSON.stringify({query})})).text()
}"""


class OtherSite(LoopbackServer):
    """A site that has nothing to do with the newsroom."""

    def kind_of(self, method: str, path: str, body: bytes) -> str:
        return "page"

    def answer(self, request: Request) -> Reply:
        return Reply(raw=b"<!doctype html><title>Elsewhere</title>", headers={"Content-Type": "text/html"})


def assert_pages_of_other_sites_do_nothing(page: Any, ui: str) -> None:
    """Neither from another port of the same machine nor under another name of it, once the UI has been visited."""
    with OtherSite() as other:
        for site in (other.url, other.url.replace("127.0.0.1", "localhost")):
            page.goto(site)
            outcomes = page.evaluate(ATTACK, [ui, MUTATION])
            assert set(outcomes) == {"no socket"}
            page.wait_for_url(f"{ui}/graphql**")
            assert page.locator("body").inner_text().strip() == "Requests of other sites are refused."
        page.goto(f"{other.url}/link")
        page.evaluate("ui => { location = ui + '/overview' }", ui)
        page.get_by_text("Timeline").first.wait_for(timeout=60_000)  # a link still leads to the UI
    partitions = "{ assetNodes { partitionKeys } }"
    assert "attacked" not in page.evaluate(ASK, partitions)
    page.evaluate(ASK, MUTATION)
    assert "attacked" in page.evaluate(ASK, partitions)  # the UI's own page may


def test_a_run_launched_in_the_ui_fails_and_the_alert_leads_back_to_it(
    ui: str, webhook: Webhook, page: Any, tmp_path: Path
) -> None:
    page.goto(ui, timeout=90_000)
    assert_pages_of_other_sites_do_nothing(page, ui)
    page.goto(f"{ui}/assets/threads", timeout=90_000)
    page.get_by_role("button", name="Materialize", exact=False).first.click(timeout=90_000)
    until(lambda: webhook.messages, 150, "an alert")
    (message,) = webhook.messages
    assert (message["type"], message["asset"]) == ("alert", "threads")
    assert message["run"]["url"].startswith(f"{ui}/runs/")
    page.goto(message["run"]["url"], timeout=60_000)
    page.get_by_text("Failure", exact=True).first.wait_for(timeout=60_000)
    page.get_by_text("RUN_FAILURE").first.wait_for(timeout=60_000)
    page.screenshot(path=str(tmp_path / "run.png"))
