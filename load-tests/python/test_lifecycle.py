"""Start, stop and what a process leaves behind: keys, logs, exit codes."""

import contextlib
import json
import pathlib
import re
import signal
import socket as sockets
import subprocess

import numpy
import pytest
import websockets
from websockets.sync.client import connect

from conftest import HTTP, KEY, TARGET, Process, read_wav, running_gateway, start_gateway, start_simulator
from webrtc_peer import call

LIMIT = 120
EXIT_CONFIG = 78

# A provider that needs no models, so that a gateway starts at once.
NOWHERE = """
providers:
  sim: { kind: openai-realtime, base_url: "http://127.0.0.1:9/v1" }
routes: [{ model: "*", provider: sim }]
"""


def run(*arguments, env=None, limit=LIMIT):
    """Runs voxgate to its end."""
    process = Process(TARGET / "voxgate", *arguments, env=env)
    code = process.child.wait(limit)
    process.wait_for_end()
    return code, process.output()


@pytest.fixture
def draining():
    """Starts gateways with a deadline for running sessions; they get a fast provider that answers."""
    with contextlib.ExitStack() as stack:
        simulator, address = start_simulator()
        stack.callback(simulator.stop)

        def start(deadline):
            config = f"limits: {{ drain_deadline: {deadline} }}\n" + NOWHERE.replace("127.0.0.1:9", address)
            return stack.enter_context(running_gateway(config))

        yield start


def accepts(gateway, key):
    reply = gateway.ask("POST", "/v1/realtime/client_secrets", headers={"Authorization": f"Bearer {key}"})
    assert reply.status_code in (200, 401), reply.text
    return reply.status_code == 200


def test_the_first_key_is_shown_once_and_kept_as_a_hash(tmp_path):
    data = tmp_path / "data"
    unset = {"VOXGATE_ADMIN_KEY": None}
    first = start_gateway(data, NOWHERE, env=unset)
    key = first.process.wait_for(r"API key +(vg_\w+)").group(1)
    assert f"#key={key}" in first.process.output()
    assert accepts(first, key)
    assert first.process.stop() == 0
    for path in data.rglob("*"):
        assert path.is_dir() or key.encode() not in path.read_bytes(), path
        assert path.stat().st_mode & 0o077 == 0 or path.name == "ca.pem" or path.is_dir(), path
    assert data.stat().st_mode & 0o077 == 0

    second = start_gateway(data, NOWHERE, env=unset)
    assert "vg_" not in second.process.output()
    assert accepts(second, key) and not accepts(second, KEY)
    assert second.process.stop() == 0

    chosen = start_gateway(data, NOWHERE, env={"VOXGATE_ADMIN_KEY": "vg_chosen_by_the_operator"})
    assert "vg_" not in chosen.process.output()
    assert accepts(chosen, "vg_chosen_by_the_operator") and not accepts(chosen, key)
    assert chosen.process.stop() == 0


def test_an_empty_admin_key_lets_nobody_in(tmp_path):
    gateway = start_gateway(tmp_path / "data", NOWHERE, env={"VOXGATE_ADMIN_KEY": ""})
    key = gateway.process.wait_for(r"API key +(vg_\w+)").group(1)
    assert accepts(gateway, key)
    with pytest.raises(websockets.InvalidStatus) as refused:
        connect(f"ws://{gateway.http}/v1/realtime", proxy=None, subprotocols=["realtime", "openai-insecure-api-key."])
    assert refused.value.response.status_code == 401
    assert gateway.process.stop() == 0


@pytest.mark.parametrize("flag", ["--http", "--https", "--relay"])
def test_a_taken_port_is_one_clear_line(tmp_path, flag):
    kind = sockets.SOCK_DGRAM if flag == "--relay" else sockets.SOCK_STREAM
    with sockets.socket(type=kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if flag != "--relay":
            taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        addresses = {"--http": "127.0.0.1:0", "--https": "127.0.0.1:0", "--relay": "127.0.0.1:0", flag: address}
        flags = [part for pair in addresses.items() for part in pair]
        code, output = run("standalone", "--data-dir", tmp_path / "data", *flags)
    assert code == 1
    lines = output.splitlines()
    assert len(lines) == 1, output
    assert address in lines[0] and flag in lines[0] and "panicked" not in lines[0]


def test_check_lists_every_problem_at_once(tmp_path):
    config = tmp_path / "voxgate.yaml"
    config.write_text("""
limits: { session_duration: 1s, sessions: 0 }
audio: { complexity: 11 }
providers:
  cloud: { kind: openai-realtime, base_url: "ftp://x", api_key_env: VOXGATE_TEST_NOT_SET }
routes: [{ model: x, provider: missing }]
""")
    code, output = run("check", "--config", config)
    assert code == EXIT_CONFIG
    assert "6 problem(s)" in output
    for named in ["limits.session_duration", "limits.sessions", "audio.complexity", "providers.cloud.base_url",
                  "VOXGATE_TEST_NOT_SET", "routes[0]"]:
        assert named in output, named
    code, started = run("standalone", "--config", config, "--data-dir", tmp_path / "data")
    assert (code, started) == (EXIT_CONFIG, output)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("text, named", [
    ("limits: { sesions: 1 }\n", "sesions"), ("htp: {}\n", "htp"), ("limits: [\n", "voxgate.yaml:"),
    ("providers: { x: { kind: nobody } }\n", "nobody")])
def test_a_configuration_that_cannot_be_read_is_named_with_its_fault(tmp_path, text, named):
    config = tmp_path / "voxgate.yaml"
    config.write_text(text)
    code, output = run("check", "--config", config)
    assert code == EXIT_CONFIG
    assert str(config) in output and named in output


def test_check_accepts_what_is_right_and_names_a_missing_file(tmp_path):
    config = tmp_path / "voxgate.yaml"
    config.write_text(NOWHERE)
    assert run("check", "--config", config) == (0, "the configuration is valid")
    code, output = run("check", "--config", tmp_path / "none.yaml")
    assert code == EXIT_CONFIG and "none.yaml" in output


def test_operators_get_answers_and_nothing_listens_beyond_loopback(tmp_path):
    # The ports are the system's choice; the addresses are those of the defaults.
    gateway = start_gateway(tmp_path / "data", NOWHERE)
    for path, expected in [("/healthz", "ok"), ("/readyz", "ready")]:
        reply = HTTP.get(f"http://{gateway.http}{path}", timeout=LIMIT)
        assert (reply.status_code, reply.text.strip()) == (200, expected)
    metrics = HTTP.get(f"http://{gateway.http}/metrics", timeout=LIMIT)
    assert metrics.status_code == 200 and "voxgate_sessions 0" in metrics.text
    secure = HTTP.get(f"https://{gateway.https}/healthz", timeout=LIMIT, verify=str(gateway.ca))
    assert secure.status_code == 200
    addresses = listening(gateway.process.child.pid)
    assert len(addresses) >= 4, "HTTP, HTTPS, the relay and the transceiver"
    assert all(address in ("0100007F", "00000000000000000000000001000000") for address in addresses), addresses
    assert gateway.process.stop() == 0


def listening(pid):
    """Local addresses, as /proc writes them, of a process's listening TCP and bound UDP sockets."""
    inodes = set()
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        # It may be closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            match = re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink()))
            if match:
                inodes.add(match.group(1))
    found = []
    for table, state in [("tcp", "0A"), ("tcp6", "0A"), ("udp", None), ("udp6", None)]:
        path = pathlib.Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            if fields[9] in inodes and state in (None, fields[3]):
                found.append(fields[1].split(":")[0])
    return found


@contextlib.contextmanager
def session(gateway):
    url = f"ws://{gateway.http}/v1/realtime?model=sim"
    with connect(url, proxy=None, additional_headers={"Authorization": f"Bearer {gateway.key}"}) as client:
        assert json.loads(client.recv(timeout=LIMIT))["type"] == "session.created"
        yield client


def test_an_idle_gateway_stops_at_once(draining):
    for how in (signal.SIGTERM, signal.SIGINT):
        gateway = draining("10m")
        # Far below the deadline: nothing is waited for.
        assert gateway.process.stop(how, limit=LIMIT) == 0
        gateway.process.wait_for_end()
        assert "voxgate has stopped." in gateway.process.output()


def test_a_stopping_gateway_lets_running_sessions_finish_and_takes_no_new_ones(draining):
    gateway = draining("10m")
    with session(gateway) as client:
        gateway.process.child.send_signal(signal.SIGTERM)
        gateway.process.wait_for(r"Stopping: 1 session")
        ready = HTTP.get(f"http://{gateway.http}/readyz", timeout=LIMIT)
        assert (ready.status_code, ready.text.strip()) == (503, "draining")
        assert HTTP.get(f"http://{gateway.http}/healthz", timeout=LIMIT).status_code == 200
        with pytest.raises(websockets.InvalidStatus) as refused:
            connect(f"ws://{gateway.http}/v1/realtime?model=sim", proxy=None,
                    additional_headers={"Authorization": f"Bearer {gateway.key}"})
        assert refused.value.response.status_code == 503
        error = json.loads(refused.value.response.body)["error"]
        assert (error["type"], error["code"]) == ("server_error", "service_unavailable")
        assert "shutting down" in error["message"]
        offer = gateway.ask("POST", "/v1/realtime/calls", data="v=0", headers={"Content-Type": "application/sdp"})
        assert offer.status_code == 503 and offer.json()["error"] == error
        client.send(json.dumps({"type": "response.create"}))
        while (event := json.loads(client.recv(timeout=LIMIT)))["type"] != "response.done":
            assert event["type"] != "error", event
        assert event["response"]["status"] == "completed"
        assert gateway.process.child.poll() is None
    assert gateway.process.child.wait(LIMIT) == 0


def test_a_session_that_outlasts_the_deadline_is_told_why_it_ends(draining):
    gateway = draining("1s")
    with session(gateway) as client:
        gateway.process.child.send_signal(signal.SIGTERM)
        assert json.loads(client.recv(timeout=LIMIT))["error"]["code"] == "server_shutting_down"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            client.recv(timeout=LIMIT)
    assert closed.value.rcvd.code == 1001
    assert gateway.process.child.wait(LIMIT) == 0


def test_a_call_that_outlasts_the_deadline_is_told_why_it_ends(draining):
    gateway = draining("1s")

    async def scenario(peer):
        await peer.connect(gateway, model="sim")
        gateway.process.child.send_signal(signal.SIGTERM)
        assert (await peer.event("error"))["error"]["code"] == "server_shutting_down"
        await peer.ended()

    call(scenario)
    assert gateway.process.child.wait(LIMIT) == 0


def test_a_second_signal_ends_a_drain(draining):
    gateway = draining("10m")
    with session(gateway):
        gateway.process.child.send_signal(signal.SIGTERM)
        gateway.process.wait_for(r"Stopping: 1 session")
        gateway.process.child.send_signal(signal.SIGTERM)
        assert gateway.process.child.wait(LIMIT) == 0


@pytest.fixture(scope="module")
def chatty():
    """A gateway with the local voice and everything it can log."""
    environment = {"VOXGATE_LOG": "trace"}
    with running_gateway("providers: { local: { kind: local, decoders: 1 } }\n", env=environment) as running:
        yield running


def caller(base, *arguments, key=KEY):
    return subprocess.run(
        [TARGET / "voxgate", "call", "--url", base, *map(str, arguments)],
        env={"VOXGATE_KEY": key}, capture_output=True, text=True, timeout=120)


def test_a_call_from_the_terminal_hears_the_answer_and_leaves_nothing_in_the_log(chatty, speak, tmp_path):
    saved = tmp_path / "answer.wav"
    done = caller(chatty.base, "--wav", speak("what time is it"), "--save", saved)
    assert done.returncode == 0, done.stderr
    assert "time" in done.stdout.lower()
    heard = read_wav(saved, 48_000).astype(numpy.float64)
    assert len(heard) > 24_000 and numpy.sqrt(numpy.mean(heard ** 2)) > 100

    done = caller(chatty.base, "--wav", speak("what time is it"), "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["heard_seconds"] > 0.5 and summary["mouth_to_ear_ms"] > 0
    assert len(summary["turns"]) == 1

    secret = chatty.ask("POST", "/v1/realtime/client_secrets").json()["value"]

    async def scenario(peer):
        await peer.connect(chatty, token=secret)
        peer.ask_in_writing("what is your xylophone")
        await peer.event("response.done")
        return [event["transcript"] for event in peer.all("response.output_audio_transcript.done")]

    spoken, = call(scenario)
    with connect(f"ws://{chatty.http}/v1/realtime", proxy=None,
                 subprotocols=["realtime", f"openai-insecure-api-key.{KEY}"]) as client:
        client.send(json.dumps({"type": "session.update", "session": {
            "type": "realtime", "instructions": "Say exactly: marmalade."}}))
        client.send(json.dumps({"type": "response.create"}))
        while (event := json.loads(client.recv(timeout=LIMIT)))["type"] != "response.done":
            assert event["type"] != "error", event
        assert "marmalade" in json.dumps(event).lower()
    log = chatty.process.output()
    assert "call ended" in log, "the log is that of the calls"
    for hidden in [KEY, secret, "ek_", "what time is it", "xylophone", spoken, "marmalade", "ice-pwd"]:
        assert hidden.lower() not in log.lower(), hidden
    chatty.assert_nothing_is_left()


def test_a_call_from_the_terminal_says_by_its_exit_code_what_went_wrong(chatty, speak, tmp_path):
    question = speak("what time is it")
    with sockets.socket() as taken:
        # Bound and never listening: refuses every connection.
        taken.bind(("127.0.0.1", 0))
        nobody = "http://127.0.0.1:%d/v1" % taken.getsockname()[1]
        for code, base, arguments, key in [
            (4, chatty.base, ["--wav", question], "vg_wrong"),
            (3, nobody, ["--wav", question], KEY),
            (2, chatty.base, ["--wav", tmp_path / "none.wav"], KEY),
            (2, chatty.base, ["--wav", __file__], KEY),
            (2, chatty.base, [], KEY),
        ]:
            done = caller(base, *arguments, key=key)
            assert done.returncode == code, (code, done.stderr)
            assert done.stderr.strip() and "panicked" not in done.stderr
            assert key not in done.stderr
