"""Several targets for one model: when one fails, before a call or during it, another serves and the conversation goes on."""

import contextlib
import json
import pathlib
import signal
import socket
import time

import pytest
import websockets

from conftest import TARGET, Process, picked_port, running_gateway, start_simulator
from test_rotation import LIMIT, SECRET_WORD, session
from webrtc_peer import call

NAMES = ("first", "second")
# Where nothing hangs nobody has to lose patience: a target on a busy machine is not one that fails.
PATIENT = "{ attempt: 20s, budget: 40s, silence: 20s }"
# Long enough for a target that is well, short enough to wait for.
IMPATIENT = "{ attempt: 6s, silence: 6s }"


def start_target(name, address="127.0.0.1:0", **options):
    """A simulator that says its name and everything it knows."""
    arguments = {"answer-ms": 400, "model-delay-ms": 20, **{name.replace("_", "-"): value for name, value in options.items()}}
    flags = [part for option, value in arguments.items() for part in (f"--{option}", str(value))]
    if address.endswith(":0"):
        return start_simulator("--answer-text", f"{name} knows {{context}}", *flags)
    process = Process(TARGET / "provider-sim", "--listen", address, "--answer-text", f"{name} knows {{context}}", *flags)
    process.wait_for(address)
    return process, address


def config(addresses, routing, switch):
    providers = "".join(f'  {name}: {{ kind: openai-realtime, base_url: "http://{address}/v1", region: {name}-land }}\n'
                        for name, address in zip(NAMES, addresses))
    targets = "".join(f"      - {{ provider: {name}, priority: {priority} }}\n" for priority, name in enumerate(NAMES))
    return (f"providers:\n{providers}routing: {routing}\n"
            f'routes:\n  - model: "sim*"\n    switch: {switch}\n    targets:\n{targets}')


@contextlib.contextmanager
def two_targets(routing="{}", switch=PATIENT, more="", **options):
    # At ports where one that was killed can begin again.
    simulators = [start_target(name, f"127.0.0.1:{picked_port(socket.SOCK_STREAM)}", **options) for name in NAMES]
    try:
        with running_gateway(config([address for _, address in simulators], routing, switch) + more) as gateway:
            gateway.extra["simulators"] = dict(zip(NAMES, simulators))
            yield gateway
            gateway.assert_nothing_is_left()
    finally:
        for process, _ in simulators:
            process.child.kill()
            process.child.wait()


def kill(gateway, name):
    gateway.extra["simulators"][name][0].stop(signal.SIGKILL)


def hang(gateway, name):
    """The process does nothing more; its sockets stay open and the kernel still takes connections."""
    child = gateway.extra["simulators"][name][0].child
    child.send_signal(signal.SIGSTOP)
    until = time.monotonic() + LIMIT
    threads = pathlib.Path(f"/proc/{child.pid}/task")
    # One that still ran could take the next question.
    while any("State:\tT" not in (thread / "status").read_text() for thread in threads.iterdir()):
        assert time.monotonic() < until


def failovers(gateway, reason, outcome="moved"):
    return gateway.metric("voxgate_routing_failovers_total", outcome=outcome, reason=reason)


def state(gateway, name):
    """The state of a target's circuit."""
    states = [state for state in ("closed", "open", "half_open")
              if gateway.metric("voxgate_routing_target_state", state=state, target=name) == 1]
    assert len(states) == 1, states
    return states[0]


def first_audio(client, since):
    """Seconds until audio comes that nobody has waited for yet."""
    while True:
        event = json.loads(client.socket.recv(timeout=LIMIT))
        client.events.append(event)
        assert event["type"] != "error", event
        if event["type"] == "response.output_audio.delta":
            return time.monotonic() - since


def test_a_target_that_is_gone_before_a_call_is_not_noticed_and_soon_not_asked_any_more():
    # Long enough that nobody tries it again meanwhile.
    with two_targets("{ cool_down: 1m }") as gateway:
        with session(gateway) as client:
            assert client.answer()[0].startswith("first ")
        kill(gateway, "first")
        gaps = []
        # After three failures in a row its circuit is open, and it costs nobody anything.
        for number in range(1, 6):
            with session(gateway) as client:
                began = time.monotonic()
                told, response = client.answer()
                gaps.append(time.monotonic() - began)
                assert response["status"] == "completed" and told.startswith("second ")
            assert failovers(gateway, "setup") == min(number, 3)
        assert (state(gateway, "first"), state(gateway, "second")) == ("open", "closed")
        assert gateway.metric("voxgate_routing_sessions_total", target="second") == 5
        print("whole answers with the first target gone, ms:", [round(gap * 1_000) for gap in gaps])


def test_a_target_that_hangs_before_a_call_is_left_for_another_one():
    with two_targets(switch=IMPATIENT) as gateway:
        hang(gateway, "first")
        with session(gateway) as client:
            began = time.monotonic()
            client.send("response.create")
            gap = first_audio(client, began)
            told, response = client.answer() if client.wait_for("response.done") else None
            assert response["status"] == "completed" and told.startswith("second ")
        assert failovers(gateway, "setup") == 1
        print(f"first audio with the first target hanging (attempt: 6 s): {gap * 1_000:.0f} ms")


def test_a_target_that_dies_between_two_turns_is_replaced_and_nothing_is_forgotten():
    with two_targets() as gateway, session(gateway) as client:
        client.write(f"the word is {SECRET_WORD}")
        assert client.answer()[0].startswith("first ")
        kill(gateway, "first")
        killed = time.monotonic()
        client.send("response.create")
        gap = first_audio(client, killed)
        client.wait_for("response.done")
        told, response = client.answer()
        assert response["status"] == "completed"
        assert told.startswith("second ") and SECRET_WORD in told
        assert failovers(gateway, "lost") == 1
        [seen] = gateway.ask("GET", "/admin/v1/sessions").json()["items"]
        assert (seen["provider"], seen["region"]) == ("second", "second-land")
        # Whoever served an answer is paid for it.
        unpriced = [gateway.metric("voxgate_usage_unpriced_total", provider=name) for name in NAMES]
        assert unpriced == [1, 2]
        client.socket.close()
        retry, move = gateway.events("retry", "failover", "error")
        assert move["text"].startswith("Moved from first to second, after ") and move["text"].endswith(": the connection broke."), move
        assert (move["detail"]["from"], move["detail"]["to"], move["detail"]["reason"]) == ("first", "second", "lost")
        assert move["detail"]["waited_ms"] >= 0 and move["severity"] == retry["severity"] == "warning"
        print(f"from the death of the target to the first audio of another one: {gap * 1_000:.0f} ms")


def test_an_answer_that_a_target_dies_in_is_reported_and_the_next_one_comes_from_another():
    with two_targets(answer_ms=5_000, speed=1) as gateway, session(gateway) as client:
        client.write(f"the word is {SECRET_WORD}")
        client.send("response.create")
        first_audio(client, 0)
        kill(gateway, "first")
        killed = time.monotonic()
        done = client.wait_for("response.done")["response"]
        assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", "provider_disconnected")
        client.send("response.create")
        gap = first_audio(client, killed)
        assert client.wait_for("response.done")["response"]["status"] == "completed"
        kinds = [event["type"] for event in client.events]
        assert kinds.count("response.created") == kinds.count("response.done") == 2
        print(f"from death in the middle of an answer to the first audio of another target: {gap * 1_000:.0f} ms")


def test_a_target_that_falls_silent_is_left_and_the_question_answered_by_another():
    with two_targets(switch=IMPATIENT) as gateway, session(gateway) as client:
        client.write(f"the word is {SECRET_WORD}")
        assert client.answer()[0].startswith("first ")
        hang(gateway, "first")
        asked = time.monotonic()
        client.send("response.create")
        gap = first_audio(client, asked)
        client.wait_for("response.done")
        told, _ = client.answer()
        assert told.startswith("second ") and SECRET_WORD in told
        # The client saw one answer to one question.
        kinds = [event["type"] for event in client.events]
        assert kinds.count("response.created") == kinds.count("response.done") == 3
        assert failovers(gateway, "silent") == 1
        print(f"from the question to the first audio with a silent target (silence: 6 s): {gap * 1_000:.0f} ms")


def test_an_answer_that_is_begun_and_gives_no_sound_fails_and_the_conversation_goes_on():
    with two_targets(switch=IMPATIENT, stall_after_ms=100, fault_at=2) as gateway, session(gateway) as client:
        client.write(f"the word is {SECRET_WORD}")
        assert client.answer()[0].startswith("first ")
        failed = client.answer()[1]
        assert (failed["status"], failed["status_details"]["error"]["code"]) == ("failed", "provider_silent")
        told, response = client.answer()
        assert response["status"] == "completed"
        assert told.startswith("second ") and SECRET_WORD in told


def test_with_every_target_gone_the_client_is_told_and_new_sessions_are_refused_at_once():
    with two_targets(routing="{ failures: 1, cool_down: 1m }", switch="{ attempt: 3s, budget: 3s }") as gateway:
        for name in NAMES:
            kill(gateway, name)
        with session(gateway) as client:
            error = client.wait_for("error")["error"]
            assert error["type"] == "server_error"
            with pytest.raises(websockets.ConnectionClosed):
                client.wait_for("never")
        assert [state(gateway, name) for name in NAMES] == ["open", "open"]
        assert failovers(gateway, "setup", outcome="failed") == 1
        with pytest.raises(AssertionError, match="no_target_available"), session(gateway):
            pass


def test_nobody_is_led_to_a_target_in_a_region_the_policies_forbid(tmp_path):
    policies = tmp_path / "regions.cedar"
    policies.write_text("""
permit (principal, action, resource);
@id("stay-home")
forbid (principal, action == Action::"data.transfer", resource == Region::"second-land");
""")
    with two_targets(more=f"policies: ['{policies}']\n") as gateway:
        kill(gateway, "first")
        with session(gateway) as client:
            error = client.wait_for("error")["error"]
            assert error["code"] == "provider_unreachable", error
        assert failovers(gateway, "setup") == 0
        assert gateway.metric("voxgate_routing_sessions_total", target="second") == 0


def test_a_session_goes_back_to_a_better_target_between_two_turns():
    routing = "{ failures: 1, cool_down: 1s, longest_cool_down: 1s }"
    with two_targets(routing, "{ attempt: 10s, follow_better: true }") as gateway:
        _, address = gateway.extra["simulators"]["first"]
        kill(gateway, "first")
        with session(gateway) as client:
            client.write(f"the word is {SECRET_WORD}")
            assert client.answer()[0].startswith("second ")
            gateway.extra["simulators"]["first"] = start_target("first", address)
            # Other sessions find out that it is well again.
            until = time.monotonic() + LIMIT
            while state(gateway, "first") != "closed":
                assert time.monotonic() < until
                with session(gateway) as other:
                    other.answer()
            # The end of an answer is when it is looked for, the pause after it when the session moves.
            assert client.answer()[0].startswith("second ")
            gateway.wait_for_metric(1, "voxgate_routing_failovers_total", outcome="moved", reason="better")
            told, response = client.answer()
            assert response["status"] == "completed" and told.startswith("first ") and SECRET_WORD in told
        kill(gateway, "first")


def test_a_caller_over_webrtc_hears_the_next_answer_from_another_target(speak):
    question = speak("what time is it")
    with two_targets(transcript=SECRET_WORD, answer_ms=1_000) as gateway:
        async def scenario(peer):
            await peer.connect(gateway, model="sim")
            peer.say(question)
            await peer.event("output_audio_buffer.stopped")
            kill(gateway, "first")
            peer.say(question)
            spoken = time.monotonic()
            await peer.event("response.created")
            await peer.event("output_audio_buffer.started")
            gap = time.monotonic() - spoken
            await peer.event("output_audio_buffer.stopped")
            return gap, peer

        gap, peer = call(scenario)
        assert peer.all("error") == []
        said = "".join(event["delta"] for event in peer.all("response.output_audio_transcript.delta"))
        assert "first knows" in said and "second knows" in said, said
        print(f"from the beginning of the next question to its answer at another target: {gap * 1_000:.0f} ms")
