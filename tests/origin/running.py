"""An origin as a child process, for tests written in Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Origin:
    """Started on construction; `with` stops it."""

    def __init__(self, root: str, *options: str, timeout: float = 10):
        self.root = root
        info = os.path.join(root, "origin.json")
        if os.path.exists(info):
            os.unlink(info)
        self._process = subprocess.Popen([sys.executable, os.path.join(HERE, "origin.py"),
                                          "--root", root, "--info", info, *options])
        deadline = time.monotonic() + timeout
        while not os.path.exists(info):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("the origin did not start")
            time.sleep(0.01)
        with open(info, encoding="utf-8") as file:
            urls = json.load(file)
        self.hub, self.cdn, self.web = urls["hub"], urls["cdn"], urls["web"]

    def stop(self) -> int:
        """End it; its exit status."""
        self._process.terminate()
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> "Origin":
        return self

    def __exit__(self, *_) -> None:
        self.stop()
