"""Logs of real sessions, run again by `voxgate replay` in a process of its own."""

import contextlib
import json
import re
import socket as sockets
import subprocess

from websockets.sync.client import connect

from conftest import TARGET, gateway_config, running_gateway, start_simulator
from test_rotation import LIMIT, Client
from webrtc_peer import call

HEADER = "voxgate-resume-token"
WORDS = "the word is marmalade"


@contextlib.contextmanager
def recording(tmp_path, audio, answer_ms=8000, **provider):
    """A gateway that keeps logs, and afterwards the logs, oldest first."""
    simulator, address = start_simulator("--answer-ms", str(answer_ms))
    folder = tmp_path / "logs"
    config = gateway_config(address, **provider) + f"""
replay: {{ dir: "{folder}", audio: {str(audio).lower()}, keep: 1h }}
conversation: {{ interruption: {{ }} }}
"""
    logs = []
    try:
        with running_gateway(config) as running:
            yield running, logs
            running.assert_nothing_is_left()
        # The gateway has ended, so they are whole.
        logs += sorted(folder.iterdir())
    finally:
        simulator.stop()


def replay(log, *options):
    command = [TARGET / "voxgate", "replay", *options, log]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


def identical(log):
    """The inputs of a log that runs as it ran."""
    status, told = replay(log)
    assert status == 0, told[-3000:]
    return int(re.search(r"identical: (\d+) inputs", told).group(1)), told


async def conversation(peer, gateway, speak):
    """A spoken question, its answer, speech over it, and an answer in writing."""
    await peer.connect(gateway, model="sim")
    peer.say(speak("what time is it please"))
    await peer.event("input_audio_buffer.committed")
    await peer.answer_is_audible()
    peer.say(speak("stop that now and listen to me"))
    await peer.event("output_audio_buffer.cleared")
    await peer.event("conversation.item.truncated")
    peer.send({"type": "conversation.item.retrieve", "item_id": "item_of_nobody"})
    await peer.event("error")


def test_a_spoken_call_with_an_interruption_runs_again_decision_for_decision(tmp_path, speak):
    with recording(tmp_path, audio=True, turn_detection="gateway") as (gateway, logs):
        call(lambda peer: conversation(peer, gateway, speak))
    log, = logs
    inputs, told = identical(log)
    assert inputs > 200
    for decision in ("input_audio_buffer.speech_started", "output_audio_buffer.cleared", "provider.truncate",
                     "conversation.item.truncated", "error"):
        assert re.search(rf"<   {re.escape(decision)} ", told), decision

    # Another decision is found: the log says that an answer was truncated elsewhere.
    text = log.read_text()
    changed = re.sub(r"(conversation\.item\.truncated )[0-9a-f]{16}", r"\g<1>0123456789abcdef", text)
    assert changed != text
    log.write_text(changed)
    status, told = replay(log, "--quiet")
    assert status == 1 and told.startswith("different at "), told


def test_without_audio_a_call_whose_turns_the_provider_found_runs_again(tmp_path, speak):
    with recording(tmp_path, audio=False) as (gateway, logs):
        call(lambda peer: conversation(peer, gateway, speak))
    log, = logs
    inputs, told = identical(log)
    assert inputs > 200
    assert re.search(r"<   input_audio_buffer.speech_started ", told)
    # Neither voice is in it.
    assert max(len(line) for line in log.read_text().splitlines()) < 8_192 + header_length(log)


def header_length(log):
    return len(log.read_text().split("\n", 1)[0])


def test_a_session_that_goes_on_with_a_conversation_has_a_log_that_begins_with_it(tmp_path):
    def session(gateway, token=None):
        url = f"ws://{gateway.http}/v1/realtime?model=sim" + (f"&resume={token}" if token else "")
        return connect(url, proxy=None, open_timeout=LIMIT,
                       additional_headers={"Authorization": f"Bearer {gateway.key}"})

    with recording(tmp_path, audio=False, answer_ms=200) as (gateway, logs):
        with session(gateway) as socket:
            client = Client(socket)
            item = client.write(WORDS)
            client.answer()
            token = socket.response.headers[HEADER]
            socket.socket.shutdown(sockets.SHUT_RDWR)
        gateway.wait_for_metric(0, "voxgate_sessions")
        with session(gateway, token) as socket:
            client = Client(socket)
            assert client.retrieve(item)["content"][0]["text"] == WORDS
            client.answer()
    first, second = logs
    identical(first)
    _, told = identical(second)
    assert re.search(r"<   conversation.item.retrieved ", told) and "marmalade" not in told

    # It depends on what it began with.
    header, _, steps = second.read_text().partition("\n")
    header = json.loads(header)
    assert WORDS in json.dumps(header.pop("resumed"))
    second.write_text(f"{json.dumps(header)}\n{steps}")
    status, told = replay(second, "--quiet")
    assert status == 1 and "conversation.item.retrieve" in told, told


def test_what_is_no_log_is_refused(tmp_path):
    for name, content in (("empty", ""), ("prose", "hello\n"), ("future", '{"voxgate_replay":999}\n')):
        path = tmp_path / name
        path.write_text(content)
        status, told = replay(path)
        assert status == 2 and "Traceback" not in told and "panicked" not in told, told
    assert replay(tmp_path / "missing")[0] == 2
