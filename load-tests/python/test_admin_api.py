"""The administration over HTTP, as somebody at a terminal uses it against a running gateway."""

import hashlib
import json
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from conftest import HTTP, KEY, ROOT, running_gateway, start_simulator
from test_lifecycle import run

LIMIT = 120
OFFER = ROOT / "media" / "corpus" / "sdp" / "chrome-audio-data.sdp"
# By organisation, team and role; the secret of each says where it belongs.
PLACES = [("acme", "red"), ("acme", "blue"), ("other", "red")]
ROLES = ["owner", "operator", "auditor", "member"]


def secret(organisation, team, role):
    return f"vg_test_{organisation}_{team}_{role}"


def configuration(sim):
    def keys(organisation, team):
        lines = []
        for role in ROLES:
            digest = hashlib.sha256(secret(organisation, team, role).encode()).hexdigest()
            lines.append(f"          {role}: {{ hash: {digest}, role: {role} }}")
        return "\n".join(lines)

    tree = {}
    for organisation, team in PLACES:
        tree.setdefault(organisation, []).append(team)
    text = f"""
providers:
  sim: {{ kind: openai-realtime, base_url: "http://{sim}/v1" }}
routes: [{{ model: "*", provider: sim }}]
limits: {{ setup_timeout: 2m }}
organisations:
"""
    for organisation, teams in tree.items():
        text += f"  {organisation}:\n    teams:\n"
        for team in teams:
            text += f"      {team}:\n        keys:\n{keys(organisation, team)}\n"
    return text


@pytest.fixture(scope="module")
def gateway(new_store):
    simulator, address = start_simulator()
    store = new_store()
    with running_gateway(configuration(address) + store.config, env=store.env) as running:
        running.extra["store"] = store
        yield running
    simulator.stop()


def ask(gateway, method, path, key=KEY, mark=None, **options):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if mark:
        headers["Idempotency-Key"] = mark
    reply = HTTP.request(method, f"http://{gateway.http}{path}", headers=headers, timeout=LIMIT, stream=True, **options)
    if reply.headers.get("Content-Type", "").startswith("text/event-stream"):
        # A live feed has no end: its first events tell everything there is at present.
        reply._content = b"".join(first_events(reply))
        reply.close()
    return reply


def first_events(reply):
    read = b""
    for piece in reply.iter_content(None):
        yield piece
        read += piece
        _, found, rest = read.partition(b"event: sessions" if b"event: sessions" in read else b"event: record")
        if found and b"\n\n" in rest:
            return


def admin(gateway, method, path, **options):
    return ask(gateway, method, f"/admin/v1{path}", **options)


def session(gateway, key, **options):
    socket = connect(
        f"ws://{gateway.http}/v1/realtime?model=m",
        additional_headers={"Authorization": f"Bearer {key}"},
        open_timeout=LIMIT,
        proxy=None,
        **options,
    )
    created = json.loads(socket.recv(LIMIT))
    assert created["type"] == "session.created"
    return socket, created["session"]["id"]


def ending(socket):
    """What is said before the close, and the close."""
    events = []
    try:
        while True:
            events.append(json.loads(socket.recv(LIMIT)))
    except ConnectionClosed as closed:
        return events, closed.rcvd


def wait_until(true, what, limit=LIMIT):
    until = time.monotonic() + limit
    while not true():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def test_a_session_is_listed_looked_at_and_ended_from_outside(gateway):
    socket, name = session(gateway, secret("acme", "red", "member"))
    operator = secret("acme", "red", "operator")
    listed = admin(gateway, "GET", "/sessions", key=operator).json()
    assert [item["id"] for item in listed["items"]] == [name] and listed["next"] is None
    shown = admin(gateway, "GET", f"/sessions/{name}", key=operator).json()
    assert shown == listed["items"][0]
    assert (shown["organisation"], shown["team"], shown["key"]) == ("acme", "red", "member")
    assert (shown["model"], shown["provider"], shown["transport"]) == ("m", "sim", "websocket")
    assert (shown["state"], shown["answers"], shown["call"]) == ("open", 0, None)

    socket.send(json.dumps({"type": "conversation.item.create", "item": {
        "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}}))
    socket.send(json.dumps({"type": "response.create"}))
    wait_until(
        lambda: admin(gateway, "GET", f"/sessions/{name}", key=operator).json()["answers"] == 1,
        "the answer was never counted",
    )

    ended = admin(gateway, "POST", f"/sessions/{name}/end", key=operator, mark="end-1")
    assert ended.status_code == 202 and ended.json()["state"] == "ending"
    events, close = ending(socket)
    errors = [event["error"] for event in events if event["type"] == "error"]
    assert [error["code"] for error in errors] == ["session_ended_by_operator"]
    assert (close.code, close.reason) == (1008, "The session was ended in the administration.")
    wait_until(
        lambda: admin(gateway, "GET", f"/sessions/{name}", key=operator).json()["state"] == "ended",
        "the session stayed on the list",
    )
    over = admin(gateway, "GET", f"/sessions/{name}", key=operator).json()
    assert (over["end_reason"], over["answers"]) == ("ended_by_operator", 1)
    assert admin(gateway, "GET", "/sessions", key=operator).json()["items"] == []
    ended = admin(gateway, "GET", f"/sessions?state=ended&search={name}", key=operator).json()["items"]
    assert [item["id"] for item in ended] == [name]
    gateway.wait_for_metric(1, "voxgate_sessions_ended_total", reason="ended_by_operator")
    log = admin(gateway, "GET", "/audit?limit=200", key=secret("acme", "blue", "auditor")).json()["items"]
    told = [(entry["subject"], entry["actor"]) for entry in log if entry["action"] == "session.end"]
    assert told == [(name, "acme/red/operator")]


def test_an_organisation_is_made_its_key_calls_and_stops_calling_when_it_is_revoked(gateway):
    assert admin(gateway, "POST", "/organisations", json={"id": "fresh", "name": "Fresh Ltd"}).status_code == 201
    teams = "/organisations/fresh/teams"
    assert admin(gateway, "POST", teams, json={"id": "desk", "name": "Front desk"}).status_code == 201
    keys = f"{teams}/desk/keys"
    made = admin(gateway, "POST", keys, json={"name": "laptop"}, mark="key-1")
    assert made.status_code == 201
    key, caller = made.json()["key"], made.json()["secret"]
    again = admin(gateway, "POST", keys, json={"name": "laptop"}, mark="key-1")
    assert (again.status_code, again.json()["secret"]) == (200, None)
    assert again.json()["key"]["id"] == key["id"]

    # The gateway follows its store.
    secrets = lambda: ask(gateway, "POST", "/v1/realtime/client_secrets", key=caller, json={})
    wait_until(lambda: secrets().status_code == 200, "the key never opened anything")
    socket, name = session(gateway, caller)
    shown = admin(gateway, "GET", f"/sessions/{name}").json()
    assert (shown["organisation"], shown["team"], shown["key"]) == ("fresh", "desk", key["id"])
    revoked = admin(gateway, "POST", f"{keys}/{key['id']}/revoke")
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    events, close = ending(socket)
    assert [event["error"]["code"] for event in events if event["type"] == "error"] == ["account_deactivated"]
    assert close.code == 1008
    # Whoever asked too often while the key was not known yet is told to wait.
    assert secrets().status_code in (401, 429)

    store = gateway.extra["store"]
    code, verdict = run("audit", "verify", *store.arguments(gateway.data_dir), env=store.env)
    assert code == 0, verdict
    log = admin(gateway, "GET", "/audit?limit=200").text
    assert "key.create" in log and "key.revoke" in log and caller not in log
    assert caller not in gateway.process.output()


def test_every_page_of_a_long_list_follows_the_one_before(gateway):
    seen, after = [], ""
    for _ in range(20):
        page = admin(gateway, "GET", f"/keys?limit=5{after}").json()
        assert len(page["items"]) <= 5
        seen += [(item["organisation"], item["team"], item["id"]) for item in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert len(seen) == len(set(seen))
    assert {("acme", "blue", "owner"), ("other", "red", "member"), ("default", "default", "default")} <= set(seen)


def described(gateway):
    """Every path of the served description, with its methods."""
    document = HTTP.get(f"http://{gateway.http}/admin/v1/openapi.json", timeout=LIMIT).json()
    return {path: [method.upper() for method in methods] for path, methods in document["paths"].items()}


def body_for(method, path):
    if method == "PATCH":
        return {"name": "taken over"}
    if method == "PUT":
        return {"hard_nano_dollars": 1_000_000_000_000_000}
    if method == "POST" and path.endswith("/budgets"):
        return {"organisation": "walled", "window": "month", "hard_nano_dollars": 1}
    if method == "POST" and path.endswith("/keys"):
        return {"name": "taken over"}
    bundle = {"bundle": {"configuration": "limits: { sessions: 1 }"}}
    if path.endswith("/configuration/plan"):
        return bundle
    if path.endswith("/configuration/apply"):
        return {**bundle, "follows": "0" * 64}
    if path.endswith("/configuration/rollback"):
        return {"follows": "0" * 64}
    if path.endswith("/decide"):
        return {"act": "session.start", "organisation": "walled", "team": "ours", "key": "k", "role": "member"}
    if method == "POST" and path.rsplit("/", 1)[1] in ("organisations", "teams"):
        return {"id": "taken-over", "name": "taken over"}
    return None


# What each place has, in words that appear nowhere else. An answer to somebody else must not hold any of them.
class Tenant:
    def __init__(self, gateway, organisation, team):
        self.organisation, self.team = organisation, team
        base = f"/organisations/{organisation}/teams"
        made = admin(gateway, "POST", base, json={"id": team, "name": f"{team} in words"})
        assert made.status_code == 201, made.text
        self.keys = {}
        for role in ROLES:
            made = admin(gateway, "POST", f"{base}/{team}/keys", json={"name": f"{organisation} {role}", "role": role,
                         "scopes": ["calls", "client_secrets", "sidebands", "admin"]})
            assert made.status_code == 201, made.text
            self.keys[role] = (made.json()["key"]["id"], made.json()["secret"])
        # The gateway follows its store; when it knows the key that was made last, it knows them all.
        secrets = lambda: ask(gateway, "POST", "/v1/realtime/client_secrets", key=self.secret(ROLES[-1]), json={})
        wait_until(lambda: secrets().status_code == 200, "the keys never worked")
        self.socket, self.session = session(gateway, self.secret("member"))
        budget = {"organisation": organisation, "team": team, "window": "day", "hard_nano_dollars": 10**15}
        made = admin(gateway, "POST", "/budgets", key=self.secret("owner"), json=budget)
        assert made.status_code == 201, made.text
        self.budget = made.json()["id"]

    def secret(self, role):
        return self.keys[role][1]

    def fill(self, path):
        """A path with what is this tenant's."""
        for name, value in {
            "{session}": self.session, "{organisation}": self.organisation, "{team}": self.team,
            "{key}": self.keys["member"][0], "{approval}": "appr_of_nobody", "{revision}": "1", "{agent}": "agent-of-nobody",
            "{budget}": self.budget,
        }.items():
            path = path.replace(name, value)
        assert "{" not in path, f"no example for {path}: give this test one"
        return path

    def words(self):
        """Names that only this tenant's things have."""
        return {self.session, self.budget, *(key for key, _ in self.keys.values())}


@pytest.fixture(scope="module")
def tenants(gateway):
    for organisation in ("walled", "stranger"):
        made = admin(gateway, "POST", "/organisations", json={"id": organisation, "name": organisation})
        assert made.status_code == 201, made.text
    places = {
        "victim": Tenant(gateway, "walled", "ours"),
        "neighbour": Tenant(gateway, "walled", "theirs"),
        "stranger": Tenant(gateway, "stranger", "ours"),
    }
    yield places
    for tenant in places.values():
        tenant.socket.close()


def strangers(tenants):
    """Everybody who must not see the victim's things, with their key. Owners and auditors of its own organisation may."""
    for role in ROLES:
        yield f"{role} of another organisation", tenants["stranger"].secret(role)
    for role in ("operator", "member"):
        yield f"{role} of another team", tenants["neighbour"].secret(role)
    yield "member of the same team", tenants["victim"].secret("member")


def test_nothing_of_a_tenant_is_seen_or_changed_by_another_whatever_is_asked(gateway, tenants):
    victim = tenants["victim"]
    whole = lambda: [
        admin(gateway, "GET", path, key=victim.secret("owner")).json()
        for path in ("/organisations/walled/teams/ours", f"/budgets/{victim.budget}")
    ]
    before, asked = whole(), 0
    for path, methods in described(gateway).items():
        for method in methods:
            for who, key in strangers(tenants):
                body = body_for(method, path)
                reply = ask(gateway, method, victim.fill(path), key=key, json=body)
                asked += 1
                case = f"{who}: {method} {path}: {reply.status_code} {reply.text[:300]}"
                assert reply.status_code < 500, case
                own = next(
                    (tenant.words() for tenant in tenants.values() if key in (secret for _, secret in tenant.keys.values())),
                    set(),
                )
                foreign = victim.words() - own
                assert not any(word in reply.text for word in foreign), case
                if "{" in path or method != "GET":
                    # Addressed by name: as if it were not there, or not allowed at all. One's own organisation has a name.
                    is_own_organisation = who.endswith("team") and path == "/admin/v1/organisations/{organisation}"
                    is_list_of_own = who.endswith("team") and path == "/admin/v1/organisations/{organisation}/teams"
                    if not (method == "GET" and (is_own_organisation or is_list_of_own)):
                        assert reply.status_code in (401, 403, 404), case
                if "members" in who or who.startswith("member"):
                    assert reply.status_code == 403, case
    assert asked >= 7 * 17
    assert whole() == before, "a stranger changed it"
    # The victim's session still runs: nobody ended it.
    shown = admin(gateway, "GET", f"/sessions/{victim.session}", key=victim.secret("operator"))
    assert shown.json()["state"] == "open"


def test_what_is_not_there_and_what_is_somebody_elses_are_refused_in_the_same_words(gateway, tenants):
    victim, stranger = tenants["victim"], tenants["stranger"]
    for path, methods in described(gateway).items():
        if "{" not in path:
            continue
        for method in methods:
            body = body_for(method, path)
            key = stranger.secret("owner")
            foreign = ask(gateway, method, victim.fill(path), key=key, json=body)
            missing = path
            for name, value in {
                "{session}": "sess_nothing", "{organisation}": "nothing", "{team}": "nothing", "{key}": "nothing",
                "{approval}": "nothing", "{revision}": "999999", "{agent}": "nothing",
                "{budget}": "nothing",
            }.items():
                missing = missing.replace(name, value)
            missing = ask(gateway, method, missing, key=key, json=body)
            assert (foreign.status_code, foreign.json()) == (missing.status_code, missing.json()), f"{method} {path}"


def test_calls_of_a_tenant_are_out_of_reach_for_the_keys_of_others(gateway, tenants):
    """The client API: a call of another key is as unknown as one that never was, also for one's own colleagues."""
    victim, sdp, text = tenants["victim"], {"Content-Type": "application/sdp"}, OFFER.read_text()
    request = lambda method, url, key, **options: HTTP.request(
        method, url, headers={"Authorization": f"Bearer {key}", **sdp}, timeout=LIMIT, **options
    )
    # The call waits for its caller to connect, which nobody does; it lasts for longer than the questions.
    made = request("POST", f"http://{gateway.http}/v1/realtime/calls?model=m", victim.secret("member"), data=text)
    assert made.status_code == 201, made.text
    call = f"http://{gateway.http}{made.headers['Location']}"
    name = call.rsplit("/", 1)[1]
    operator = victim.secret("operator")
    shown = [item for item in admin(gateway, "GET", "/sessions", key=operator).json()["items"] if item["call"] == name]
    assert [(item["transport"], item["state"]) for item in shown] == [("webrtc", "connecting")]
    for who, key in [*strangers(tenants), ("colleague", operator), ("whoever runs the gateway", KEY)]:
        if key == victim.secret("member"):
            continue
        for reply in (request("POST", f"{call}/hangup", key), request("PATCH", call, key, data=text)):
            assert (reply.status_code, reply.json()["error"]["code"]) == (404, "call_id_not_found"), who
        with pytest.raises(InvalidStatus) as refused:
            connect(
                f"ws://{gateway.http}/v1/realtime?call_id={name}",
                additional_headers={"Authorization": f"Bearer {key}"},
                proxy=None,
            )
        assert refused.value.response.status_code == 404, who
    assert request("POST", f"{call}/hangup", victim.secret("member")).status_code == 200
    wait_until(
        lambda: admin(gateway, "GET", f"/sessions/{shown[0]['id']}", key=operator).json()["state"] == "ended",
        "the call stayed on the list",
    )
