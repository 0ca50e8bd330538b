// Speech for a microphone: synthesised sentences with silence between them, as the WAV that Chromium plays.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
export const MICROPHONE_RATE = 48_000;

/**
 * Mono samples of `script`, in which a string is spoken, a number is a silence in seconds and samples are taken as they are.
 * Silence is exact zeros.
 */
export async function speech(script, rate = MICROPHONE_RATE) {
  const folder = await mkdtemp(path.join(tmpdir(), "voxgate-voice-"));
  try {
    const parts = [];
    for (const part of script) {
      if (typeof part === "number") parts.push(new Int16Array(Math.round(part * rate)));
      else if (part instanceof Int16Array) parts.push(part);
      else parts.push(await sentence(part, rate, folder));
    }
    return joined(parts);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes `samples` as a 16-bit WAV. */
export async function writeWav(file, samples, rate = MICROPHONE_RATE) {
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(rate, 24);
  header.writeUInt32LE(2 * rate, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(samples.byteLength, 40);
  await writeFile(file, Buffer.concat([header, Buffer.from(samples.buffer)]));
}

async function sentence(text, rate, folder) {
  const file = path.join(folder, "sentence.wav");
  await run("flite", ["-voice", "slt", "-t", text, "-o", file]);
  const wav = await readFile(file);
  return resampled(samplesOf(wav), wav.readUInt32LE(24), rate);
}

function samplesOf(wav) {
  const start = wav.indexOf("data") + 8;
  const samples = new Int16Array((wav.length - start) >> 1);
  for (let index = 0; index < samples.length; index++) samples[index] = wav.readInt16LE(start + 2 * index);
  return samples;
}

const KERNEL_REACH = 16;

// Band-limited to the lower of the two rates: what a cheaper way adds above it is noise to a recogniser.
function resampled(samples, from, to) {
  const cutoff = Math.min(1, to / from);
  const reach = KERNEL_REACH / cutoff;
  const result = new Int16Array(Math.floor((samples.length * to) / from));
  for (let index = 0; index < result.length; index++) {
    const center = (index * from) / to;
    const last = Math.min(samples.length - 1, Math.floor(center + reach));
    let value = 0;
    for (let at = Math.max(0, Math.ceil(center - reach)); at <= last; at++) {
      value += samples[at] * cutoff * kernel((at - center) * cutoff);
    }
    result[index] = Math.max(-32_768, Math.min(32_767, Math.round(value)));
  }
  return result;
}

/** A sinc under a Hann window. */
function kernel(x) {
  if (x === 0) return 1;
  const angle = Math.PI * x;
  return (Math.sin(angle) / angle) * (0.5 + 0.5 * Math.cos(angle / KERNEL_REACH));
}

function joined(parts) {
  const result = new Int16Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
