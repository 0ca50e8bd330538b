"""A model of the end of turns: the one Pipecat brings along (Smart Turn v3, BSD-2-Clause) in front of a provider that sends no
words before the turn is over.

Pauses are counted in the audio, and no audio is sent while a verdict is awaited: a slow machine changes nothing.
"""

import base64
import json
import pathlib
import subprocess

import numpy
import pytest
from websockets.sync.client import connect

import log_mel_reference
from conftest import ROOT, TARGET, gateway_config, read_wav, running_gateway, start_simulator

LIMIT = 120
RATE = 24_000
VERDICTS = "voxgate_end_of_turn_verdicts_total"


def smart_turn():
    import pipecat.audio.turn.smart_turn as smart_turn

    models = sorted((pathlib.Path(smart_turn.__file__).parent / "data").glob("smart-turn-v3*.onnx"))
    assert models, "pipecat-ai brings no Smart Turn model along any more"
    return models[-1]


@pytest.fixture(scope="module")
def listening(tmp_path_factory):
    """A gateway with the model, in front of a simulator, that writes replay logs with audio."""
    logs = tmp_path_factory.mktemp("logs")
    simulator, address = start_simulator()
    config = gateway_config(address, turn_detection="gateway") + f"""
conversation: {{ end_of_turn: {{ model: "{smart_turn()}", patience: 2s }} }}
replay: {{ dir: "{logs}", audio: true }}
"""
    with running_gateway(config) as running:
        running.extra["logs"] = logs
        yield running
    simulator.stop()


class Session:
    """A WebSocket session whose audio is sent as fast as it goes."""

    def __init__(self, gateway):
        self.socket = connect(
            f"ws://{gateway.http}/v1/realtime?model=sim-realtime", proxy=None,
            additional_headers={"Authorization": f"Bearer {gateway.key}"})
        self.sent = 0
        self.until("session.created")
        self.send({"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": {
            "type": "semantic_vad", "eagerness": "auto", "create_response": False, "interrupt_response": False}}}}})
        self.until("session.updated")

    def send(self, event):
        self.socket.send(json.dumps(event))

    def until(self, wanted):
        while True:
            event = json.loads(self.socket.recv(timeout=LIMIT))
            assert event["type"] != "error", event
            if event["type"] == wanted:
                return event

    def say(self, samples):
        for at in range(0, len(samples), RATE // 50):
            frame = samples[at:at + RATE // 50].astype("<i2").tobytes()
            self.send({"type": "input_audio_buffer.append", "audio": base64.b64encode(frame).decode()})
        self.sent += len(samples)

    def be_silent(self, milliseconds):
        self.say(numpy.zeros(RATE * milliseconds // 1000, dtype="<i2"))


def up_to_its_last_sound(samples):
    return samples[:numpy.flatnonzero(abs(samples) > 300)[-1] + 1]


def pause_after(gateway, sentence):
    """How much silence behind a sentence ended the turn, in milliseconds, and the session's log."""
    before = set(gateway.extra["logs"].iterdir())
    session = Session(gateway)
    session.be_silent(500)
    session.say(up_to_its_last_sound(read_wav(sentence, RATE)))
    end_of_speech = session.sent * 1000 / RATE
    used = gateway.metric(VERDICTS, outcome="used")
    session.be_silent(400)
    gateway.wait_for_metric(used + 1, VERDICTS, limit=LIMIT, outcome="used")
    session.be_silent(6_000)
    stopped = session.until("input_audio_buffer.speech_stopped")
    session.socket.close()
    gateway.assert_nothing_is_left()
    (log,) = set(gateway.extra["logs"].iterdir()) - before
    return stopped["audio_end_ms"] - end_of_speech, log


def verdicts(log):
    """The probabilities of a log, once it is whole."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    judged = [line["step"]["input"] for line in lines if "step" in line and isinstance(line["step"]["input"], dict)]
    return [entry["turn_judged"]["probability"] for entry in judged if "turn_judged" in entry]


def test_a_sentence_that_sounds_unfinished_is_waited_for_and_a_finished_one_is_not(listening, speak):
    finished, finished_log = pause_after(listening, speak("book a table for two please"))
    unfinished, unfinished_log = pause_after(listening, speak("i would like to know the"))
    # Eagerness auto: 250 ms if it is surely over, 4 s if it surely is not; the verdict came after 400 ms.
    assert finished < 1_000 and 3_000 < unfinished < 4_500, (finished, unfinished)
    assert listening.metric("voxgate_end_of_turn_inference_seconds_count") >= 2
    for outcome in ("failed", "no_room", "stale"):
        assert listening.metric(VERDICTS, outcome=outcome) == 0

    for log in (finished_log, unfinished_log):
        replayed = subprocess.run([TARGET / "voxgate", "replay", log], capture_output=True, text=True)
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert verdicts(finished_log)[-1] > 0.8 and verdicts(unfinished_log)[-1] < 0.2


@pytest.mark.parametrize("model, sentence", [
    ("/nonexistent/model.onnx", "cannot be read"),
    (ROOT / "Cargo.toml", "is no ONNX model"),
    ("silero", "must take one input"),
])
def test_a_model_that_does_not_fit_is_refused_in_one_sentence(tmp_path, model, sentence):
    if model == "silero":
        import pipecat.audio.vad as vad
        model = pathlib.Path(vad.__file__).parent / "data" / "silero_vad.onnx"
    config = tmp_path / "voxgate.yaml"
    config.write_text(f'conversation: {{ end_of_turn: {{ model: "{model}" }} }}\n')
    checked = subprocess.run([TARGET / "voxgate", "check", "--config", config], capture_output=True, text=True)
    assert checked.returncode == 78
    (line,) = [line for line in checked.stderr.splitlines() if "end_of_turn.model" in line]
    assert sentence in line and "panicked" not in checked.stderr, checked.stderr


def test_a_model_that_fits_passes_the_check(tmp_path):
    config = tmp_path / "voxgate.yaml"
    config.write_text(f'conversation: {{ end_of_turn: {{ model: "{smart_turn()}" }} }}\n')
    subprocess.run([TARGET / "voxgate", "check", "--config", config], check=True)


def test_the_committed_spectrogram_is_the_reference_s():
    committed = (ROOT / "media" / "tests" / "data" / "log-mel.txt").read_text().splitlines()
    reference = list(log_mel_reference.lines())
    assert len(committed) == len(reference) and committed[0] == reference[0]
    for ours, theirs in zip(committed[1:], reference[1:]):
        assert ours.split()[:2] == theirs.split()[:2]
        assert abs(float(ours.split()[2]) - float(theirs.split()[2])) < 1e-5
