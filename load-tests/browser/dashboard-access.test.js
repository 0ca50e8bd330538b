// The dashboard for who has no mouse, sees no colours, or does not see it at all: every page by keyboard alone, and by the rules of
// WCAG 2.2 that a machine can check (axe-core), light and dark.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { launch } from "./chromium.js";
import { Dashboard } from "./dashboard.js";
import { MOCK_KEY, MockGateway } from "./mock-gateway.js";
import { SyntheticApprovals, SyntheticTurns, figureAnswers } from "./synthetic-figures.js";

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
/** Presses of Tab that lead around any of the pages. */
const MOST_STOPS = 250;

let browser;
let mock;
let axe;
before(async () => {
  const approvals = new SyntheticApprovals();
  approvals.hold({ ms: 600_000 });
  const turns = new SyntheticTurns({ turns: 600 });
  mock = await MockGateway.start({ live: 12, ended: 0, approvals: 1, answers: figureAnswers({ turns, approvals }) });
  mock.fleet.begin({ agedMs: 40_000 }).end().voices = Buffer.alloc(44);
  [browser, axe] = await Promise.all([launch([1]), readFile(AXE, "utf8")]);
});
after(async () => {
  await browser?.close();
  await mock?.stop();
});

const endedPath = () => `/dashboard/sessions/${[...mock.fleet.sessions.keys()].at(-1)}`;

/** Pages, what says that they are drawn, and what has to be reached by keyboard on each, by its accessible name. */
const PAGES = {
  overview: {
    path: () => "/dashboard",
    drawn: ".comparison tbody tr",
    reached: ["1 h", /over time, \d+ turns/, /^Model,/, "Budgets, the worst first", "Show as a table", "Provider"],
  },
  sessions: {
    path: () => "/dashboard/sessions",
    drawn: ".session-link",
    reached: [/^Live/, /^Search/, "Provider", /^sess_/],
  },
  session: {
    path: endedPath,
    drawn: ".turns tbody tr",
    reached: ["Sessions", "Export JSON", "The call", "▶ Play", /Closer/, /whole call/, "Total", "#1", "Transcript", "Events"],
  },
  fleet: { path: () => "/dashboard/fleet", drawn: "tr[data-target]", reached: [/^Sessions here/] },
  spend: { path: () => "/dashboard/spend", drawn: ".spend-table tbody tr", reached: ["This month", "Show as a table", "Save as CSV", "Model"] },
  approvals: { path: () => "/dashboard/approvals", drawn: ".held-card", reached: ["Approve…", "Deny…", "Look at the call"] },
};
/** What stands above every page. */
const SHELL = ["Skip to the content", "Overview", /^Approvals/, "Keyboard help", /^Colours/, "Sign out"];

async function openPage(name) {
  const { path, drawn } = PAGES[name];
  const dashboard = await Dashboard.open(browser, mock.origin, path(), { key: MOCK_KEY });
  await dashboard.until(`${name} is drawn`, () => dashboard.page.locator(drawn).first().isVisible());
  return dashboard;
}

/** What has the focus: its name, and whether one can see that it has it. */
const focused = (page) =>
  page.evaluate(() => {
    const node = document.activeElement;
    if (!node || node === document.body) return null;
    const named = (node.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent);
    const label = node.labels?.[0]?.textContent;
    const name = [node.getAttribute("aria-label"), ...named, label, node.placeholder, node.textContent].find((text) => text?.trim());
    // A radio button is drawn by what stands beside it, a row of the list as a whole.
    const drawnBy = [node, node.nextElementSibling, node.closest("tr")?.firstElementChild].filter(Boolean);
    const isSeen = drawnBy.some((one) => {
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
      return (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
    });
    return { name: name?.trim().replace(/\s+/g, " ") ?? "", isSeen, tag: node.outerHTML.slice(0, 120) };
  });

/** Every place that Tab leads to, once around. */
async function stops(page) {
  const found = [];
  await page.evaluate(() => document.activeElement?.blur());
  for (let stop = 0; stop < MOST_STOPS; stop++) {
    await page.keyboard.press("Tab");
    const one = await focused(page);
    if (!one) return found;
    found.push(one);
  }
  return assert.fail(`Tab leads nowhere: ${found.map(({ name }) => name).join(", ")}`);
}

const isNamed = (wanted) => (stop) => (typeof wanted === "string" ? stop.name === wanted : wanted.test(stop.name));

/** Tab leads to everything that can be used, which has a name and shows that it has the focus. */
async function goesByKeyboard(page, { reached }) {
  const found = await stops(page);
  const names = found.map((stop) => stop.name);
  for (const wanted of [...SHELL, ...reached])
    assert.ok(found.some(isNamed(wanted)), `${wanted} is not among ${names.join(" | ")}`);
  assert.deepEqual(
    found.filter(({ name }) => name === ""),
    [],
    "nothing is without a name",
  );
  assert.deepEqual(
    found.filter(({ isSeen }) => !isSeen),
    [],
    "the focus is seen everywhere",
  );
}

/** No rule of WCAG 2.2 AA that axe-core checks is broken. */
async function keepsTheRules(page, colorScheme) {
  // Without movement, so that no colour is caught between two.
  await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  // Not by a script tag: the page's own policy allows none from elsewhere.
  await page.evaluate(axe);
  // What lies half under a head that stays in view is no smaller for it.
  await page.evaluate(() => document.querySelectorAll("*").forEach((node) => (node.scrollTop = 0)));
  const { violations, passes } = await page.evaluate(() =>
    window.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      resultTypes: ["violations"],
    }),
  );
  const broken = violations.map(({ id, help, nodes }) => ({
    id,
    help,
    nodes: nodes.slice(0, 5).map(({ html, failureSummary }) => `${html.slice(0, 160)}: ${failureSummary}`),
  }));
  assert.deepEqual(broken, [], colorScheme);
  assert.ok(passes.length > 20, "it looked at the page");
}

for (const [name, wanted] of Object.entries(PAGES)) {
  test(`${name} is used by keyboard alone and breaks no rule that axe-core checks, light and dark`, async () => {
    const dashboard = await openPage(name);
    await goesByKeyboard(dashboard.page, wanted);
    for (const colorScheme of ["light", "dark"]) await keepsTheRules(dashboard.page, colorScheme);
    await dashboard.close();
  });
}

test("the skip link leads past the navigation, and a decision is made and taken back without a mouse", async () => {
  const { page, ...dashboard } = await openPage("approvals");
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  const main = () => page.evaluate(() => document.getElementById("main").contains(document.activeElement));
  assert.ok(await main(), "the next stop is in the page");
  await page.getByTestId("approve").focus();
  await page.keyboard.press("Enter");
  await page.getByTestId("reason").waitFor();
  const isInDialog = () => page.evaluate(() => document.activeElement.closest("dialog") !== null);
  assert.ok(await isInDialog());
  await page.keyboard.press("Escape");
  assert.equal((await focused(page)).name, "Approve…", "the focus is where it was");
  assert.deepEqual(dashboard.complaints, []);
  await page.context().close();
});
