"""PostgreSQL and Redis of Debian's packages, for one test: in a folder that is thrown away, reached over a socket in it, so that
no port is taken and nothing of the machine's own servers is touched."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

LIMIT = 120
# PostgreSQL refuses to run as root; this user owns nothing.
NOBODY = 65_534


class Server:
    """One that can be stopped as a power cut does it, and started again on what it left."""

    how = signal.SIGKILL

    def __init__(self, name):
        # A socket's path has to be short.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"voxgate-{name}-"))
        self.process = None

    def run(self, *command):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + LIMIT
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < until, f"{command[0]} never answered"
            time.sleep(0.05)

    def stop(self):
        self.process.send_signal(self.how)
        self.process.wait(LIMIT)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    how = signal.SIGQUIT

    def __init__(self):
        super().__init__("postgres")
        newest = max(pathlib.Path("/usr/lib/postgresql").iterdir(), key=lambda path: int(path.name))
        self.programs = newest / "bin"
        self.user = []
        if os.getuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
            self.user = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
        subprocess.run(
            [*self.user, self.programs / "initdb", "--auth=trust", "--username=voxgate", "--encoding=UTF8", "--locale=C",
             "--no-sync", "--no-instructions", "--pgdata", self.folder / "data"],
            cwd=self.folder, check=True, stdout=subprocess.DEVNULL,
        )
        self.url = self.url_of("postgres")

    def url_of(self, database):
        return f"postgres://voxgate@localhost/{database}?host={self.folder}"

    def start(self):
        user = self.user[1:]
        self.run(*user, self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder, "-h", "", "-F",
                 "-c", "max_connections=30", "-c", "shared_buffers=16MB")

    def answers(self):
        return self.ask("SELECT 1") is not None

    def ask(self, sql, database="postgres"):
        """The rows as text, or None if there is no answer."""
        asked = self._psql(sql, database)
        return asked.stdout.splitlines() if asked.returncode == 0 else None

    def execute(self, sql, database="postgres"):
        done = self._psql(sql, database)
        assert done.returncode == 0, done.stderr

    def _psql(self, sql, database):
        return subprocess.run(
            [self.programs / "psql", "--no-psqlrc", "-h", self.folder, "-U", "voxgate", "-At", "-c", sql, database],
            capture_output=True, text=True,
        )


class Redis(Server):
    def __init__(self):
        super().__init__("redis")
        self.url = f"redis+unix://{self.folder}/socket"

    def start(self):
        (self.folder / "socket").unlink(missing_ok=True)
        self.run("redis-server", "--port", 0, "--save", "", "--appendonly", "no", "--dir", self.folder,
                 "--unixsocket", self.folder / "socket")

    def answers(self):
        asked = subprocess.run(
            ["redis-cli", "-s", self.folder / "socket", "PING"], capture_output=True, text=True)
        return asked.stdout.strip() == "PONG"
