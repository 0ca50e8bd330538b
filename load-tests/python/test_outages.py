"""PostgreSQL as the store, and what calls notice when it is away: nothing, unless they want to begin."""

import asyncio
import contextlib
import re
import sqlite3
import time

import pytest
from websockets.exceptions import InvalidStatus

from conftest import TARGET, Process, gateway_config, running_gateway, start_gateway, start_simulator
from database_servers import Postgres
from test_limits import Session
from webrtc_peer import call

LIMIT = 120


def configuration(address, when_away="refuse"):
    return gateway_config(address) + f"store: {{ url_env: STORE_URL, tolerance: 1s, when_away: {when_away} }}\n"


@pytest.fixture
def world():
    """A provider, a PostgreSQL server, and a way to start gateways with both."""
    simulator, address = start_simulator("--answer-ms", "400")
    with Postgres() as postgres:
        yield address, postgres, {"STORE_URL": postgres.url}
    simulator.stop()


def make_key(gateway, env):
    config = gateway.data_dir.parent / f"{gateway.data_dir.name}.yaml"
    process = Process(TARGET / "voxgate", "keys", "create", "--config", config, "--name", "a test", env=env)
    assert process.child.wait(LIMIT) == 0, process.output()
    process.wait_for_end()
    return re.search(r"^key +(\S+)", process.output(), re.M).group(1)


def when(is_so, what):
    until = time.monotonic() + LIMIT
    while not is_so():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def status_of_a_new_session(gateway):
    try:
        Session(gateway).close()
    except InvalidStatus as refused:
        return refused.response.status_code
    return 101


def test_while_postgresql_is_away_running_calls_go_on_and_new_ones_wait(world):
    address, postgres, env = world
    with running_gateway(configuration(address), env=env) as gateway:
        key = make_key(gateway, env)
        stored = lambda: gateway.ask(
            "POST", "/v1/realtime/client_secrets", json={}, headers={"Authorization": f"Bearer {key}"}).status_code
        when(lambda: stored() == 200, "the key of the store opens")
        running, answers = Session(gateway), []

        def note(done):
            assert done["response"]["status"] == "completed", done
            answers.append(done["response"]["id"])

        note(running.answer())

        async def scenario(peer):
            await peer.connect(gateway, token=key, model="sim")
            # In a thread: a caller whose loop stands still is silent, and a silent one is lost.
            await asyncio.to_thread(postgres.stop)
            await asyncio.to_thread(when, lambda: status_of_a_new_session(gateway) == 503, "new sessions are refused")
            for _ in range(3):
                note(await asyncio.to_thread(running.answer))
            peer.ask_in_writing("are you still there")
            note(await peer.event("response.done"))
            assert await asyncio.to_thread(stored) == 200, "what was known is known on"
            # Not in a thread: the server ends with the thread that began it.
            postgres.start()
            await asyncio.to_thread(when, lambda: status_of_a_new_session(gateway) == 101, "sessions begin again")
            peer.ask_in_writing("and now")
            note(await peer.event("response.done"))

        call(scenario)
        running.close()
        gateway.assert_nothing_is_left()
        # What the answers cost, before, during and after, is in the store, all of it and nothing else.
        with contextlib.closing(sqlite3.connect(gateway.data_dir / "outbox.db")) as outbox:
            when(lambda: outbox.execute("SELECT COUNT(*) FROM outbox").fetchone() == (0,), "the outbox is empty")
        billed = postgres.ask(
            "SELECT DISTINCT split_part(split_part(id, '/response:', 2), '/', 1) FROM ledger_entries WHERE id LIKE '%/response:%'")
        assert sorted(billed) == sorted(answers) and len(set(answers)) == 6
    actions = postgres.ask("SELECT action FROM audit_log ORDER BY sequence")
    assert actions[0] == "gateway.start" and actions[-1] == "gateway.stop" and "key.create" in actions, actions


def test_a_gateway_that_starts_while_postgresql_is_away_knows_the_keys_of_before(world, tmp_path):
    address, postgres, env = world
    data = tmp_path / "data"
    gateway = start_gateway(data, configuration(address), env=env)
    key = make_key(gateway, env)
    secret = lambda gateway: gateway.ask(
        "POST", "/v1/realtime/client_secrets", json={}, headers={"Authorization": f"Bearer {key}"}).status_code
    when(lambda: secret(gateway) == 200, "the key of the store opens")
    assert gateway.process.stop() == 0
    postgres.stop()

    for when_away, status in (("refuse", 503), ("allow", 101)):
        gateway = start_gateway(data, configuration(address, when_away), env=env)
        assert secret(gateway) == 200
        assert status_of_a_new_session(gateway) == status
        if when_away == "refuse":
            assert gateway.process.stop() == 0

    postgres.start()
    gateway.process.wait_for("the store is back")
    revoked = Process(
        TARGET / "voxgate", "keys", "revoke", "--config", data.parent / "data.yaml",
        re.search(r"key_\w+", postgres.ask("SELECT id FROM api_keys")[0]).group(0), env=env,
    )
    assert revoked.child.wait(LIMIT) == 0
    when(lambda: secret(gateway) == 401, "a revocation arrives after the outage")
    assert gateway.process.stop() == 0
