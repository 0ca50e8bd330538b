"""Budgets, prices and the ledger: a budget that runs out ends the call with the right code, and not late."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import time

import pytest
import websockets
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from conftest import TARGET, gateway_config, running_gateway, start_gateway, start_simulator
from database_servers import Postgres
from stores import Sqlite
from webrtc_peer import call

LIMIT = 120
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


def money(tmp_path, budgets):
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    return f"""
money:
  prices: {prices}
  lease: "{LEASE_SECONDS}"
  budgets: {json.dumps(budgets)}
"""


def total(hard, **scope):
    return {"window": "total", "soft": str(hard / 2), "hard": str(hard), **scope}


@contextlib.contextmanager
def speaking_simulator():
    # Generated no faster than it is heard, and longer than the money lasts.
    simulator, address = start_simulator("--answer-ms", "60000", "--speed", "1")
    try:
        yield address
    finally:
        simulator.stop()


@contextlib.contextmanager
def gateway_with_budget(tmp_path, hard, more="", store=Sqlite(), **provider):
    with speaking_simulator() as address:
        config = gateway_config(address, **provider) + money(tmp_path, [total(hard)]) + more + store.config
        with running_gateway(config, env=store.env) as running:
            running.extra["store"] = store
            yield running
            running.assert_nothing_is_left()


def open_session(gateway, key=None):
    headers = {"Authorization": f"Bearer {key or gateway.key}"}
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
    """What the store holds."""
    store = gateway.extra.get("store", Sqlite())
    entries = store.column(gateway.data_dir, "SELECT entry FROM ledger_entries ORDER BY id")
    return [json.loads(entry) for entry in entries]


def waiting_in_the_outbox(gateway):
    with contextlib.closing(sqlite3.connect(f"file:{gateway.data_dir}/outbox.db?mode=ro", uri=True)) as database:
        return [json.loads(entry) for (entry,) in database.execute("SELECT entry FROM outbox")]


def names_of(entries):
    return [json.dumps(entry["id"], sort_keys=True) for entry in entries]


def spent(entries):
    return sum(entry["amount"] for entry in entries)


def wait_for(what, found):
    until = time.monotonic() + LIMIT
    while not found():
        assert time.monotonic() < until, f"{what} never came"
        time.sleep(0.05)


def hear(socket, seconds):
    """Reads until this much of an answer was heard. Gives what it costs at least, in nano-dollars."""
    seen = 0
    while seen < BYTES_PER_SECOND * seconds:
        event = json.loads(socket.recv(timeout=LIMIT))
        if event["type"] == "response.output_audio.delta":
            seen += len(event["delta"]) * 3 // 4
    return seen * 1_000_000_000 // BYTES_PER_SECOND


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
        assert [(event["severity"], event["text"]) for event in gateway.events("budget", "error", "ended")] == [
            ("warning", "The total budget of organisation default has passed its soft limit."),
            ("warning", "The total budget of organisation default is used up: the answer in progress is cancelled."),
            ("error", "The total budget of organisation default is used up: the session ends."),
            ("warning", "The session is over: its budget is used up."),
        ]

        # What is left does not pay for the beginning of another answer, and perhaps not for a session.
        with open_session(gateway) as socket:
            with contextlib.suppress(ConnectionClosed):
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


def test_every_answer_stands_in_the_ledger_with_what_it_cost(tmp_path, new_store):
    with gateway_with_budget(tmp_path, 1_000, store=new_store()) as gateway:
        with open_session(gateway) as socket:
            socket.send(json.dumps({"type": "response.create"}))
            # Gone in the middle of the answer: whoever leaves is billed, a dollar for each second.
            owed = hear(socket, 3)
        gateway.wait_for_metric(0, "voxgate_sessions")
        wait_for("the ledger", lambda: spent(ledger_of(gateway)) >= owed)
        entries = ledger_of(gateway)
        assert entries and all(isinstance(entry["amount"], int) for entry in entries)
        assert len(set(names_of(entries))) == len(entries)
        assert {entry["tenant"]["organisation"] for entry in entries} == {"default"}


def test_a_gateway_killed_in_the_middle_of_an_answer_bills_it_once_and_remembers_its_budgets(tmp_path, new_store):
    hard, store = 12, new_store()
    budgets = [total(hard), {"window": "hour", "hard": str(hard)}]
    with speaking_simulator() as address:
        config = gateway_config(address) + money(tmp_path, budgets) + store.config

        def start():
            gateway = start_gateway(tmp_path / "data", config, env=store.env)
            gateway.extra["store"] = store
            return gateway

        gateway = start()
        socket = open_session(gateway)
        socket.send(json.dumps({"type": "response.create"}))
        owed = hear(socket, 5)
        gateway.process.stop(signal.SIGKILL)
        kept = {name: entry for entry in ledger_of(gateway) + waiting_in_the_outbox(gateway)
                for name in names_of([entry])}
        assert spent(kept.values()) >= owed, "what was heard is covered by what reached the disk"
        assert {entry["certainty"] for entry in kept.values()} == {"estimated"}

        gateway = start()
        try:
            assert waiting_in_the_outbox(gateway) == [], "delivered before the first session"
            entries = ledger_of(gateway)
            assert dict(zip(names_of(entries), entries)) == kept
            assert len(entries) == len(kept)
            # What was spent before the kill is spent.
            with open_session(gateway) as again:
                again.send(json.dumps({"type": "response.create"}))
                events, code, _ = events_until_closed(again)
            assert code == 1008
            assert seconds_heard(events) <= hard - owed / 1e9 + LEASE_SECONDS
        finally:
            assert gateway.process.stop() == 0
        assert waiting_in_the_outbox(gateway) == []


@contextlib.contextmanager
def store_that_takes_nothing(folder):
    """Holds the one place of a writer, as a store that is away does not take entries."""
    with contextlib.closing(sqlite3.connect(folder / "voxgate.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def test_entries_wait_while_the_store_takes_none_and_budgets_catch_up_when_it_does(tmp_path):
    hard = 14
    with speaking_simulator() as address:
        config = gateway_config(address) + money(tmp_path, [total(hard)])
        gateway = start_gateway(tmp_path / "data", config)
        with store_that_takes_nothing(gateway.data_dir):
            with open_session(gateway) as socket:
                socket.send(json.dumps({"type": "response.create"}))
                owed = hear(socket, 5)
                assert spent(waiting_in_the_outbox(gateway)) >= owed and ledger_of(gateway) == []
                gateway.process.stop(signal.SIGKILL)
            kept = waiting_in_the_outbox(gateway)
            gateway = start_gateway(tmp_path / "data", config)
            assert names_of(waiting_in_the_outbox(gateway)) == names_of(kept)
            again = open_session(gateway)
            again.send(json.dumps({"type": "response.create"}))
            heard = hear(again, 0.5) / 1e9
        try:
            # What the gateway before had spent counts from now on, in the middle of the answer.
            events, code, _ = events_until_closed(again)
            assert code == 1008
            assert heard + seconds_heard(events) <= hard - owed / 1e9 + LEASE_SECONDS
            wait_for("the end of the outbox", lambda: not waiting_in_the_outbox(gateway))
            entries = ledger_of(gateway)
            assert len(set(names_of(entries))) == len(entries)
            assert set(names_of(kept)) <= set(names_of(entries))
        finally:
            assert gateway.process.stop() == 0


RED, BLUE, CLERK = "vg_red_key_of_a_test", "vg_blue_key_of_a_test", "vg_clerk_key_of_a_test"


PLACES = {RED: ("acme", "red", "web", None), BLUE: ("acme", "blue", "web", None),
          CLERK: ("acme", "red", "desk", "clerk")}


def organisations():
    digest = lambda key: hashlib.sha256(key.encode()).hexdigest()
    return f"""organisations:
  acme:
    teams:
      red:
        keys:
          web: {{ hash: {digest(RED)} }}
          desk: {{ hash: {digest(CLERK)}, agent: clerk }}
      blue: {{ keys: {{ web: {{ hash: {digest(BLUE)} }} }} }}
"""


@pytest.mark.parametrize("scope, stops, goes_on", [
    ({}, [RED, BLUE, CLERK], None),
    ({"team": "red"}, [RED, CLERK], BLUE),
    ({"team": "red", "key": "web"}, [RED], CLERK),
    ({"team": "red", "key": "desk", "agent": "clerk"}, [CLERK], RED),
], ids=["organisation", "team", "key", "agent"])
def test_a_budget_of_any_level_stops_who_is_below_it_and_nobody_else(tmp_path, scope, stops, goes_on):
    hard = 1
    with speaking_simulator() as address:
        budgets = [total(hard, organisation="acme", **scope)]
        config = gateway_config(address) + money(tmp_path, budgets) + organisations()
        with running_gateway(config) as gateway:
            for key in stops:
                with open_session(gateway, key) as socket:
                    with contextlib.suppress(ConnectionClosed):
                        socket.send(json.dumps({"type": "response.create"}))
                    events, code, _ = events_until_closed(socket)
                assert code == 1008
                assert "insufficient_quota" in [event["error"]["code"] for event in events if event["type"] == "error"]
            if goes_on:
                with open_session(gateway, goes_on) as socket:
                    socket.send(json.dumps({"type": "response.create"}))
                    hear(socket, hard + LEASE_SECONDS)
            gateway.assert_nothing_is_left()
            wait_for("the end of the outbox", lambda: not waiting_in_the_outbox(gateway))
            payers = {PLACES[key] for key in (*stops, goes_on) if key}
            paths = {tuple(entry["tenant"].values()) for entry in ledger_of(gateway)}
            assert paths <= payers and (paths == payers or not scope)


def shown_budgets(gateway):
    """Budgets as the administration shows them, by what they are for and when they begin anew."""
    reply = gateway.ask("GET", "/admin/v1/budgets?limit=200")
    assert reply.status_code == 200, reply.text
    names = ("organisation", "team", "key", "agent", "window")
    return {tuple(item[name] for name in names): item for item in reply.json()["items"]}


WHOLE = ("default", None, None, None, "total")


def test_gateways_on_one_store_stop_at_what_they_spent_together(tmp_path):
    with Postgres() as postgres, speaking_simulator() as address:
        env = {"STORE_URL": postgres.url}
        config = gateway_config(address) + money(tmp_path, [total(HARD_SECONDS)]) + "store: { url_env: STORE_URL }\n"
        with running_gateway(config, env=env) as one, running_gateway(config, env=env) as other:
            # It has its first lease before anybody spends.
            waiting = open_session(other)
            with open_session(one) as socket:
                socket.send(json.dumps({"type": "response.create"}))
                events, code, _ = events_until_closed(socket)
            assert code == 1008 and seconds_heard(events) >= HARD_SECONDS - LEASE_SECONDS - MARK_SECONDS
            billed = lambda: int(postgres.ask("SELECT COALESCE(SUM(amount), 0) FROM ledger_entries")[0])
            wait_for("the ledger", lambda: billed() == shown_budgets(one)[WHOLE]["spent_nano_dollars"])
            wait_for("what one spent", lambda: shown_budgets(other)[WHOLE]["spent_nano_dollars"] == billed() > 0)

            with open_session(other) as late:
                events, code, _ = events_until_closed(late)
            assert code == 1008 and seconds_heard(events) == 0
            assert [event["error"]["code"] for event in events] == ["insufficient_quota"]
            # One that runs may use the lease it has, and gets no other.
            with waiting:
                waiting.send(json.dumps({"type": "response.create"}))
                events, code, _ = events_until_closed(waiting)
            assert code == 1008 and seconds_heard(events) <= 2 * LEASE_SECONDS + MARK_SECONDS
            one.assert_nothing_is_left()
            other.assert_nothing_is_left()
            # Each knows its own from itself and the other's from the store, and neither twice.
            for gateway in (one, other):
                wait_for("the same sum", lambda: shown_budgets(gateway)[WHOLE]["spent_nano_dollars"] == billed())


def voxgate(gateway, *arguments):
    environment = {**os.environ, "VOXGATE_URL": gateway.base, "VOXGATE_KEY": gateway.key}
    command = [str(part) for part in (TARGET / "voxgate", *arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2 * LIMIT)
    return done.returncode, done.stdout + done.stderr


def is_ended_by_its_budget(socket):
    events, code, _ = events_until_closed(socket)
    errors = [event["error"]["code"] for event in events if event["type"] == "error"]
    done = [event["response"]["status"] for event in events if event["type"] == "response.done"]
    return (errors, done, code) == (["insufficient_quota"], ["cancelled"], 1008)


def test_a_limit_that_is_lowered_by_apply_ends_an_answer_and_prices_are_for_new_calls(tmp_path):
    with speaking_simulator() as address:
        config = lambda hard: gateway_config(address) + money(tmp_path, [total(hard)])
        with running_gateway(config(1_000)) as gateway:
            lower, higher = tmp_path / "lower.yaml", tmp_path / "higher.yaml"
            with open_session(gateway) as socket:
                socket.send(json.dumps({"type": "response.create"}))
                hear(socket, 1)
                lower.write_text(config(0.5))
                code, plan = voxgate(gateway, "plan", lower)
                assert code == 2 and 'money.budgets[0].hard: "1000" -> "0.5"   [1 session(s) go on]' in plan, plan
                code, applied = voxgate(gateway, "apply", lower, "--yes")
                assert code == 0, applied
                assert is_ended_by_its_budget(socket), "two thirds of its lease are left, and it ends"
            with open_session(gateway) as socket:
                events, code, _ = events_until_closed(socket)
            assert code == 1008 and [event["error"]["code"] for event in events] == ["insufficient_quota"]

            # A second of speech costs ten dollars from now on, and there is enough for it.
            (tmp_path / "dearer.yaml").write_text(PRICES.replace('"60"', '"600"'))
            higher.write_text(config(1_000).replace("prices.yaml", "dearer.yaml"))
            code, applied = voxgate(gateway, "apply", higher, "--yes")
            assert code == 0, applied
            before = shown_budgets(gateway)[WHOLE]["spent_nano_dollars"]
            with open_session(gateway) as socket:
                socket.send(json.dumps({"type": "response.create"}))
                heard = hear(socket, 1)
            gateway.wait_for_metric(0, "voxgate_sessions")
            spent_since = shown_budgets(gateway)[WHOLE]["spent_nano_dollars"] - before
            assert spent_since >= 10 * heard
            awaiting = gateway.ask("GET", "/admin/v1/configuration").json()["awaiting_restart"]
            assert not [setting for setting in awaiting if setting.startswith("money")], awaiting


def test_a_budget_set_over_the_administration_ends_running_calls_of_every_gateway_on_the_store(tmp_path):
    with Postgres() as postgres, speaking_simulator() as address:
        env = {"STORE_URL": postgres.url}
        config = gateway_config(address) + money(tmp_path, []) + "store: { url_env: STORE_URL }\n"
        with running_gateway(config, env=env) as one, running_gateway(config, env=env) as other:
            with open_session(one) as here, open_session(other) as there:
                for socket in (here, there):
                    socket.send(json.dumps({"type": "response.create"}))
                    hear(socket, 1)
                total = "SELECT COALESCE(SUM(amount), 0) FROM ledger_entries"
                wait_for("the ledger", lambda: int(postgres.ask(total)[0]) >= 500_000_000)
                body = {"organisation": "default", "window": "total", "hard_nano_dollars": 500_000_000}
                made = one.ask("POST", "/admin/v1/budgets", json=body)
                assert made.status_code == 201, made.text
                assert made.json()["left_nano_dollars"] == 0
                assert is_ended_by_its_budget(here) and is_ended_by_its_budget(there)
            # Most of it was spent before there was a budget, by a session of this gateway and by one it never saw.
            for gateway in (one, other):
                wait_for("what both spent", lambda: shown_budgets(gateway)[WHOLE]["spent_nano_dollars"] >= 2_000_000_000)
            budget = f"/admin/v1/budgets/{made.json()['id']}"
            with open_session(one) as socket:
                assert events_until_closed(socket)[1] == 1008

            # Another gateway changes it, and this one follows.
            assert other.ask("PUT", budget, json={"hard_nano_dollars": 1_000_000_000_000}).status_code == 200
            wait_for("the new limit", lambda: shown_budgets(one)[WHOLE]["left_nano_dollars"] > 0)
            with open_session(one) as socket:
                socket.send(json.dumps({"type": "response.create"}))
                hear(socket, 1)
            assert other.ask("DELETE", budget).status_code == 204
            assert shown_budgets(other) == {}
            wait_for("the end of the budget", lambda: shown_budgets(one) == {})
            actions = postgres.ask("SELECT action FROM audit_log WHERE action LIKE 'budget.%' ORDER BY sequence")
            assert actions == ["budget.set", "budget.change", "budget.remove"]
            one.assert_nothing_is_left()
            other.assert_nothing_is_left()


def test_the_official_client_takes_the_end_of_a_budget_as_final(tmp_path):
    async def run(gateway):
        asked_to_come_back = []
        client = AsyncOpenAI(api_key=gateway.key, base_url=gateway.base)
        events = []
        async with client.realtime.connect(
            model="sim", on_reconnecting=lambda event: asked_to_come_back.append(event)
        ) as connection:
            await connection.response.create()
            with pytest.raises(ConnectionClosed) as closed:
                async for event in connection:
                    events.append(event)
        return events, closed.value.rcvd.code, asked_to_come_back

    with gateway_with_budget(tmp_path, HARD_SECONDS) as gateway:
        events, code, asked_to_come_back = asyncio.run(asyncio.wait_for(run(gateway), 2 * LIMIT))
        errors = [event.error.code for event in events if event.type == "error"]
        assert (errors, code, asked_to_come_back) == (["insufficient_quota"], 1008, [])
        assert gateway.metric("voxgate_sessions_started_total", leg="websocket") == 1


def test_a_webrtc_call_without_money_is_told_and_ended(tmp_path):
    with gateway_with_budget(tmp_path, HARD_SECONDS) as gateway:
        async def scenario(peer):
            await peer.connect(gateway, model="sim")
            peer.send({"type": "response.create"})
            await peer.answer_is_audible()
            error = await peer.event("error")
            await peer.ended()
            return error, peer.audible_frames * 0.02

        error, heard = call(scenario)
        assert (error["error"]["type"], error["error"]["code"]) == ("insufficient_quota", "insufficient_quota")
        assert heard <= HARD_SECONDS + LEASE_SECONDS


CALLS = 200
# Dollars a second: the simulator speaks no faster than it is heard.
RATE = 1


async def one_of_many(gateway):
    """One call until it is ended. Gives the bytes heard, how long it took from the begin of the answer to the close, and its code."""
    headers = {"Authorization": f"Bearer {gateway.key}"}
    url = f"ws://{gateway.http}/v1/realtime?model=sim"
    heard, code, begun_at = 0, None, None
    async with websockets.connect(
        url, proxy=None, open_timeout=2 * LIMIT, additional_headers=headers, max_queue=None, ping_interval=None
    ) as socket:
        try:
            await socket.send('{"type": "response.create"}')
            while True:
                text = await socket.recv()
                if '"response.created"' in text:
                    begun_at = time.monotonic()
                # 200 streams in one interpreter: only what has to be is parsed.
                if '"response.output_audio.delta"' in text:
                    heard += len(json.loads(text)["delta"]) * 3 // 4
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd.code == 1008 else str(closed.rcvd)
    return heard, time.monotonic() - begun_at if begun_at else 0, code


def test_two_hundred_calls_overspend_a_small_budget_by_no_more_than_is_promised(tmp_path, record_property):
    hard = 600
    limits = "limits: { sessions: 1000, sessions_per_key: 1000 }\n"
    # On a machine that is busy with other things the simulator takes its time for 200 calls at once; the subject is money.
    patience = {"connect_timeout": "1m", "stall_timeout": "1m"}
    with gateway_with_budget(tmp_path, hard, limits, **patience) as gateway:
        async def run():
            return await asyncio.wait_for(asyncio.gather(*(one_of_many(gateway) for _ in range(CALLS))), 4 * LIMIT)

        calls = asyncio.run(run())
        assert [code for *_, code in calls] == [1008] * CALLS
        gateway.wait_for_metric(0, "voxgate_sessions")
        wait_for("the end of the outbox", lambda: not waiting_in_the_outbox(gateway))
        entries = ledger_of(gateway)
        billed, heard = spent(entries) / 1e9, sum(call[0] for call in calls) / BYTES_PER_SECOND
        # The provider speaks no faster than it is heard. What a call lasted beyond what was heard of it is the time its sound took,
        # on a busy machine that of a queue of seconds, and the way of the cancel and back.
        lags = [lasted - call_heard / BYTES_PER_SECOND for call_heard, lasted, _ in calls]
        promised = sum(LEASE_SECONDS + RATE * lag for lag in lags)
        figures = {"budget": hard, "billed": billed, "heard": heard, "overspent": billed - hard,
                   "promised": promised, "longest_lag_s": max(lags), "entries": len(entries)}
        print(figures)
        record_property("figures", figures)
        assert billed - hard <= promised
        assert heard - hard <= promised
        # A promise is easy to keep by stopping everybody at once.
        assert billed > hard / 2
        assert len(set(names_of(entries))) == len(entries)
