"""A server that runs in a thread of this process."""

import asyncio
import concurrent.futures
import contextlib
import threading
import time

import httpx
import uvicorn

from vl2.server.app import create_app
from vl2.server.patience import impatient
from vl2.server.running import DrainingServer
from vl2.server.settings import Settings


class Served:
    """A server that runs in a thread of this process."""

    def __init__(self, app):
        self.app = app
        self.answering = app.state.answering
        config = uvicorn.Config(
            app,
            port=0,
            http=impatient(self.answering.settings.header_seconds),
            ws="none",
            log_level="error",
            timeout_graceful_shutdown=2,
        )
        self.server = DrainingServer(config, self.answering)
        self.thread = threading.Thread(target=self.server.run)

    @property
    def port(self):
        return self.server.servers[0].sockets[0].getsockname()[1]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options):
        return httpx.Client(base_url=self.url, trust_env=False, timeout=60, **options)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


def _mounted(mount, app):
    """Mount where a loop runs: elsewhere the page's framework makes some and closes none."""

    async def mounted():
        mount(app)

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, mounted()).result()


@contextlib.contextmanager
def serving(assistant, mount=None, **settings):
    app = create_app(assistant, Settings(**settings))
    if mount is not None:
        _mounted(mount, app)
    served = Served(app)
    served.thread.start()
    while not served.server.started:
        time.sleep(0.01)
    try:
        yield served
    finally:
        served.stop()
