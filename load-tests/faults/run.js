// Does every fault to real calls and keeps the record. Started by scripts/faults, as root in a network namespace.
//
//   run.js [--record FOLDER] [--runs N] [ID...]     only the scenarios with these ids, N runs of each
import os from "node:os";
import { parseArgs } from "node:util";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { launch } from "../browser/chromium.js";
import { Cluster, TUNNEL_PORT } from "./cluster.js";
import { LOAD_FAULTS, runLoad } from "./load.js";
import { run } from "./measure.js";
import { BRIDGE, HERE, Nat, Network, addressOf } from "./network.js";
import { line, summary, write } from "./record.js";
import { SCENARIOS } from "./scenarios.js";
import { Wire } from "./wire.js";

const HOSTS = { relay2: 2, relay3: 3, client: 60 };
const SPEECH = [0.3, "what is the weather like today", 0.2, "and will it rain in the evening", 0.2];

const { values: options, positionals: wanted } = parseArgs({
  options: { record: { type: "string" }, runs: { type: "string" } },
  allowPositionals: true,
});

const details = { load: os.loadavg().map((value) => value.toFixed(2)).join(" "), runs: [] };
const chosen = SCENARIOS.filter(({ id }) => wanted.length === 0 || wanted.includes(id));
const network = await Network.build(HOSTS);
const scratch = await mkdtemp(path.join(os.tmpdir(), "voxgate-faults-"));
const summaries = [];
const load = [];
try {
  const browser = await launchOn(network.host("client"));
  details.chromium = browser.version();
  for (const relays of [[2], [2, 3]])
    for (const hasNat of [false, true]) {
      const alike = ({ relays: its, nat = false }) => its.length === relays.length && nat === hasNat;
      const group = chosen.filter(alike);
      if (group.length > 0) await runGroup(relays, hasNat, group, browser);
    }
  await browser.close();
  for (const fault of LOAD_FAULTS.filter(({ id }) => wanted.length === 0 || wanted.includes(id))) {
    const cluster = await Cluster.start(network, { relays: fault.relays });
    try {
      load.push(...(await runLoad(fault, { cluster, network })));
      console.error(JSON.stringify(load.slice(-2)));
    } finally {
      await cluster.stop();
    }
  }
} finally {
  await network.remove();
  await rm(scratch, { recursive: true, force: true });
}
const command = `make faults`;
if (options.record) write(options.record, { summaries, details, load, command });
else for (const one of summaries) console.log(line(one));

async function launchOn(host) {
  const wrapper = path.join(scratch, "chromium");
  const [program, args] = host.command(process.env.CHROMIUM ?? "/usr/bin/chromium", []);
  await writeFile(wrapper, `#!/bin/sh\nexec ${program} ${args.join(" ")} "$@"\n`);
  await chmod(wrapper, 0o755);
  process.env.CHROMIUM = wrapper;
  return launch(SPEECH, { more: [`--unsafely-treat-insecure-origin-as-secure=http://${HERE}:8080`] });
}

async function runGroup(relays, hasNat, scenarios, browser) {
  const cluster = await Cluster.start(network, { relays });
  const client = network.host("client");
  const nat = hasNat ? await Nat.before(client, relays.map(addressOf)) : null;
  const wire = await Wire.tap({
    nodeInterface: BRIDGE,
    node: HERE,
    tunnelPort: TUNNEL_PORT,
    // Behind the NAT packets have other sources than the host; in front of it they pass the bridge.
    clientInterface: hasNat ? BRIDGE : client.port,
    relays: relays.map(addressOf),
  });
  try {
    for (const scenario of scenarios) summaries.push(await runAll(scenario, { browser, cluster, network, wire, nat }));
  } finally {
    wire.stop();
    await nat?.stop();
    await cluster.stop();
  }
}

async function runAll(scenario, parts) {
  const runs = [];
  const count = options.runs ? Number(options.runs) : scenario.runs;
  for (let number = 1; number <= count; number++) {
    try {
      await parts.cluster.repair();
      runs.push(await run(scenario, parts));
    } catch (failure) {
      runs.push({ failure: String(failure).slice(0, 4_000) });
      console.error(`${scenario.id}, run ${number}: ${failure}`);
    }
  }
  details.runs.push({ id: scenario.id, runs });
  const one = summary({ scenario, runs });
  console.error(line(one));
  return one;
}
