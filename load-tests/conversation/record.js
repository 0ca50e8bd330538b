// Completes a record with what Chromium heard and prints the table for README.md.
// node load-tests/conversation/record.js RECORD_FOLDER
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { error, own, quantile } from "./figures.js";

const MEANING = "## What the figures mean";

const ROWS = [
  ["interruption: first sample of speech to the last audible sample of the answer", (cycle) => cycle.stop_ms],
  ["truncation: distance between `audio_end_ms` and the recording", (cycle) => Math.abs(error(cycle))],
  ["first audio after the last word, less pause and provider", own],
];

/** The rows of a CSV file whose text may be quoted, never with a quote inside. */
function rows(text) {
  const [head, ...lines] = text.trim().split("\n").map((line) => line.match(/"[^"]*"|[^,]+/g));
  const value = (cell) => (cell.startsWith('"') ? cell.slice(1, -1) : Number(cell));
  return lines.map((cells) => Object.fromEntries(cells.map((cell, index) => [head[index], value(cell)])));
}

function table(columns) {
  const at = (cycles, value, share) => quantile(cycles.map(value), share).toFixed(0);
  const cells = (value) => columns.map(([, cycles]) => `${at(cycles, value, 0.5)} / ${at(cycles, value, 0.99)}`);
  return [
    `| | ${columns.map(([name]) => name).join(" | ")} |`,
    `|---|${"---|".repeat(columns.length)}`,
    ...ROWS.map(([what, value]) => `| ${what} | ${cells(value).join(" | ")} |`),
  ].join("\n");
}

const [folder] = process.argv.slice(2);
const read = (name) => readFile(path.join(folder, name), "utf8");
const cycles = rows(await read("cycles.csv"));
const found = (arrangement) => cycles.filter((cycle) => cycle.arrangement === arrangement);
const page = await read("README.md");
const chromium = await read("chromium.md");
await writeFile(path.join(folder, "README.md"), page.replace(MEANING, () => `${chromium}\n${MEANING}`));
const columns = [
  ["our caller, turns found here", found("turns found by the gateway")],
  ["our caller, turns found by the provider", found("turns found by the provider")],
  ["Chromium, turns found here", rows(await read("chromium.csv"))],
];
process.stdout.write(`\nFor README.md, milliseconds, p50 / p99:\n\n${table(columns)}\n`);
