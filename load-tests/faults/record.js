// The kept record: every figure in figures.json, the table and its words in record.md.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { quantile } from "./gaps.js";
import { survived } from "./measure.js";

/** One line of the table. Gaps are those of calls the fault hit. */
export function summary({ scenario, runs }) {
  const all = runs.flatMap(({ results }) => results ?? []);
  const hit = all.filter(({ isHit }) => isHit);
  const spread = (read) => {
    const values = hit.map(read).filter((value) => value !== null);
    return values.length ? { p50: quantile(values, 0.5), max: Math.max(...values) } : null;
  };
  return {
    id: scenario.id,
    name: scenario.name,
    calls: all.length,
    hit: hit.length,
    survived: all.filter(survived).length,
    uplink: spread(({ uplink }) => uplink.gapMs),
    downlink: spread(({ downlink }) => downlink.gapMs),
    quiet: spread(({ downlink }) => downlink.quietMs),
    aims: scenario.aims,
    failures: runs.filter(({ failure }) => failure).map(({ failure }) => failure),
  };
}

const pair = (spread) => (spread ? `${Math.round(spread.p50)} / ${Math.round(spread.max)}` : "");

function verdict({ calls, survived: alive, uplink, downlink, aims, failures }) {
  const misses = [];
  if (alive < calls || failures.length) misses.push("calls");
  if (aims.uplink && uplink?.p50 > aims.uplink) misses.push(`uplink > ${aims.uplink}`);
  if (aims.downlink && downlink?.p50 > aims.downlink) misses.push(`downlink > ${aims.downlink}`);
  return misses.length ? `no: ${misses.join(", ")}` : "yes";
}

export function line(one) {
  const { name, calls, hit, survived: alive, uplink, downlink, quiet } = one;
  const cells = [name, `${alive} / ${calls}`, hit, pair(uplink), pair(downlink), pair(quiet), verdict(one)];
  return `| ${cells.join(" | ")} |`;
}

const HEAD = `| fault | calls that survived | hit | uplink gap ms p50 / max | downlink gap ms p50 / max | silence heard ms p50 / max | as wanted |
|---|---:|---:|---:|---:|---:|---|`;

const MEANING = `## What the figures mean

Calls are those of the talk page in headless Chromium, whose microphone plays recorded speech without end; the answer is a tone
without end from a simulated provider. Gateway, each relay and the browser have a network namespace of their own on one
bridge with permanent neighbour entries, so that a dead host is silence and not an error. Round trips are near zero.

- **uplink gap**: the longest time between two RTP packets of the call at the gateway's end of the tunnel, from 150 ms before the
  fault to the end of the watch. Without a fault it is 20 ms and what the machine adds.
- **downlink gap**: the same at the client's end, on its own interface; not told where the client changes its address.
- **silence heard**: the longest stretch in the recording of the remote track that is 20 dB below the tone. What the browser
  invents to bridge a gap is not silence, so it is shorter than the gap.
- **survived**: at the end both directions flow, the page is connected, and speech committed after the fault comes back as a
  transcript on the data channel.
- **hit**: calls that used the relay the fault was done to; gaps are theirs. Calls of one run share the fault.
`;

export function write(folder, { summaries, details, load, command }) {
  mkdirSync(folder, { recursive: true });
  const machine = `${os.cpus().length} × ${os.cpus()[0].model}, ${os.type()} ${os.release()}`;
  const git = (...args) => execFileSync("git", args, { encoding: "utf8" }).trim();
  const dirty = git("status", "--porcelain") ? " with uncommitted changes" : "";
  const text = `# Faults

\`\`\`sh
${command}
\`\`\`

- Commit ${git("rev-parse", "--short=12", "HEAD")}${dirty}, ${process.env.VOXGATE_BIN ? "binary given" : "release build"}, Chromium ${details.chromium}
- Machine: ${machine}; load average at the start ${details.load}

${HEAD}
${summaries.map(line).join("\n")}

${loadText(load)}${MEANING}`;
  writeFileSync(path.join(folder, "record.md"), text);
  writeFileSync(path.join(folder, "figures.json"), `${JSON.stringify({ ...details, summaries, load }, null, 1)}\n`);
}

function loadText(load) {
  if (!load?.length) return "";
  const rows = load.map(({ name, kind, calls, survived: alive }) => `| ${name} | ${kind} | ${alive} / ${calls} |`);
  return `## Load callers

| fault | client | calls that survived |
|---|---|---:|
${rows.join("\n")}

A load caller asks a question after the fault and survives when it hears the answer to it.

`;
}
