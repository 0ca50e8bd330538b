// What is done to calls, and what is expected of them. Times in milliseconds.
import { setTimeout as pause } from "node:timers/promises";

/** How long a call is watched after its fault: longer than any recovery that counts. */
const WATCHED = 10_000;
/** Into the call: when a short one is hit, and when a long one is, behind every timer of half a minute. */
const SHORT = { lead: 2_500, watch: WATCHED };
const LONG = { lead: 48_000, watch: 12_000 };

/** A relay ends by itself long before its own deadline of 30 s once its calls have moved. */
const DRAIN_LIMIT_MS = 35_000;

const killed = { words: "kill -9", strike: (_context, relay) => relay.kill() };
const silent = { words: "silence", strike: (_context, relay) => relay.host.unplug() };

async function killAndRestart(_context, relay) {
  await relay.kill();
  await relay.launch();
}

function deathOfOne({ words, strike }, length, name, script) {
  return {
    name: `one of two relay hosts dies by ${words}, ${name} call, ${script ? "with" : "without"} the page script`,
    relays: [2, 3],
    calls: 3,
    runs: length === SHORT ? 2 : 1,
    script,
    ...length,
    strike,
    aims: { downlink: 300, uplink: script ? 500 : 4_000 },
  };
}

export const SCENARIOS = [
  {
    name: "nothing happens",
    id: "nothing",
    relays: [2, 3],
    calls: 3,
    runs: 2,
    script: true,
    ...SHORT,
    strike: () => {},
    aims: {},
  },
  {
    name: "the only relay is killed with -9 and started again",
    id: "restart",
    relays: [2],
    calls: 1,
    runs: 6,
    script: true,
    ...SHORT,
    strike: killAndRestart,
    aims: { uplink: 200 },
  },
  {
    name: "the only relay is killed with -9 and started again, without the page script",
    id: "restart-plain",
    relays: [2],
    calls: 1,
    runs: 3,
    script: false,
    ...SHORT,
    strike: killAndRestart,
    aims: { uplink: 200 },
  },
  {
    name: "the only relay hands its sockets to a new process",
    id: "handover",
    relays: [2],
    calls: 1,
    runs: 3,
    script: true,
    ...SHORT,
    strike: async (context, relay) => {
      const old = relay.process;
      await relay.launch();
      context.after = async () => {
        if (!old.exit) context.remark("the old process still runs");
        await old.stop("SIGKILL");
      };
    },
    aims: { uplink: 60, downlink: 60 },
  },
  ...[killed, silent].flatMap((death) =>
    [true, false].map((script) => ({
      id: `death-${death === killed ? "kill" : "silence"}-${script ? "script" : "plain"}`,
      ...deathOfOne(death, SHORT, "short", script),
    })),
  ),
  ...[killed, silent].flatMap((death) =>
    [true, false].map((script) => ({
      id: `death-${death === killed ? "kill" : "silence"}-${script ? "script" : "plain"}-60s`,
      ...deathOfOne(death, LONG, "60 s", script),
    })),
  ),
  {
    name: "a relay drains and stops, with the page script",
    id: "drain",
    relays: [2, 3],
    calls: 3,
    runs: 2,
    script: true,
    ...SHORT,
    strike: (context, relay) => {
      const { process } = relay;
      const began = Date.now();
      const stopped = process.stop("SIGTERM").then(() => context.remark(`it ended after ${Date.now() - began} ms`));
      context.after = async () => {
        await Promise.race([stopped, pause(DRAIN_LIMIT_MS)]);
        await process.stop("SIGKILL");
      };
    },
    aims: { uplink: 60, downlink: 60 },
  },
  {
    name: "the keys of user fragments are rotated twice, then a relay dies",
    id: "rotation",
    relays: [2, 3],
    calls: 3,
    runs: 2,
    script: true,
    ...SHORT,
    strike: async ({ cluster }, relay) => {
      await cluster.rotateKeys();
      await cluster.rotateKeys();
      await relay.kill();
    },
    aims: {},
  },
  {
    name: "the client's NAT gives it another port",
    id: "rebinding",
    relays: [2, 3],
    calls: 2,
    runs: 3,
    script: false,
    nat: true,
    moves: true,
    ...SHORT,
    strike: ({ nat }) => nat.rebind(),
    aims: {},
  },
  {
    name: "the client changes its network and address, with the page script",
    id: "roaming",
    relays: [2, 3],
    calls: 1,
    runs: 3,
    script: true,
    ...SHORT,
    watch: 15_000,
    moves: true,
    strike: async ({ network }) => {
      const client = network.host("client");
      await client.moveTo(client.address.endsWith(".61") ? 60 : 61);
    },
    aims: {},
  },
];
