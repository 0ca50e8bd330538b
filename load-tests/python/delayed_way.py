"""A UDP way between a caller and a relay that can be made longer, in each direction for itself."""

import heapq
import itertools
import selectors
import socket
import threading
import time


class DelayedWay:
    """Forwards datagrams of each caller from a socket of its own. A caller's way is as quick as loopback for its first
    `quick` seconds, then `uplink` and `downlink` seconds longer."""

    def __init__(self, quick=1.2):
        self.relay = None
        self.quick = quick
        self.uplink = self.downlink = 0.0
        self._front = self._socket()
        self.address = "%s:%d" % self._front.getsockname()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ)
        self._callers = {}
        self._waiting = []
        self._order = itertools.count()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stopped.set()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()

    @staticmethod
    def _socket():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        return made

    def _run(self):
        while not self._stopped.is_set():
            wait = self._waiting[0][0] - time.monotonic() if self._waiting else 0.05
            for key, _ in self._selector.select(max(0, min(wait, 0.05))):
                self._receive(key.fileobj, key.data)
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _, _, send, data, to = heapq.heappop(self._waiting)
                send.sendto(data, to)

    def _receive(self, where, caller):
        for _ in range(64):
            try:
                data, source = where.recvfrom(2048)
            except BlockingIOError:
                return
            if caller is None:
                back, since = self._caller(source)
                self._later(since, self.uplink, back, data, self.relay)
            else:
                _, since = self._callers[caller]
                self._later(since, self.downlink, self._front, data, caller)

    def _caller(self, source):
        if source not in self._callers:
            back = self._socket()
            self._selector.register(back, selectors.EVENT_READ, source)
            self._callers[source] = (back, time.monotonic())
        return self._callers[source]

    def _later(self, since, delay, send, data, to):
        now = time.monotonic()
        at = now if now - since < self.quick else now + delay
        heapq.heappush(self._waiting, (at, next(self._order), send, data, to))
