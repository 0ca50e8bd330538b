"""Both voices of whole calls, heard again over the administration, against what the record of the same call says."""

import asyncio
import hashlib
import io
import wave

import numpy
import pytest

from conftest import HTTP, gateway_config, running_gateway, start_simulator
from test_admin_api import session, wait_until
from test_session_records import bearer, look
from webrtc_peer import call
from websocket_peer import SocketPeer

LIMIT = 120
RATE = 16_000

STRANGER = "vg_owner_of_another_organisation"

# How far a sound may lie from where the record has it, in its stretches of 100 ms: pieces that come unevenly are put in a row.
NEAR = 2


@pytest.fixture(scope="module")
def keeping(tmp_path_factory):
    """A gateway that keeps voices."""
    folder = tmp_path_factory.mktemp("voices")
    simulator, address = start_simulator()
    digest = hashlib.sha256(STRANGER.encode()).hexdigest()
    kept = f"""
replay: {{ dir: "{folder}", audio: true, keep: 1h }}
organisations: {{ other: {{ teams: {{ red: {{ keys: {{ owner: {{ hash: {digest}, role: owner }} }} }} }} }} }}
"""
    with running_gateway(gateway_config(address) + kept) as gateway:
        yield gateway
    simulator.stop()


def by_webrtc(gateway, question):
    async def scenario(peer):
        await peer.connect(gateway, model="gpt-realtime")
        created, = peer.all("session.created")
        peer.say(question)
        await peer.answer_is_audible()
        await peer.event("output_audio_buffer.stopped")
        return created["session"]["id"]

    return call(scenario)


def by_websocket(gateway, question):
    async def scenario():
        peer = SocketPeer()
        await peer.connect(gateway, model="gpt-realtime")
        created, = peer.all("session.created")
        # The second question comes while the first answer is being played.
        for _ in range(2):
            peer.say(question)
            await peer.event("response.done")
        await peer.close()
        await peer.connection.close()
        return created["session"]["id"]

    return asyncio.run(scenario())


def fetch(gateway, name, key=None):
    path = f"http://{gateway.http}/admin/v1/sessions/{name}/audio"
    return HTTP.get(path, headers=bearer(key or gateway.key), timeout=LIMIT)


@pytest.fixture(scope="module", params=[by_webrtc, by_websocket])
def heard(request, keeping, speak):
    """A call, its record, and the channels of its file."""
    name = request.param(keeping, speak("what time is it"))
    wait_until(lambda: look(keeping, f"/sessions/{name}")["state"] == "ended", "the session did not end")
    # It is on the list of those that run for a moment longer.
    wait_until(lambda: fetch(keeping, name).status_code != 409, "the session runs for ever")
    reply = fetch(keeping, name)
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"] == "audio/wav" and reply.headers["Cache-Control"] == "no-store"
    with wave.open(io.BytesIO(reply.content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        both = numpy.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2)
    return name, look(keeping, f"/sessions/{name}/record"), {"caller": both[:, 0], "agent": both[:, 1]}


def levels(samples):
    """As the record has them: of every 100 ms, 0 to 100 on a scale of 60 dB below full scale."""
    whole = samples[:len(samples) // 1_600 * 1_600].astype(float).reshape(-1, 1_600)
    power = numpy.maximum((whole ** 2).mean(axis=1) / 32_768 ** 2, 1e-12)
    return numpy.clip((10 * numpy.log10(power) + 60) * 100 / 60, 0, 100)


def test_the_file_is_as_long_as_the_session(heard):
    _, record, channels = heard
    for samples in channels.values():
        assert len(samples) / RATE * 1_000 == pytest.approx(record["session"]["duration_ms"], abs=1)


@pytest.mark.parametrize("voice", ["caller", "agent"])
def test_each_voice_sounds_where_the_record_has_it_loud_and_nowhere_else(heard, voice):
    _, record, channels = heard
    told = record["levels"]
    assert (told["every_ms"], told["from_ms"]) == (100, 0)
    told, own = numpy.array(told[voice]), levels(channels[voice])
    assert (told > 50).sum() >= 3, "the record has no voice at all"
    around = lambda values, place: values[max(place - NEAR, 0):place + NEAR + 1]
    for place, level in enumerate(told[:len(own)]):
        if level > 50:
            assert around(own, place).max() > level - 10, f"silent at {place * 100} ms"
        if around(told, place).max() < 10:
            assert own[place] < 30, f"loud at {place * 100} ms"


def test_the_agent_is_heard_while_its_marks_say_that_it_speaks(heard):
    _, record, channels = heard
    marks = [mark for mark in record["marks"] if (mark["lane"], mark["kind"]) == ("agent", "speech")]
    assert marks
    is_marked = numpy.zeros(len(channels["agent"]), dtype=bool)
    for mark in marks:
        # The last frame is told with its beginning.
        until = (mark["until_ms"] or record["session"]["duration_ms"]) + 150
        is_marked[int((mark["at_ms"] - 50) * RATE / 1_000):int(until * RATE / 1_000)] = True
    energy = channels["agent"].astype(float) ** 2
    assert energy[is_marked].sum() > 0.95 * energy.sum() > 0


def test_the_audit_log_says_who_listened(keeping, heard):
    name, _, _ = heard
    entries = look(keeping, "/audit?limit=200")["items"]
    listened = [entry for entry in entries if (entry["action"], entry["subject"]) == ("session.listen", name)]
    assert listened and listened[0]["detail"]["organisation"] == "default"


def test_nobody_else_listens_and_nobody_while_the_session_runs(keeping, heard):
    name, _, _ = heard
    assert fetch(keeping, name, STRANGER).status_code == 404
    socket, running = session(keeping, keeping.key)
    reply = fetch(keeping, running)
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "session_runs")
    socket.close()


def test_voices_that_were_not_kept_are_not_there(gateway):
    socket, name = session(gateway, gateway.key)
    socket.close()
    reply = fetch(gateway, name)
    assert reply.status_code == 404
    assert reply.json()["error"]["message"] == "The voices of this session were not kept."
