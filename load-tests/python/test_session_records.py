"""Records of sessions, lists with their figures, live feeds and the comparison of turns, with real calls."""

import asyncio
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import HTTP, gateway_config, running_gateway, start_simulator
from live_feed import LiveFeed
from test_admin_api import configuration, secret, session, wait_until
from test_keys import reload
from test_lifecycle import run
from webrtc_peer import call
from websocket_peer import SocketPeer

LIMIT = 120


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def look(gateway, path, key=None):
    reply = HTTP.get(f"http://{gateway.http}/admin/v1{path}", headers=bearer(key or gateway.key), timeout=LIMIT)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.fixture(scope="module")
def called(gateway, speak):
    """One call over WebRTC with one spoken turn, its record while it ran, and what its feeds told."""
    question = speak("what time is it")
    feeds = {}

    async def scenario(peer):
        feeds["all"] = await asyncio.to_thread(LiveFeed, gateway, "/live")
        location = await peer.connect(gateway, model="gpt-realtime")
        found = await asyncio.to_thread(look, gateway, f"/sessions?search={location.rsplit('/', 1)[1]}")
        name = found["items"][0]["id"]
        feeds["one"] = await asyncio.to_thread(LiveFeed, gateway, f"/sessions/{name}/live")
        peer.say(question)
        await peer.answer_is_audible()
        await peer.until(lambda: peer.measured, "turn.measured")
        at = time.monotonic()
        await peer.event("output_audio_buffer.stopped")
        shown = await asyncio.to_thread(look, gateway, f"/sessions/{name}")
        return {"peer": peer, "name": name, "measured_at": at, "shown": shown}

    made = call(scenario)
    made["feeds"] = feeds
    wait_until(lambda: look(gateway, f"/sessions/{made['name']}")["state"] == "ended", "the session did not end")
    made["record"] = look(gateway, f"/sessions/{made['name']}/record")
    yield made
    for feed in feeds.values():
        feed.close()


def test_the_hops_of_every_turn_of_a_record_sum_to_the_whole_the_client_was_told(called):
    turn, = called["record"]["turns"]
    hops = sum(hop["duration_ms"] for hop in turn["hops"])
    assert hops + turn["unattributed_ms"] == pytest.approx(turn["mouth_to_ear_ms"], abs=1e-3)
    told, = called["peer"].measured
    # The client is told each hop in whole microseconds.
    assert turn["mouth_to_ear_ms"] == pytest.approx(told["mouth_to_ear_ms"], abs=1e-3 * (len(turn["hops"]) + 1))
    for hop in turn["hops"]:
        waited = sum(piece["duration_ms"] for piece in hop["stretches"] if not piece["overlapped"])
        assert waited == pytest.approx(hop["duration_ms"], abs=1e-3), hop


def test_the_figures_of_the_list_are_those_of_the_record(gateway, called):
    listed, = look(gateway, f"/sessions?state=ended&search={called['name']}")["items"]
    record = called["record"]
    assert listed == record["session"] == look(gateway, f"/sessions/{called['name']}")
    turn, = record["turns"]
    assert listed["turns"] == 1
    for figure in ("mouth_to_ear_p50_ms", "mouth_to_ear_p95_ms"):
        # A list is exact to the microsecond.
        assert listed[figure] == pytest.approx(turn["mouth_to_ear_ms"], abs=2e-3)
    assert listed["breaches"] == (1 if turn["breaches"] else 0)
    assert (listed["transport"], listed["end_reason"], listed["state"]) == ("webrtc", "client_closed", "ended")
    assert called["shown"]["state"] == "open" and called["shown"]["ended_at"] is None


def test_a_turn_reaches_both_feeds_while_the_call_goes_on(called):
    name = called["name"]
    in_record = lambda event, data: event == "record" and data["turns"] and data["session"]["state"] == "open"
    in_list = lambda event, data: event == "sessions" and any(
        one["id"] == name and one["turns"] == 1 and one["state"] == "open" for one in data["changed"])
    for feed, is_it in (("one", in_record), ("all", in_list)):
        at, _, _ = called["feeds"][feed].wait_for(is_it, "the turn")
        # Half a second by design; a busy machine takes longer.
        print(f"{feed}: {at - called['measured_at']:.3f} s after the caller was told")
    _, _, data = called["feeds"]["one"].wait_for(in_record, "the turn")
    assert data["turns"][0]["mouth_to_ear_ms"] == called["record"]["turns"][0]["mouth_to_ear_ms"]


def test_the_pieces_of_a_feed_make_the_record_and_it_ends_with_the_session(called):
    feed = called["feeds"]["one"]
    feed.wait_for_end()
    names = [name for _, name, _ in feed.events]
    assert names[-1] == "end" and set(names[:-1]) == {"record"}
    pieces = [data for _, name, data in feed.events if name == "record"]
    revisions = [piece["revision"] for piece in pieces]
    assert revisions == sorted(set(revisions))
    whole = called["record"]
    for entries, key in (("turns", "turn"), ("network", "at_ms"), ("marks", "number"), ("events", "number")):
        kept = {}
        for piece in pieces:
            kept.update({entry[key]: entry for entry in piece[entries]})
        assert list(kept.values()) == whole[entries], entries
    assert pieces[-1]["session"] == whole["session"]


def test_a_record_is_downloaded_as_a_file(gateway, called):
    reply = gateway.ask("GET", f"/admin/v1/sessions/{called['name']}/record?download=1")
    assert reply.headers["Content-Disposition"] == f'attachment; filename="voxgate-{called["name"]}.json"'
    assert reply.json() == called["record"]


def test_the_turns_of_the_overview_are_those_of_the_records(gateway, called):
    ended = look(gateway, "/sessions?state=all&limit=1000")["items"]
    turns = []
    for item in ended:
        if item["turns"]:
            turns += [turn["mouth_to_ear_ms"] for turn in look(gateway, f"/sessions/{item['id']}/record")["turns"]]
    told = look(gateway, "/overview?window=6h&by=none")
    assert not told["truncated"]
    group, = told["groups"]
    assert told["turns"] == group["turns"] == len(turns)
    assert group["whole"]["max_ms"] == pytest.approx(max(turns), abs=1e-3)
    assert sum(group["whole"]["histogram"]) == len(turns)
    assert sum(map(sum, told["heat"]["columns"])) == len(turns)
    by_route = look(gateway, "/overview?window=6h&by=route")["groups"]
    assert sum(one["turns"] for one in by_route) == len(turns)


def test_those_who_run_the_gateway_see_what_it_runs_on(gateway, called):
    fleet = look(gateway, "/fleet")
    node = fleet["node"]
    assert node["cores"] >= 1 and node["memory_bytes"] > 1_000_000 and node["uptime_ms"] > 0
    relay, = fleet["relays"]
    assert relay["state"] == "alive" and relay["round_trip_ms"] > 0
    assert {target["state"] for target in fleet["providers"]} == {"closed"}
    assert node["pacing_p99_ms"] is not None
    latency = look(gateway, "/latency")
    route = next(route for route in latency["routes"] if route["burn"])
    assert route["budgets"]["whole"] > 0
    assert {one["subject"] for one in route["burn"]} == set(route["budgets"])
    assert latency["tolerance"] == {"allowed": 50, "fast": 6, "slow": 3, "turns": 10}
    assert sum(one["turns"]["5m"] for one in latency["routes"]) >= len(called["record"]["turns"])
    assert all(one["5m"] >= 0 and one["1h"] >= 0 and one["6h"] >= 0 for one in route["burn"])


def test_a_call_over_a_websocket_is_told_like_one_over_webrtc(gateway, speak):
    question = speak("what time is it")

    async def scenario():
        peer = SocketPeer()
        await peer.connect(gateway, model="gpt-realtime")
        created, = peer.all("session.created")
        peer.say(question)
        await peer.event("response.done")
        name = created["session"]["id"]
        await peer.close()
        await peer.connection.close()
        return name

    name = asyncio.run(scenario())
    wait_until(lambda: look(gateway, f"/sessions/{name}")["state"] == "ended", "the session did not end")
    record = look(gateway, f"/sessions/{name}/record")
    assert (record["session"]["transport"], record["session"]["answers"]) == ("websocket", 1)
    turns = record["turns"]
    assert record["session"]["turns"] == len(turns)
    for turn in turns:
        hops = sum(hop["duration_ms"] for hop in turn["hops"])
        assert hops + turn["unattributed_ms"] == pytest.approx(turn["mouth_to_ear_ms"], abs=1e-3)


def test_feeds_and_records_of_others_do_not_exist_and_a_revoked_key_ends_its_feed():
    simulator, address = start_simulator()
    with running_gateway(configuration(address)) as gateway:
        teams = "/admin/v1/organisations/watched/teams"
        for path, body in (
            ("/admin/v1/organisations", {"id": "watched", "name": "watched"}),
            (teams, {"id": "desk", "name": "desk"}),
        ):
            assert gateway.ask("POST", path, json=body).status_code == 201
        made = gateway.ask("POST", f"{teams}/desk/keys", json={
            "name": "reader", "role": "operator", "scopes": ["admin", "calls"]}).json()
        key, own, other = made["key"]["id"], made["secret"], secret("other", "red", "owner")
        known = lambda: HTTP.get(f"http://{gateway.http}/admin/v1/sessions", headers=bearer(own), timeout=LIMIT)
        wait_until(lambda: known().status_code == 200, "the key never worked")
        socket, name = session(gateway, own)
        for path in (f"/sessions/{name}", f"/sessions/{name}/record", f"/sessions/{name}/live"):
            reply = HTTP.get(f"http://{gateway.http}/admin/v1{path}", headers=bearer(other), timeout=LIMIT)
            assert reply.status_code == 404, path
        foreign = LiveFeed(gateway, "/live", key=other)
        _, _, first = foreign.wait_for(lambda event, _: event == "sessions", "the first event")
        assert first["changed"] == []
        feeds = [LiveFeed(gateway, "/live", key=own), LiveFeed(gateway, f"/sessions/{name}/live", key=own)]
        for feed in feeds:
            feed.wait_for(lambda event, _: event in ("sessions", "record"), "the first event")
        assert gateway.ask("POST", f"{teams}/desk/keys/{key}/revoke").status_code == 200
        for feed in feeds:
            feed.wait_for_end()
        assert not foreign.over, "somebody else's feed goes on"
        assert name not in json.dumps(foreign.events)
        socket.close()
    # A reader does not hold up the end of the gateway.
    foreign.wait_for_end()
    simulator.stop()


def test_a_session_shown_in_a_terminal_is_the_one_of_the_record(gateway, called):
    show = ["sessions", "show", called["name"]]
    env = {"VOXGATE_URL": gateway.base, "VOXGATE_KEY": gateway.key}
    code, text = run(*show, "--json", env=env)
    assert code == 0, text
    assert json.loads(text) == called["record"]
    code, text = run(*show, env=env)
    turn, = called["record"]["turns"]
    assert code == 0 and f"{turn['mouth_to_ear_ms']:.0f}" in text and "LONGEST HOP" in text, text


class Crm(BaseHTTPRequestHandler):
    """A server of the operator: refuses the first notice with 503, takes the others, keeps them all."""

    notices = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.notices.append((self.headers["voxgate-signature"], body))
        self.send_response(503 if len(self.notices) == 1 else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_server_of_the_operator_is_told_of_the_end_of_a_session_until_it_takes_it():
    shared = "a secret of sixteen or more"
    simulator, address = start_simulator()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Crm)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    webhook = f'webhooks: {{ crm: {{ url: "http://127.0.0.1:{server.server_port}/", secret_env: CRM_SECRET }} }}\n'
    with running_gateway(webhook + gateway_config(address), env={"CRM_SECRET": shared}) as gateway:
        socket, name = session(gateway, gateway.key)
        socket.close()
        gateway.wait_for_metric(1, "voxgate_session_webhooks_total", webhook="crm", outcome="delivered")
        assert gateway.metric("voxgate_session_webhooks_total", webhook="crm", outcome="failed") == 0
        shown = look(gateway, f"/sessions/{name}")
    (_, refused), (signature, taken) = Crm.notices
    assert refused == taken
    told = json.loads(taken)
    assert (told["version"], told["event"], told["id"]) == (1, "session_ended", f"{name}.session_ended")
    assert told["session"] == shown
    fields = dict(field.split("=", 1) for field in signature.split(","))
    expected = hmac.new(shared.encode(), f"{fields['t']}.".encode() + taken, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(fields["v1"], expected)
    server.shutdown()
    simulator.stop()


def test_a_gateway_that_measures_nothing_serves_calls_and_says_that_it_does_not_until_it_is_to_measure(speak):
    question = speak("what time is it")

    async def scenario(peer):
        await peer.connect(unmeasured, model="gpt-realtime")
        peer.say(question)
        await peer.answer_is_audible()
        await peer.event("output_audio_buffer.stopped")
        return peer

    config = 'providers: { local: { kind: local, decoders: 1 } }\nroutes: [{ model: "*", provider: local }]\n'
    with running_gateway("telemetry: { measuring: false }\n" + config) as unmeasured:
        peer = call(scenario)
        listed, = look(unmeasured, "/sessions?state=all")["items"]
        wait_until(lambda: look(unmeasured, f"/sessions/{listed['id']}")["state"] == "ended", "the session did not end")
        record = look(unmeasured, f"/sessions/{listed['id']}/record")
        overview, latency = look(unmeasured, "/overview"), look(unmeasured, "/latency")
        page = HTTP.get(f"http://{unmeasured.http}/metrics", timeout=LIMIT).text
        reload(unmeasured, "telemetry: { measuring: true }\n" + config)
        wait_until(lambda: look(unmeasured, "/overview")["measuring"], "the new configuration is not in force")
        assert unmeasured.metric("voxgate_config_settings_awaiting_restart") == 0
        call(scenario)
        after, = (item for item in look(unmeasured, "/sessions?state=all")["items"] if item["id"] != listed["id"])
        wait_until(lambda: look(unmeasured, f"/sessions/{after['id']}")["state"] == "ended", "the session did not end")
        measured = look(unmeasured, f"/sessions/{after['id']}/record")
    assert measured["measured"] and len(measured["turns"]) == 1
    assert peer.measured == []
    # A metric with labels is on the page once it has a sample.
    assert "voxgate_turn_seconds_count" not in page and "voxgate_interruptions_total" in page
    assert (record["measured"], record["recording"]["words"]) == (False, False)
    for entries in ("turns", "network", "marks", "transcript"):
        assert record[entries] == [], entries
    assert record["levels"]["caller"] == [] and record["session"]["answers"] == 1
    kinds = [event["kind"] for event in record["events"]]
    assert kinds[0] == "connected" and kinds[-1] == "ended"
    assert (overview["measuring"], overview["turns"]) == (False, 0)
    assert latency["measuring"] is False and all(route["turns"]["6h"] == 0 for route in latency["routes"])
