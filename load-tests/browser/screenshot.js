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
const browser = await launch([3, "what time is it", 6, "what is the latency", 60]);
try {
  const talk = await TalkPage.open(browser, gateway, { viewport: { width: 1280, height: 1150 } });
  await talk.connect();
  const { transcript } = await talk.until("two turns are answered and written out", (view) => {
    const isWritten = view.transcript.every((entry) => entry.final && entry.text);
    return view.turns.length === 2 && said(view, "agent").length === 2 && isWritten && view;
  });
  assert.match(transcript.at(-1).text, /milliseconds/, "the question was misheard: take the picture again");
  await talk.page.mouse.move(0, 0);
  for (const [colorScheme, name] of Object.entries(PICTURES)) {
    await talk.page.emulateMedia({ colorScheme });
    await talk.page.screenshot({ path: IMAGES + name, animations: "disabled" });
  }
  await talk.end();
} finally {
  await browser.close();
  await gateway.stop();
}
