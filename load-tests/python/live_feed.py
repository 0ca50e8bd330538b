"""A reader of the gateway's live feeds, with the time at which each event came."""

import json
import threading
import time

import requests

LIMIT = 120


class LiveFeed:
    """Follows one feed in a thread of its own. `events` holds (time, name, data) in order; `over` is set at the end."""

    def __init__(self, gateway, path, key=None):
        # A session of its own: a feed keeps its connection.
        self.session = requests.Session()
        self.session.trust_env = False
        headers = {"Authorization": f"Bearer {key or gateway.key}"}
        self.reply = self.session.get(
            f"http://{gateway.http}/admin/v1{path}", headers=headers, stream=True, timeout=LIMIT)
        self.events = []
        self.over = False
        self._changed = threading.Condition()
        if self.reply.status_code == 200:
            assert self.reply.headers["Content-Type"] == "text/event-stream"
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        rest = b""
        try:
            for piece in self.reply.iter_content(None):
                *whole, rest = (rest + piece).split(b"\n\n")
                for text in whole:
                    fields = dict(line.split(": ", 1) for line in text.decode().split("\n") if not line.startswith(":"))
                    if fields:
                        with self._changed:
                            self.events.append((time.monotonic(), fields["event"], json.loads(fields["data"])))
                            self._changed.notify_all()
        except (requests.RequestException, AttributeError):
            # Closed from here.
            pass
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def wait_for(self, is_it, what):
        """The first event (time, name, data) that is the one."""
        with self._changed:
            found = lambda: next((event for event in self.events if is_it(event[1], event[2])), None)
            self._changed.wait_for(lambda: found() is not None or self.over, timeout=LIMIT)
            assert found() is not None, f"{what} never came; {[name for _, name, _ in self.events]}"
            return found()

    def wait_for_end(self):
        with self._changed:
            assert self._changed.wait_for(lambda: self.over, timeout=LIMIT), "the feed did not end"

    def close(self):
        self.session.close()
        self.reply.close()
