"""What is kept of sessions that policies do not let be recorded: no words, no voice, in whole calls over both transports."""

import base64
import contextlib
import hashlib
import json
import time

import numpy
import pytest
from websockets.sync.client import connect

from conftest import gateway_config, running_gateway, start_simulator
from webrtc_peer import call

LIMIT = 120
RATE = 24_000
TEAMS = ("red", "black", "blue")
WRITTEN, ANSWERED = "marmalade", "tangerine"
POLICIES = """
@id("everything") permit (principal, action, resource);
@id("red-is-not-heard") forbid (principal in Team::"acme/red", action == Action::"record.audio", resource);
@id("black-is-not-kept") forbid (principal in Team::"acme/black", action == Action::"record.transcript", resource);
"""
NO_TURNS = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
VOICE = base64.b64encode((numpy.sin(numpy.arange(RATE // 5) * 0.2) * 9_000).astype("<i2").tobytes()).decode()


def key(team):
    return f"vg_{team}_key_of_a_recording_test"


def configuration(sim, folder):
    rules = folder / "rules.cedar"
    rules.write_text(POLICIES)
    digest = lambda team: hashlib.sha256(key(team).encode()).hexdigest()
    teams = "".join(f"\n      {team}: {{ keys: {{ web: {{ hash: {digest(team)} }} }} }}" for team in TEAMS)
    return gateway_config(sim) + f"""
replay: {{ dir: "{folder}/logs", audio: true, keep: 1h }}
policies: ['{rules}']
organisations:
  acme:
    teams:{teams}
"""


def socket_session(gateway, team):
    """Something written, something spoken and an answer; the session's name."""
    with connect(f"ws://{gateway.http}/v1/realtime?model=sim", proxy=None, open_timeout=LIMIT,
                 additional_headers={"Authorization": f"Bearer {key(team)}"}) as socket:
        def wait_for(kind):
            while (event := json.loads(socket.recv(LIMIT)))["type"] != kind:
                assert event["type"] != "error", event
            return event

        def send(kind, **fields):
            socket.send(json.dumps({"type": kind, **fields}))

        name = wait_for("session.created")["session"]["id"]
        send("session.update", session=NO_TURNS)
        send("input_audio_buffer.append", audio=VOICE)
        send("conversation.item.create", item={
            "type": "message", "role": "user", "content": [{"type": "input_text", "text": WRITTEN}]})
        send("response.create")
        assert wait_for("response.done")["response"]["status"] == "completed"
        return name


def webrtc_call(gateway, team, speech):
    """The same in a call."""
    async def scenario(peer):
        await peer.connect(gateway, token=key(team), model="sim")
        peer.send({"type": "session.update", "session": NO_TURNS})
        await peer.event("session.updated")
        peer.say(speech)
        await peer.fallen_silent()
        peer.ask_in_writing(WRITTEN)
        await peer.answer_is_audible()
        created, = peer.all("session.created")
        return created["session"]["id"]

    return call(scenario)


def audited(gateway):
    """Who was let be recorded or not, and by which policies: once the last of the sessions is in the audit log."""
    until = time.monotonic() + LIMIT
    while True:
        answer = gateway.ask("GET", "/admin/v1/audit?limit=200")
        assert answer.status_code == 200, answer.text
        told = [(entry["actor"], entry["detail"]["act"], entry["action"], *entry["detail"]["policies"])
                for entry in answer.json()["items"] if entry["detail"].get("act", "").startswith("record.")]
        # Two decisions of every session, but of the words of the black team only one.
        if len(told) == 2 * (2 + 1 + 2):
            return told
        assert time.monotonic() < until, told
        time.sleep(0.05)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, speak):
    """The logs of a session of every team over either transport, and what the audit log says of recording."""
    folder = tmp_path_factory.mktemp("recording")
    simulator, address = start_simulator("--answer-text", f"the answer is {ANSWERED}", "--answer-ms", "2000")
    with contextlib.ExitStack() as stack:
        stack.callback(simulator.stop)
        names = {}
        with running_gateway(configuration(address, folder)) as gateway:
            for team in TEAMS:
                names[team, "websocket"] = socket_session(gateway, team)
                names[team, "webrtc"] = webrtc_call(gateway, team, speak("what time is it please"))
            gateway.assert_nothing_is_left()
            decisions = audited(gateway)
    # The gateway has ended, so they are whole.
    texts = {path.name: path.read_text() for path in (folder / "logs").iterdir()}
    logs = {whose: [text for file, text in texts.items() if name in file] for whose, name in names.items()}
    assert sum(map(len, logs.values())) == len(texts), "a log is nobody's"
    return logs, decisions


def steps_of(log):
    return [line["step"]["input"] for line in map(json.loads, log.splitlines()) if "step" in line]


def answered_audio(log):
    """The samples of every piece of an answer: coded, or how many of them there were if they are silence."""
    events = [step["bridge"]["event"] for step in steps_of(log) if "bridge" in step]
    parts = [event["output"]["part"] for event in events if "output" in event]
    return [part["audio"]["samples"] for part in parts if "audio" in part]


def packets(log):
    return [step["rtp"]["payload"] for step in steps_of(log) if "rtp" in step]


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
def test_of_a_team_that_may_be_recorded_words_and_voices_are_kept(recorded, transport):
    log, = recorded[0]["blue", transport]
    assert WRITTEN in log and ANSWERED in log
    assert any(isinstance(samples, str) for samples in answered_audio(log))
    if transport == "websocket":
        assert VOICE in log
    else:
        # The gateway is told of a packet of silence too; speech takes more than a few bytes.
        assert max(len(base64.b64decode(payload)) for payload in packets(log)) > 20


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
def test_of_a_team_whose_voices_may_not_be_recorded_the_words_are_kept_and_not_one_sample(recorded, transport):
    log, = recorded[0]["red", transport]
    assert WRITTEN in log and ANSWERED in log
    answered = answered_audio(log)
    assert answered and all(isinstance(samples, int) for samples in answered)
    assert VOICE[:40] not in log
    if transport == "webrtc":
        sent = packets(log)
        assert sent and max(len(base64.b64decode(payload)) for payload in sent) <= 2


@pytest.mark.parametrize("transport", ["websocket", "webrtc"])
def test_of_a_team_whose_words_may_not_be_recorded_nothing_is_kept(recorded, transport):
    assert recorded[0]["black", transport] == []


def test_the_audit_log_names_the_policies_that_let_a_session_be_recorded_or_not(recorded):
    words, voices = "record.transcript", "record.audio"
    of_one_session = [
        ("acme/red/web", words, "policy.allow", "everything"),
        ("acme/red/web", voices, "policy.deny", "red-is-not-heard"),
        ("acme/black/web", words, "policy.deny", "black-is-not-kept"),
        ("acme/blue/web", words, "policy.allow", "everything"),
        ("acme/blue/web", voices, "policy.allow", "everything"),
    ]
    assert sorted(recorded[1]) == sorted(2 * of_one_session)
