"""A client without the script: what its RTCP receiver reports say of the downlink stands in the record and moves the waterfall."""

import asyncio
import os
import random
import time

import pytest

from conftest import gateway_config, running_gateway, start_simulator
from delayed_way import DelayedWay
from test_session_records import look
from webrtc_peer import call

JITTER_SECONDS = 0.2
LOSS = 0.3
# Of an answer that takes up to 200 ms more by chance, whatever a busy machine adds to it.
LEAST_JITTER_MS = 10
# Two turns on a calm way and two on an uneven one: the first of each pair is still told of what was before. A busy machine makes a calm
# way uneven, and nothing makes one calmer than it is: so there may be more rounds.
ROUND = (0, 0, JITTER_SECONDS, JITTER_SECONDS)
MOST_ROUNDS = 4
CALM, UNEVEN = slice(1, -1, len(ROUND)), slice(3, -1, len(ROUND))


@pytest.fixture(scope="module")
def heard(speak):
    """A call whose way to the caller is calm for two turns, then uneven, again if that did not tell them apart, then loses packets too:
    what the caller was told of its turns, and the record."""
    seed = int(os.environ.get("WAY_SEED", random.randrange(1 << 32)))
    print(f"WAY_SEED={seed}")
    question = speak("what time is it")
    sim, address = start_simulator("--answer-ms", "3000")
    way = DelayedWay(seed=seed)

    async def scenario(peer, gateway):
        location = await peer.connect(gateway, model="sim")
        found = await asyncio.to_thread(look, gateway, f"/sessions?search={location.rsplit('/', 1)[1]}")
        path = f"/sessions/{found['items'][0]['id']}/record"

        async def turn():
            count = len(peer.measured) + 1
            peer.say(question)
            await peer.until(lambda: len(peer.measured) >= count, "turn.measured")
            await peer.event("output_audio_buffer.stopped")

        for _ in range(MOST_ROUNDS):
            for jitter in ROUND:
                way.jitter = jitter
                await turn()
            # The slices leave out the last turn, which is to come.
            record = await asyncio.to_thread(look, gateway, path)
            if told_apart([*peer.measured, None], [*record["turns"], None], record):
                break
        way.jitter, way.loss = 0, LOSS
        await turn()
        until = time.monotonic() + 120
        while not (rows := downlinks(await asyncio.to_thread(look, gateway, path))) or not sum(row["lost"] or 0 for row in rows):
            assert time.monotonic() < until, f"no loss was reported: {rows}"
            await asyncio.sleep(0.2)
        return peer.measured, await asyncio.to_thread(look, gateway, path)

    try:
        config = gateway_config(address, turn_detection="gateway")
        with running_gateway(config, arguments=("--relay-advertise", way.address)) as gateway:
            way.relay = ("127.0.0.1", int(gateway.process.wait_for(r"relay started.* port=(\d+)").group(1)))
            yield call(lambda peer: scenario(peer, gateway))
    finally:
        way.stop()
        sim.stop()


def downlinks(record):
    return [row["downlink"] for row in record["network"] if row["downlink"]]


def jitter_before(record, turn):
    """What the client had reported last when a turn was measured."""
    until = turn["at_ms"] + turn["mouth_to_ear_ms"]
    rows = [row["downlink"]["jitter_ms"] for row in record["network"] if row["downlink"] and row["at_ms"] <= until]
    return rows[-1]


def told_apart(measured, turns, record):
    """The greatest playout, its error and the jitter of uneven turns, if each is more than the least of calm ones; and those."""
    figures = {}
    for name, which, choose in (("calm", CALM, min), ("uneven", UNEVEN, max)):
        playouts = [playout(turn) for turn in measured[which]]
        figures[name] = (choose(hop["duration_ms"] for hop in playouts), choose(hop["error_ms"] for hop in playouts),
                         choose(jitter_before(record, turn) for turn in turns[which]))
    print("playout, its error and reported jitter, ms:", figures)
    is_apart = all(uneven > calm for calm, uneven in zip(figures["calm"], figures["uneven"]))
    return figures if is_apart else None


def playout(turn):
    return next(hop for hop in turn["hops"] if hop["hop"] == "playout")


def test_reported_jitter_moves_the_estimated_playout_and_a_calm_way_does_not(heard):
    measured, record = heard
    playouts = [playout(turn) for turn in measured]
    assert all(hop["certainty"] == "estimated" and hop["error_ms"] >= 40 for hop in playouts[1:])
    figures = told_apart(measured, record["turns"], record)
    assert figures, "each is more on the uneven way"
    assert figures["uneven"][2] >= LEAST_JITTER_MS
    assert figures["calm"][0] >= 60


def test_what_is_lost_on_the_way_to_a_client_without_the_script_is_in_its_record(heard):
    _, record = heard
    rows = downlinks(record)
    packets, lost = (sum(row[figure] or 0 for row in rows) for figure in ("packets", "lost"))
    print("packets", packets, "lost", lost)
    assert packets >= 100 and lost > 0
    # Nobody told.
    assert all(row[figure] is None for row in rows for figure in ("buffer_ms", "playout_ms", "concealed_ms"))
    assert record["session"]["loss_ratio"] > 0
    scores = [(row["mos"], row["downlink"]["lost"]) for row in record["network"] if row["downlink"] and row["mos"]]
    assert min(score for score, lost in scores if lost) < max(score for score, lost in scores if not lost)
