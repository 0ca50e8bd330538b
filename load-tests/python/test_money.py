"""Budgets, prices and the ledger: a budget that runs out ends the call with the right code, and not late."""

import contextlib
import json
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from conftest import gateway_config, running_gateway, start_simulator

LIMIT = 30
# One dollar for a minute of generated audio, so that an amount is a length of audio.
PRICES = """
- vendor: openai
  models: ["sim*"]
  valid_from: 2020-01-01
  source: this test
  by_wire: { output_audio_minute: "60" }
"""
LEASE_SECONDS = 2
HARD_SECONDS = 6
# Audio that may come after the lease is used up: the meter's marks are two seconds ahead, and the simulator sends its
# audio in pieces of well below a second until the cancel reaches it.
MARK_SECONDS = 2
BYTES_PER_SECOND = 48_000


@contextlib.contextmanager
def gateway_with_budget(tmp_path, hard):
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    # Generated no faster than it is heard, and longer than the money lasts.
    simulator, address = start_simulator("--answer-ms", "60000", "--speed", "1")
    config = gateway_config(address) + f"""
money:
  prices: {prices}
  lease: "{LEASE_SECONDS}"
  budgets: [{{ window: total, soft: "{hard / 2}", hard: "{hard}" }}]
"""
    try:
        with running_gateway(config) as running:
            yield running
            running.assert_nothing_is_left()
    finally:
        simulator.stop()


def open_session(gateway):
    headers = {"Authorization": f"Bearer {gateway.key}"}
    url = f"ws://{gateway.http}/v1/realtime?model=sim"
    return connect(url, proxy=None, open_timeout=LIMIT, additional_headers=headers)


def events_until_closed(socket):
    """Every event, and the code and reason of the close."""
    events = []
    try:
        while True:
            events.append(json.loads(socket.recv(timeout=LIMIT)))
    except ConnectionClosed as closed:
        return events, closed.rcvd.code, closed.rcvd.reason


def ledger_of(gateway):
    lines = [line for path in sorted((gateway.data_dir / "ledger").glob("*.jsonl"))
             for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def seconds_heard(events):
    encoded = sum(len(event["delta"]) for event in events if event["type"] == "response.output_audio.delta")
    return encoded * 3 / 4 / BYTES_PER_SECOND


def test_a_budget_that_runs_out_in_the_middle_of_an_answer_ends_the_call_with_the_code_clients_take_as_final(tmp_path):
    with gateway_with_budget(tmp_path, HARD_SECONDS) as gateway:
        with open_session(gateway) as socket:
            socket.send(json.dumps({"type": "response.create"}))
            events, code, reason = events_until_closed(socket)
        errors = [event["error"] for event in events if event["type"] == "error"]
        assert [(error["type"], error["code"]) for error in errors] == [("insufficient_quota", "insufficient_quota")]
        assert (code, reason.split(":")[0]) == (1008, "insufficient_quota")
        done = [event["response"]["status"] for event in events if event["type"] == "response.done"]
        assert done == ["cancelled"]
        # Counted in audio, not in time: a busy machine makes both slower.
        heard = seconds_heard(events)
        assert HARD_SECONDS - LEASE_SECONDS - MARK_SECONDS <= heard <= HARD_SECONDS + LEASE_SECONDS, heard
        for action in ("warn", "cancel", "close"):
            assert gateway.metric("voxgate_budget_actions_total", action=action) == 1

        # What is left does not pay for the beginning of another answer.
        with open_session(gateway) as socket:
            socket.send(json.dumps({"type": "response.create"}))
            events, code, _ = events_until_closed(socket)
        assert "insufficient_quota" in [event["error"]["code"] for event in events if event["type"] == "error"]
        assert code == 1008
        assert seconds_heard(events) <= LEASE_SECONDS


def test_a_model_without_a_price_is_refused_if_the_configuration_says_so(tmp_path):
    config = gateway_config("127.0.0.1:1") + "money: { unknown_price: refuse }\n"
    with running_gateway(config) as gateway:
        with open_session(gateway) as socket:
            events, code, _ = events_until_closed(socket)
        assert [event["error"]["code"] for event in events] == ["model_unpriced"]
        assert gateway.metric("voxgate_budget_actions_total", action="refuse") == 1


def test_every_answer_stands_in_the_ledger_with_what_it_cost(tmp_path):
    with gateway_with_budget(tmp_path, 1_000) as gateway:
        with open_session(gateway) as socket:
            socket.send(json.dumps({"type": "response.create"}))
            seen = 0
            while seen < BYTES_PER_SECOND * 3:
                event = json.loads(socket.recv(timeout=LIMIT))
                if event["type"] == "response.output_audio.delta":
                    seen += len(event["delta"]) * 3 // 4
            # Gone in the middle of the answer: whoever leaves is billed, a dollar for each second.
        gateway.wait_for_metric(0, "voxgate_sessions")
        # Written by a thread of its own: the last entries may still be on their way.
        owed = seen * 1_000_000_000 // BYTES_PER_SECOND
        until = time.monotonic() + LIMIT
        while sum(entry["amount"] for entry in ledger_of(gateway)) < owed:
            assert time.monotonic() < until, ledger_of(gateway)
            time.sleep(0.05)
        entries = ledger_of(gateway)
        assert entries and all(isinstance(entry["amount"], int) for entry in entries)
        assert len({json.dumps(entry["id"], sort_keys=True) for entry in entries}) == len(entries)
        assert {entry["tenant"]["organisation"] for entry in entries} == {"default"}
