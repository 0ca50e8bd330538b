// Callers whose network has no UDP: the call goes over TCP to the relay's stream port.
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import path from "node:path";
import { after, before, test } from "node:test";
import { launch } from "./chromium.js";
import { BINARIES, Gateway, KEY } from "./gateway.js";
import { ChildProcess } from "./process.js";
import { until } from "./patience.js";
import { TalkPage, said } from "./talk.js";
import { speech, writeWav } from "./voice.js";

let gateway;
before(async () => (gateway = await Gateway.start('relay: { stream: "127.0.0.1:0" }\n')));
after(() => gateway.stop());

/** Runs in the page: keeps the connection for `report`; `ports` change candidates by their protocol. */
function observe(ports) {
  const moved = ({ type, sdp }) => ({
    type,
    sdp: sdp.replace(
      /^(a=candidate:\S+ \d+ (udp|tcp) \d+ \S+) (\d+)/gim,
      (line, rest, protocol, port) => `${rest} ${ports[protocol.toLowerCase()] ?? port}`,
    ),
  });
  const accept = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    window.testedConnection = this;
    return accept.call(this, moved(description));
  };
}

/** A port at which nobody answers: what a network without UDP makes of every port. */
const NOBODY = 9;

/** Runs in the page: the selected pair with both candidates, and what came and went in RTP. */
async function report() {
  const stats = [...(await window.testedConnection.getStats()).values()];
  const byId = new Map(stats.map((entry) => [entry.id, entry]));
  const transport = stats.find((entry) => entry.type === "transport");
  const pair = byId.get(transport?.selectedCandidatePairId);
  const rtp = (type) => stats.find((entry) => entry.type === type && entry.kind === "audio");
  return {
    local: byId.get(pair?.localCandidateId)?.protocol,
    remote: byId.get(pair?.remoteCandidateId),
    sent: rtp("outbound-rtp")?.packetsSent ?? 0,
    received: rtp("inbound-rtp")?.packetsReceived ?? 0,
    lost: rtp("inbound-rtp")?.packetsLost ?? 0,
  };
}

/** Runs `scene` in a call whose microphone plays `script` and whose candidates lead to other `ports`. */
async function inCall(script, ports, scene) {
  const browser = await launch(script);
  try {
    const prepare = (page) => page.addInitScript(observe, ports);
    const talk = await TalkPage.open(browser, gateway, { prepare });
    await talk.connect();
    await scene(talk);
    await talk.end();
    assert.deepEqual(talk.complaints, []);
  } finally {
    await browser.close();
  }
}

const played = ({ events }) => events.some(({ type }) => type === "output_audio_buffer.stopped");
const transcribed = (view) => said(view, "user").filter((entry) => /time/i.test(entry.text)).length;

test("a call without UDP goes over TCP and is heard and answered", () =>
  inCall([3, "what time is it", 20], { udp: NOBODY }, async (talk) => {
    await talk.until("the question is transcribed", (view) => transcribed(view) > 0);
    await talk.until("the answer is heard", (view) => view.remoteAudio.energy > 0);
    await talk.until("the answer has been played", (view) => played(view));
    const { local, remote, lost, received } = await until("packets flow both ways", async () => {
      const state = await talk.page.evaluate(report);
      return state.sent > 100 && state.received > 20 && state;
    });
    assert.deepEqual([local, remote.protocol], ["tcp", "tcp"]);
    assert.equal(`${remote.address}:${remote.port}`, gateway.stream);
    // TCP loses nothing; what waited for long, as when the machine stood still, is dropped as stale.
    assert.ok(lost * 10 < received, `${lost} packets lost, ${received} received`);
  }));

test("a call that can have UDP does not go over TCP", () =>
  inCall([3, "what time is it", 20], {}, async (talk) => {
    await talk.until("the answer is heard", (view) => view.remoteAudio.energy > 0);
    const { remote } = await until("the call goes over UDP", async () => {
      const state = await talk.page.evaluate(report);
      return state.local === "udp" && state;
    });
    assert.equal(remote.protocol, "udp");
  }));

/** Something between the caller and the relay that cuts connections. */
async function startMiddlebox() {
  const sockets = new Set();
  const [host, port] = gateway.stream.split(":");
  const server = createServer((caller) => {
    const relay = connect(Number(port), host);
    for (const [here, there] of [[caller, relay], [relay, caller]]) {
      sockets.add(here);
      here.setNoDelay(true);
      here.pipe(there);
      here.on("error", () => there.destroy());
      here.on("close", () => there.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  return { port: server.address().port, cut, stop: () => (cut(), server.close()) };
}

test("a call over TCP survives that its connection is cut", async () => {
  const middlebox = await startMiddlebox();
  try {
    await inCall([3, "what time is it", 8], { udp: NOBODY, tcp: middlebox.port }, async (talk) => {
      await talk.until("a question is transcribed", (view) => transcribed(view) > 0);
      const before = await talk.page.evaluate(report);
      const questions = transcribed(await talk.view());
      middlebox.cut();
      await talk.until("a later question is transcribed", (view) => transcribed(view) > questions);
      await talk.until("its answer is heard", async () => {
        const { received } = await talk.page.evaluate(report);
        return received > before.received + 50;
      });
      const { local } = await talk.page.evaluate(report);
      assert.equal(local, "tcp");
    });
  } finally {
    middlebox.stop();
  }
});

/** A call from the terminal with media over `transport`; its result. */
async function callFromTerminal(transport) {
  const question = path.join(gateway.folder, `question-${transport}.wav`);
  await writeWav(question, await speech(["what time is it"]));
  const args = ["call", "--wav", question, "--transport", transport, "--ca", gateway.authority, "--json"];
  const environment = { VOXGATE_KEY: KEY, VOXGATE_URL: `${gateway.origin}/v1` };
  const call = new ChildProcess(path.join(BINARIES, "voxgate"), args, environment);
  const [result] = await call.find(/^\{.*"call_id".*\}$/m);
  return JSON.parse(result);
}

for (const transport of ["tcp", "tls"]) {
  test(`a call from the terminal over ${transport} is heard and answered`, async () => {
    const { turns, heard_seconds, packets_lost } = await callFromTerminal(transport);
    assert.equal(turns.length, 1);
    assert.ok(heard_seconds > 1, `${heard_seconds} s heard`);
    // Fifty a second; as above.
    assert.ok(packets_lost * 10 < heard_seconds * 50, `${packets_lost} packets lost in ${heard_seconds} s`);
  });
}
