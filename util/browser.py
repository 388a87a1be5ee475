"""A headless Chromium for screenshots and for tests of the pages, over its DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from util.errors import UserError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --mute-audio --no-proxy-server "
    "--remote-debugging-port=0 --remote-allow-origins=*"
).split()


NOTED = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


def find_chromium() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """``with Browser() as browser: browser.open(url); browser.evaluate("document.title")``"""

    def __init__(self, width: int = 1440, height: int = 900, dark: bool = False):
        import websocket  # websocket-client, which comes with visdom

        program = find_chromium()
        if program is None:
            raise UserError(f"no Chromium found on PATH; looked for {', '.join(NAMES)}")
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        # Chromium's sandbox refuses to run for root
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            [program, *FLAGS, *root, f"--user-data-dir={self.profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.calls, self.log = 0, []  # log: the page's errors and console messages
        try:
            port = self._port()
            direct = build_opener(ProxyHandler({}))
            pages = json.load(direct.open(f"http://127.0.0.1:{port}/json/list", timeout=30))
            page = next(page for page in pages if page["type"] == "page")
            self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=60)
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
            self.resize(width, height)
            self.set_dark(dark)
        except BaseException:
            self.close()
            raise

    def _port(self, seconds: float = 30) -> int:
        path = Path(self.profile) / "DevToolsActivePort"
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            if path.exists() and (lines := path.read_text().split()):
                return int(lines[0])
            time.sleep(0.05)
        raise RuntimeError(f"Chromium opened no DevTools port (exit status {self.process.poll()})")

    def call(self, method: str, **parameters) -> dict:
        """One command of the protocol. The page's errors and messages that arrive meanwhile go to ``log``."""
        self.calls += 1
        self.socket.send(json.dumps({"id": self.calls, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.calls:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            if message.get("method") in NOTED:
                self.log.append(message["params"])

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def set_dark(self, dark: bool) -> None:
        value = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def open(self, url: str) -> None:
        """Load a page and wait until its images and scripts are there."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, script: str):
        """The JSON value of an expression in the page (a promise is awaited)."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", script))
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 30):
        """Until the expression is true; its value. The last value is named if it never is."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(script)):
            if time.monotonic() > end:
                raise TimeoutError(f"still {value!r} after {seconds} s: {script}")
            time.sleep(0.1)
        return value

    def press(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=text if kind == "keyDown" else "")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one point of the window, release at the other; a click if they are the same."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def screenshot(self, path: str | Path | None = None) -> bytes:
        """The window as PNG."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            Path(path).write_bytes(data)
        return data

    def close(self) -> None:
        if hasattr(self, "socket"):
            self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
