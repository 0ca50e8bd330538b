"""A UDP way that can be made longer and uneven, in each direction for itself: between a caller and a relay, or between a
relay and its gateway."""

import heapq
import itertools
import random
import selectors
import socket
import threading
import time


class DelayedWay:
    """Forwards datagrams of each caller from a socket of its own. A caller's way is as quick as loopback for its first
    `quick` seconds, then `uplink` and `downlink` seconds longer; on the downlink each datagram takes up to `jitter` seconds more
    and of the media `loss` is lost, by chance. None overtakes another.

    The callers of a way between relay and gateway are the threads of the relay; `follows` is the way in front of it, whose
    newest caller says when that one may be slow."""

    def __init__(self, quick=1.2, follows=None, seed=0):
        self.relay = None
        self.quick = quick
        self.follows = follows
        self.uplink = self.downlink = self.jitter = self.loss = 0.0
        self.newest = 0.0
        self._chance = random.Random(seed)
        self._last = {}
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
                self._later(since, self.uplink, back, data, self.relay, source)
            else:
                _, since = self._callers[caller]
                if self._is_lost(data):
                    continue
                more = self.jitter * self._chance.random()
                self._later(since, self.downlink + more, self._front, data, caller, caller)

    def _is_lost(self, data):
        """RTP by its first byte (RFC 7983), and not RTCP by its second (RFC 5761, section 4)."""
        is_media = len(data) > 1 and 128 <= data[0] < 192 and not 64 <= data[1] & 127 < 96
        return is_media and self._chance.random() < self.loss

    def _caller(self, source):
        if source not in self._callers:
            back = self._socket()
            self._selector.register(back, selectors.EVENT_READ, source)
            self.newest = time.monotonic()
            self._callers[source] = (back, self.newest)
        return self._callers[source]

    def _later(self, since, delay, send, data, to, caller):
        now = time.monotonic()
        if now - (self.follows.newest if self.follows else since) >= self.quick:
            now += delay
        at = max(now, self._last.get((caller, to), 0))
        self._last[caller, to] = at
        heapq.heappush(self._waiting, (at, next(self._order), send, data, to))
