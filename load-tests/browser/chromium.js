// Headless Chromium whose microphone plays a script.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { chromium } from "playwright-core";
import { speech, writeWav } from "./voice.js";

const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];

/**
 * A browser whose microphone plays `script` (see speech()) again and again from the moment it is opened. With
 * `allows: false` it refuses the microphone to every page. `more` are further switches.
 */
export async function launch(script, { allows = true, more = [] } = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), "voxgate-microphone-"));
  const file = path.join(folder, "microphone.wav");
  await writeWav(file, await speech(script));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      ...QUIET,
      "--use-fake-device-for-media-stream",
      `--use-file-for-fake-audio-capture=${file}`,
      "--autoplay-policy=no-user-gesture-required",
      ...(allows ? ["--use-fake-ui-for-media-stream"] : []),
      ...more,
    ],
  });
  browser.once("disconnected", () => rm(folder, { recursive: true, force: true }));
  return browser;
}

/** A new page of its own context. `complaints` collects what its console calls an error. */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      console.error(`${event.violatedDirective} forbids ${event.blockedURI || event.sourceFile}`),
    );
  });
  return { page, complaints };
}
