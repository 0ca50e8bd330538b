"""Turns of calls over WebSocket: what the record says of them against what the client saw on its own clock."""

import base64
import concurrent.futures
import json
import statistics
import threading
import time

import numpy
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from conftest import KEY, read_wav, running_gateway, start_simulator
from test_admin_api import wait_until
from test_session_records import look

RATE = 24_000
# -46 dBFS in windows of 5 ms: the rule by which the gateway hears, too.
THRESHOLD, WINDOW = 164, RATE // 200
USUAL_MS, DELAY_MS = 200, 300
TURNS = 3
# The gateway's detector and converter blur the last word by that much.
BLUR_MS = 10
LIMIT = 120


def audible(samples):
    """The indices of the samples in windows that can be heard."""
    whole = samples[:len(samples) // WINDOW * WINDOW].astype(numpy.int64).reshape(-1, WINDOW)
    loud = (whole ** 2).sum(axis=1) >= THRESHOLD ** 2 * WINDOW
    heard = numpy.flatnonzero(numpy.repeat(loud, WINDOW) & (numpy.abs(whole.reshape(-1)) >= THRESHOLD))
    return heard


class LiveClient:
    """A microphone whose samples are sent in pieces when they are full, and an ear. Each runs in a thread of its own, so that neither
    waits for the other; what they were late by is kept."""

    def __init__(self, gateway, model, piece_ms, by_hand):
        self.piece, self.by_hand = RATE * piece_ms // 1_000, by_hand
        self.lags, self.turns, self.answers = [0.0], [], 0
        self.heard_at = self.name = None
        self.changed, self.over = threading.Condition(), threading.Event()
        self.socket = connect(
            f"ws://{gateway.http}/v1/realtime?model={model}", additional_headers={"Authorization": f"Bearer {KEY}"},
            proxy=None, max_size=None)
        self.ear = threading.Thread(target=self.listen, daemon=True)
        self.ear.start()

    def listen(self):
        try:
            for message in self.socket:
                now, event = time.monotonic(), json.loads(message)
                with self.changed:
                    self.take(now, event)
                    self.changed.notify_all()
        except ConnectionClosed:
            return

    def take(self, now, event):
        if event["type"] == "session.created":
            self.name = event["session"]["id"]
        elif event["type"] == "response.output_audio.delta" and self.heard_at is None:
            sounds = audible(numpy.frombuffer(base64.b64decode(event["delta"]), dtype="<i2"))
            if len(sounds):
                self.heard_at = now + sounds[0] / RATE
        elif event["type"] == "response.done":
            self.answers += 1

    def until(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, LIMIT)

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def ping(self):
        """How long a question and its answer take here and now."""
        asked = time.monotonic()
        assert self.socket.ping().wait(LIMIT)
        return time.monotonic() - asked

    def append(self, piece):
        self.sent += len(piece)
        self.send("input_audio_buffer.append", audio=base64.b64encode(piece.tobytes()).decode())

    def speak(self, samples):
        """Says something in its own time. When the last word of it was."""
        # A microphone never rests: what passed since the last question is silence.
        silence = int((time.monotonic() - self.began) * RATE) - self.sent
        if silence > 0:
            self.append(numpy.zeros(silence, dtype="<i2"))
        began = self.began + self.sent / RATE
        for begin in range(0, len(samples), self.piece):
            piece = samples[begin:begin + self.piece]
            full = began + (begin + len(piece)) / RATE
            time.sleep(max(0.0, full - time.monotonic()))
            self.lags.append(time.monotonic() - full)
            self.append(piece)
        return began + audible(samples)[-1] / RATE

    def turn(self, question):
        """One question and its answer, in milliseconds of the client's clock."""
        done = self.answers
        self.heard_at = None
        spoke = self.speak(question)
        if self.by_hand:
            self.send("input_audio_buffer.commit")
            self.send("response.create")
        self.until(lambda: self.heard_at and self.answers > done)
        self.turns.append((self.heard_at - spoke) * 1_000)
        self.lags.append(self.ping())

    def keep_time(self):
        """Notes what a thread of this client is late by when nothing but the machine holds it up."""
        while not self.over.wait(0.005):
            due = time.monotonic() + 0.005
            time.sleep(0.005)
            self.lags.append(time.monotonic() - due)

    def call(self, question):
        self.until(lambda: self.name)
        threading.Thread(target=self.keep_time, daemon=True).start()
        detection = None if self.by_hand else {"type": "server_vad", "silence_duration_ms": 500}
        self.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}})
        self.began, self.sent = time.monotonic(), 0
        for _ in range(TURNS):
            self.turn(question)
        # Of the last turn the next second tells what the network was like.
        time.sleep(1.2)
        self.over.set()
        self.socket.close()
        self.ear.join(LIMIT)
        return self


@pytest.fixture(scope="module")
def called(speak):
    """Calls with pieces of several lengths, one whose client ends its turns itself, and one whose model takes longer."""
    words = read_wav(speak("what time is it"), RATE)
    silence = lambda ms: numpy.zeros(RATE * ms // 1_000, dtype="<i2")
    # Long enough a pause for the gateway to decide in it, or as a thumb leaves a button.
    live = numpy.concatenate([silence(300), words, silence(900)])
    by_hand = numpy.concatenate([silence(300), words, silence(260)])
    sims = {name: start_simulator("--answer-ms", "300", "--model-delay-ms", str(delay))
            for name, delay in {"usual": USUAL_MS, "slow": USUAL_MS + DELAY_MS}.items()}
    providers = "".join(f"""
  {name}: {{ kind: openai-realtime, base_url: "http://{address}/v1", turn_detection: gateway }}""" for name, (_, address) in sims.items())
    config = f"""
providers:{providers}
routes: [{{ model: usual, provider: usual }}, {{ model: slow, provider: slow }}]
"""
    kinds = {"short": ("usual", 20, False), "long": ("usual", 100, False), "slow": ("slow", 20, False), "by hand": ("usual", 40, True)}
    with running_gateway(config) as gateway:
        call = lambda kind: LiveClient(gateway, *kind).call(by_hand if kind[2] else live)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            clients = dict(zip(kinds, pool.map(call, kinds.values())))
        found = {}
        for kind, client in clients.items():
            wait_until(lambda: look(gateway, f"/sessions/{client.name}")["state"] == "ended", "a session did not end")
            found[kind] = client, look(gateway, f"/sessions/{client.name}/record")
        told = {
            "overview": look(gateway, "/overview?window=6h&by=none"),
            "latency": look(gateway, "/latency"),
            "hops": {hop: gateway.metric("voxgate_turn_hop_seconds_count", hop=hop, owner=owner, route=route)
                     for hop, owner, route in (("model", "provider", "usual"), ("endpointing", "setting", "slow"))},
        }
        yield found, told
    for process, _ in sims.values():
        process.stop()


def of_hop(record, hop):
    return [next(one["duration_ms"] for one in turn["hops"] if one["hop"] == hop) for turn in record["turns"]]


def middle(record, hop):
    return statistics.median(of_hop(record, hop))


def test_every_turn_over_a_websocket_is_in_the_record_and_its_hops_sum_to_the_whole(called):
    found, told = called
    for kind, (_, record) in found.items():
        assert [turn["turn"] for turn in record["turns"]] == list(range(1, TURNS + 1)), kind
        assert record["session"]["turns"] == TURNS and record["session"]["mouth_to_ear_p50_ms"] > USUAL_MS
        for turn in record["turns"]:
            hops = {hop["hop"]: hop for hop in turn["hops"]}
            assert sum(hop["duration_ms"] for hop in turn["hops"]) + turn["unattributed_ms"] == pytest.approx(
                turn["mouth_to_ear_ms"], abs=1e-3)
            assert {"capture", "uplink", "endpointing", "model", "encode", "downlink"} <= set(hops)
            # There is no relay, no jitter buffer and no pacing on this way; and nobody knows what the client plays when.
            assert not {"relay_in", "relay_out", "jitter", "decode", "pacing", "playout"} & set(hops)
            assert turn["unknown"] == ["playout"]
            assert turn["certainty"] == "estimated"
    turns = TURNS * len(found)
    assert told["overview"]["turns"] == turns
    assert sum(route["turns"]["5m"] for route in told["latency"]["routes"]) == turns
    assert told["hops"] == {"model": TURNS * 3, "endpointing": TURNS}


def test_the_whole_is_what_the_client_measured_on_its_own_clock(called):
    found, _ = called
    for kind, (client, record) in found.items():
        pairs = list(zip(client.turns, record["turns"], strict=True))
        differences = [told["mouth_to_ear_ms"] - saw for saw, told in pairs]
        print(kind, "record less client, ms:", [round(float(difference), 1) for difference in differences],
              "client late by at most", round(max(client.lags) * 1_000, 1))
        for (_, told), difference in zip(pairs, differences, strict=True):
            # What the client itself was late by is no fault of the record.
            allowed = BLUR_MS + told["error_ms"] + max(client.lags) * 1_000
            assert abs(difference) <= allowed, f"{kind}: {difference} ms, {allowed} ms allowed"


def test_longer_pieces_are_the_clients_and_a_longer_model_is_the_models(called):
    found, _ = called
    records = {kind: record for kind, (_, record) in found.items()}
    lag = {kind: max(client.lags) * 1_000 for kind, (client, _) in found.items()}
    assert middle(records["short"], "capture") <= 20 + BLUR_MS
    assert middle(records["long"], "capture") <= 100
    # The quickest turns: nothing makes a model quicker than it is. Half of the delay tells it from anything else.
    grown = min(of_hop(records["slow"], "model")) - min(of_hop(records["short"], "model"))
    assert abs(grown - DELAY_MS) < DELAY_MS / 2, grown
    for hop in ("capture", "uplink", "encode", "downlink"):
        by = middle(records["slow"], hop) - middle(records["short"], hop)
        assert abs(by) < DELAY_MS / 2 + max(lag.values()), f"{hop} grew by {by} ms"
    # The pause before the button was let go, less what is left of the word.
    assert middle(records["by hand"], "endpointing") >= 200


def test_the_seconds_of_such_a_call_tell_what_tcp_can_tell_and_nothing_else(called):
    found, _ = called
    for kind, (_, record) in found.items():
        seconds = record["network"]
        assert {second["pair"] for second in seconds} == {"tcp/websocket"}
        assert all(second["mos"] is None and second["downlink"] is None for second in seconds)
        known = [second["round_trip_ms"] for second in seconds if second["round_trip_ms"] is not None]
        assert known and all(trip > 0 for trip in known), kind
        speaking = [second["uplink"] for second in seconds if second["uplink"]["packets"]]
        assert speaking and all(uplink["jitter_ms"] is not None for uplink in speaking)
        for uplink in (second["uplink"] for second in seconds):
            assert uplink["lost"] is uplink["recovered"] is uplink["concealed_ms"] is uplink["buffer_ms"] is None
        assert record["session"]["mos"] is record["session"]["loss_ratio"] is None
