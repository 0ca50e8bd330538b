// Takes the pictures of the talk page for the documentation: a call with the built-in voice, after two turns.
// Run: node load-tests/browser/screenshot.js
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { launch } from "./chromium.js";
import { Gateway } from "./gateway.js";
import { TalkPage, said } from "./talk.js";

const IMAGES = fileURLToPath(new URL("../../docs/images/", import.meta.url));
const PICTURES = { light: "talk-page.png", dark: "talk-page-dark.png" };

await mkdir(IMAGES, { recursive: true });
const gateway = await Gateway.start();
const browser = await launch([3, "what time is it", 6, "how fast was that", 60]);
const talk = await TalkPage.open(browser, gateway, { viewport: { width: 1280, height: 1060 } });
await talk.connect();
await talk.until("two turns are answered", (view) => view.turns.length === 2 && said(view, "agent").length === 2);
await talk.until("the second answer is written out", (view) =>
  view.transcript.every((entry) => entry.final && entry.text),
);
const { transcript } = await talk.view();
assert.match(transcript.at(-1).text, /milliseconds/, "the question was misheard: take the picture again");
await talk.page.mouse.move(0, 0);
for (const [colorScheme, name] of Object.entries(PICTURES)) {
  await talk.page.emulateMedia({ colorScheme });
  await talk.page.screenshot({ path: IMAGES + name, animations: "disabled" });
}
await talk.end();
await browser.close();
await gateway.stop();
