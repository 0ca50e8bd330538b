"""Tokens of an identity provider: claims become a place, keys rotate, sessions end with the token."""

import base64
import contextlib
import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import time

import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from websockets.sync.client import connect

from conftest import HTTP, KEY, running_gateway

LIMIT = 120


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class SigningKey:
    """ES256 (RFC 7518 section 3.4)."""

    def __init__(self, kid):
        self.kid = kid
        self.private = ec.generate_private_key(ec.SECP256R1())

    def jwk(self):
        point = self.private.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
                "x": base64url(point.x.to_bytes(32)), "y": base64url(point.y.to_bytes(32))}

    def sign(self, claims):
        parts = [base64url(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT", "kid": self.kid}, claims)]
        signed = ".".join(parts)
        r, s = decode_dss_signature(self.private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{base64url(r.to_bytes(32) + s.to_bytes(32))}"


class IdentityProvider:
    """Publishes metadata and keys on a port of its own, and counts how often the keys are asked for."""

    def __init__(self, certificate=None):
        self.keys = [SigningKey("one")]
        self.asked = 0
        self.is_up = True
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if not provider.is_up:
                    return self.send_error(503)
                if self.path == "/.well-known/openid-configuration":
                    body = {"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/keys"}
                else:
                    provider.asked += 1
                    body = {"keys": [key.jwk() for key in provider.keys]}
                text = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.issuer = f"http{'s' if certificate else ''}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, key=None, **claims):
        now = int(time.time())
        whole = {"iss": self.issuer, "aud": "voxgate", "sub": "alice", "iat": now, "exp": now + 600, "team": "red", **claims}
        return (key or self.keys[-1]).sign({name: value for name, value in whole.items() if value is not None})


@contextlib.contextmanager
def gateway_of(provider, more=""):
    config = f"""
providers: {{ local: {{ kind: local, decoders: 1 }} }}
identity:
  jwt:
    - issuer: "{provider.issuer}"
      audience: voxgate
      organisation: acme
      team_claim: team
      role_claim: groups
      roles: {{ callers: member, operators: operator }}
      default_role: member
      leeway: 0s
{more}"""
    with running_gateway(config) as gateway:
        yield gateway
        gateway.assert_nothing_is_left()


@pytest.fixture(scope="module")
def provider():
    provider = IdentityProvider()
    yield provider
    provider.server.shutdown()
    provider.server.server_close()


@pytest.fixture(scope="module")
def gateway(provider):
    with gateway_of(provider) as gateway:
        yield gateway


@contextlib.contextmanager
def session(gateway, token):
    headers = {"Authorization": f"Bearer {token}"}
    with connect(f"ws://{gateway.http}/v1/realtime", proxy=None, open_timeout=LIMIT, additional_headers=headers) as socket:
        assert json.loads(socket.recv(timeout=LIMIT))["type"] == "session.created"
        yield socket


def ask_secret(gateway, token):
    reply = HTTP.post(f"http://{gateway.http}/v1/realtime/client_secrets", json={}, timeout=LIMIT,
                      # A refusal may come before the body was read, which ends the connection.
                      headers={"Authorization": f"Bearer {token}", "Connection": "close"})
    return reply.status_code, reply.json()


def test_a_token_opens_a_session_and_so_does_a_client_secret_made_with_it(gateway, provider):
    with session(gateway, provider.token()):
        pass
    status, secret = ask_secret(gateway, provider.token())
    assert status == 200, secret
    with session(gateway, secret["value"]):
        pass
    with session(gateway, KEY):
        pass


def test_claims_decide_what_somebody_may_see_of_the_administration(gateway, provider):
    def sessions(token):
        reply = HTTP.get(f"http://{gateway.http}/admin/v1/sessions", headers={"Authorization": f"Bearer {token}"}, timeout=LIMIT)
        return reply.status_code, reply.json()

    # Of the test before.
    gateway.wait_for_metric(0, "voxgate_sessions")
    with session(gateway, provider.token(sub="bob", team="red")):
        status, seen = sessions(provider.token(groups=["operators"], team="red"))
        assert status == 200, seen
        [item] = [item for item in seen["items"] if item["state"] == "open"]
        assert (item["organisation"], item["team"], item["provider"]) == ("acme", "red", "local")
        assert item["key"].startswith("user-") and "bob" not in item["key"]
        assert sessions(provider.token())[0] == 403, "a member"
        status, refused = sessions(provider.token(aud="other"))
        assert (status, refused["error"]["code"]) == (401, "invalid_token")


@pytest.mark.parametrize("claims", [
    {"aud": "other"}, {"exp": 1}, {"nbf": 4_000_000_000}, {"team": None}, {"team": "../blue"}, {"sub": None}, {"exp": None},
])
def test_a_token_with_wrong_claims_is_refused_with_a_reason(gateway, provider, claims):
    status, refused = ask_secret(gateway, provider.token(**claims))
    assert status == 401 and refused["error"]["code"] == "invalid_api_key"
    assert refused["error"]["message"].startswith("The token")


def test_a_token_somebody_else_signed_or_changed_is_refused(gateway, provider):
    stranger = SigningKey("one")
    assert ask_secret(gateway, provider.token(key=stranger))[0] == 401
    head, _, signature = provider.token().split(".")
    changed = base64url(json.dumps({"iss": provider.issuer, "aud": "voxgate", "sub": "root", "exp": 4_000_000_000,
                                    "team": "blue"}).encode())
    assert ask_secret(gateway, f"{head}.{changed}.{signature}")[0] == 401
    none = base64url(json.dumps({"alg": "none", "kid": "one"}).encode())
    assert ask_secret(gateway, f"{none}.{changed}.")[0] == 401


def test_a_token_that_is_wrong_again_and_again_has_to_wait(gateway, provider):
    wrong = provider.token(aud="other")
    codes = [ask_secret(gateway, wrong)[0] for _ in range(60)]
    assert codes[0] == 401 and 429 in codes
    assert ask_secret(gateway, provider.token())[0] == 200, "others are not held up"


def test_a_rotated_key_is_followed_at_once_and_unknown_ones_ask_no_more():
    provider = IdentityProvider()
    with gateway_of(provider) as gateway:
        assert ask_secret(gateway, provider.token())[0] == 200
        asked = provider.asked
        old = provider.token()
        provider.keys = [SigningKey("two")]
        assert ask_secret(gateway, provider.token())[0] == 200
        assert provider.asked == asked + 1
        assert ask_secret(gateway, old)[0] == 401, "the provider has taken the old key back"
        for number in range(20):
            assert ask_secret(gateway, provider.token(key=SigningKey(f"made-up-{number}")))[0] == 401
        assert provider.asked == asked + 1, "unknown keys are asked for once in half a minute"
        # Keys that were fetched serve while their provider cannot be reached.
        provider.is_up = False
        assert ask_secret(gateway, provider.token())[0] == 200
    provider.server.shutdown()
    provider.server.server_close()


def self_signed(path):
    """A certificate for 127.0.0.1 that is its own authority, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "identity provider of a test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem))
    return path


@pytest.mark.parametrize("is_trusted", [True, False])
def test_keys_come_over_tls_from_whom_the_configuration_trusts(tmp_path, is_trusted):
    certificate = self_signed(tmp_path / "provider.pem")
    provider = IdentityProvider(certificate)
    authority = f"      ca_file: '{certificate}'\n" if is_trusted else ""
    with gateway_of(provider, authority) as gateway:
        assert ask_secret(gateway, provider.token())[0] == (200 if is_trusted else 401)
    assert (provider.asked > 0) == is_trusted
    provider.server.shutdown()
    provider.server.server_close()


def test_a_session_ends_with_the_token_that_began_it(gateway, provider):
    with contextlib.ExitStack() as stack:
        # A busy machine may need all of a short life for the beginning.
        for seconds in (3, 10, 30):
            expires_at = int(time.time()) + seconds
            with contextlib.suppress(websockets.InvalidStatus, websockets.ConnectionClosed):
                socket = stack.enter_context(session(gateway, provider.token(exp=expires_at)))
                break
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                socket.recv(timeout=LIMIT)
        assert time.time() >= expires_at - 1
    assert ask_secret(gateway, provider.token(exp=expires_at))[0] == 401
