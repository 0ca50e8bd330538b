"""A gateway and a provider simulator of their own for every test session, on ports the system chooses."""

import atexit
import contextlib
import itertools
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import wave
from dataclasses import dataclass, field

import numpy
import pytest
import requests

from database_servers import Postgres
from stores import Postgresql, Sqlite

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
KEY = "vg_test_key_of_the_python_tests"
LIMIT_SECONDS = 120

# Loopback is reached directly, whatever proxy the environment names.
HTTP = requests.Session()
HTTP.trust_env = False


def picked_port(kind):
    """A port of this kind of socket that is free, from those the system gives to nobody by itself: it is not taken before it is used."""
    for left in reversed(range(50)):
        port = random.randrange(20_000, 32_000)
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                if not left:
                    raise


class Process:
    """A child process whose output is kept and searched. A variable set to None is taken out of its environment."""

    def __init__(self, *command, env=None):
        self.child = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={name: value for name, value in {**os.environ, **(env or {})}.items() if value is not None},
        )
        # A failed test leaves nothing running.
        atexit.register(self.child.kill)
        self.lines = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.lines.append(None)
            self._changed.notify_all()

    def wait_for(self, pattern, limit=LIMIT_SECONDS):
        """The match of a pattern in the output; fails with the whole output if it never comes."""
        expression = re.compile(pattern)

        def found():
            for line in self.lines:
                match = line is not None and expression.search(line)
                if match:
                    return match
            return None

        with self._changed:
            self._changed.wait_for(lambda: found() or None in self.lines, timeout=limit)
            match = found()
        assert match, f"{pattern!r} never appeared in:\n{self.output()}"
        return match

    def wait_for_end(self, limit=LIMIT_SECONDS):
        """Waits until all output is read."""
        with self._changed:
            assert self._changed.wait_for(lambda: None in self.lines, timeout=limit)

    def output(self):
        return "\n".join(line for line in self.lines if line is not None)

    def stop(self, how=signal.SIGTERM, limit=LIMIT_SECONDS):
        if self.child.poll() is None:
            self.child.send_signal(how)
        return self.child.wait(limit)


@dataclass
class Gateway:
    process: Process
    http: str
    https: str
    relay: str
    data_dir: pathlib.Path
    key: str = KEY
    sim: str | None = None
    extra: dict = field(default_factory=dict)

    @property
    def base(self):
        return f"http://{self.http}/v1"

    @property
    def ca(self):
        return self.data_dir / "tls" / "ca.pem"

    def ask(self, method, path, **options):
        """An HTTP request with the key of these tests."""
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        headers = {name: value for name, value in headers.items() if value is not None}
        return HTTP.request(method, f"http://{self.http}{path}", headers=headers, timeout=LIMIT_SECONDS, **options)

    def metric(self, name, **labels):
        """The value of a metric, zero if it never moved."""
        suffix = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        line = f"{name}{{{suffix}}}" if labels else name
        for found in HTTP.get(f"http://{self.http}/metrics", timeout=LIMIT_SECONDS).text.splitlines():
            if found.startswith(f"{line} "):
                return float(found.rsplit(" ", 1)[1])
        return 0.0

    def total(self, name):
        """The sum of a metric over all its labels."""
        lines = HTTP.get(f"http://{self.http}/metrics", timeout=LIMIT_SECONDS).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(rf"{name}[{{ ]", line))

    def wait_for_metric(self, expected, name, limit=LIMIT_SECONDS, **labels):
        """Asks until the metric has the value."""
        until = time.monotonic() + limit
        while (value := self.metric(name, **labels)) != expected:
            assert time.monotonic() < until, f"{name} {labels} stayed at {value}, expected {expected}"
            time.sleep(0.05)

    def wait_for_metric_above(self, least, name, limit=LIMIT_SECONDS, **labels):
        """Asks until the metric has more than this."""
        until = time.monotonic() + limit
        while (value := self.metric(name, **labels)) <= least:
            assert time.monotonic() < until, f"{name} {labels} stayed at {value}, expected more than {least}"
            time.sleep(0.05)

    def events(self, *kinds):
        """What is written down of these kinds in the records of all sessions, the oldest first, once all are over."""
        self.wait_for_metric(0, "voxgate_sessions")
        sessions = self.ask("GET", "/admin/v1/sessions?state=all&limit=1000").json()["items"]
        records = (self.ask("GET", f"/admin/v1/sessions/{one['id']}/record").json()
                   for one in sorted(sessions, key=lambda one: one["began_at"]))
        return [event for record in records for event in record["events"] if event["kind"] in kinds]

    def assert_nothing_is_left(self):
        """Every session is over, none of them by a panic."""
        self.wait_for_metric(0, "voxgate_sessions")
        assert self.metric("voxgate_session_panics_total") == 0
        assert "panicked" not in self.process.output()


def start_gateway(data_dir, config=None, env=None, arguments=()):
    command = [
        TARGET / "voxgate", "standalone", "--data-dir", data_dir,
        "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--relay", "127.0.0.1:0", *arguments,
    ]
    if config:
        path = pathlib.Path(data_dir).parent / f"{pathlib.Path(data_dir).name}.yaml"
        path.write_text(config)
        command += ["--config", path]
    process = Process(*command, env={"VOXGATE_ADMIN_KEY": KEY, **(env or {})})
    http = process.wait_for(r"API base +http://([\d.:]+)/v1").group(1)
    https = process.wait_for(r"^ +https://([\d.:]+)/v1").group(1)
    relay = process.wait_for(r"Relay +udp ([\d.:]+)").group(1)
    process.wait_for("Stop with Ctrl-C")
    return Gateway(process, http, https, relay, pathlib.Path(data_dir))


def start_simulator(*arguments):
    process = Process(TARGET / "provider-sim", "--listen", "127.0.0.1:0", *arguments)
    address = process.wait_for(r"(127\.0\.0\.1:\d+)").group(1)
    return process, address


def gateway_config(sim, **provider):
    extra = "".join(f", {name}: {value}" for name, value in provider.items())
    return f"""
providers:
  local: {{ kind: local, decoders: 1 }}
  sim: {{ kind: openai-realtime, base_url: "http://{sim}/v1"{extra} }}
routes:
  - {{ model: "sim*", provider: sim }}
  - {{ model: "*", provider: local }}
"""


@contextlib.contextmanager
def running_gateway(config, **options):
    """A gateway in a folder of its own, which must end in order."""
    with tempfile.TemporaryDirectory(prefix="voxgate-test-") as folder:
        running = start_gateway(pathlib.Path(folder) / "data", config, **options)
        try:
            yield running
        finally:
            code = running.process.stop()
        assert code == 0, running.process.output()
        assert "panicked" not in running.process.output()


@pytest.fixture(scope="session")
def gateway():
    # Answers long enough to be interrupted on a busy machine.
    simulator, address = start_simulator("--answer-ms", "8000")
    with running_gateway(gateway_config(address)) as running:
        running.sim = address
        yield running
    simulator.stop()


@pytest.fixture(scope="session")
def postgres():
    """One server for all tests that need no more of it than a database."""
    with Postgres() as server:
        server.databases = itertools.count()
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_store(request):
    """Gives the place of a gateway's store, another one each time."""
    if request.param == "sqlite":
        return Sqlite
    server = request.getfixturevalue("postgres")
    return lambda: Postgresql(server, f"gateway_{next(server.databases)}")


@pytest.fixture(scope="session")
def speak(tmp_path_factory):
    """Makes a WAV of a sentence; the same sentence is made once."""
    folder = tmp_path_factory.mktemp("voices")
    made = {}

    def make(text, voice="slt"):
        if (text, voice) not in made:
            path = folder / f"{len(made)}.wav"
            subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
            made[(text, voice)] = path
        return made[(text, voice)]

    return make


def read_wav(path, rate):
    """Mono samples of a WAV at another rate, as int16."""
    with wave.open(str(path)) as source:
        assert source.getnchannels() == 1 and source.getsampwidth() == 2
        samples = numpy.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
        own = source.getframerate()
    if own == rate:
        return samples
    length = int(len(samples) * rate / own)
    positions = numpy.linspace(0, len(samples) - 1, length)
    return numpy.interp(positions, numpy.arange(len(samples)), samples).astype("<i2")
