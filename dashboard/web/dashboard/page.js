// The shell of the dashboard: who looks, which page, and whether what it shows is live.
import { element } from "../shared/element.js";
import { forgetKey, keepKey, keptKey } from "../shared/key.js";
import { createApi } from "./api.js";
import { ago, timeOfDay } from "./format.js";
import { drawHelp } from "./help.js";
import { followSessions } from "./live.js";
import { SECTIONS, patched, routeOf } from "./routes.js";
import { drawSignIn } from "./signin.js";
import { empty, failed, loading } from "./states.js";
import { setUpTheme } from "./theme.js";

const byId = (id) => document.getElementById(id);
const main = byId("main");

/** What is there while somebody is signed in. */
let visit = null;
let shown = null;
let turnOfPage = 0;
/** The address that is shown, without the place inside the page. */
let shownAt = "";
let titleOfPage = "Dashboard";

function signIn(key) {
  keepKey(key);
  const api = createApi(key, {
    onUnauthorised: () => signOut("The gateway does not accept this key any more. Sign in again."),
  });
  const live = followSessions(api);
  visit = { api, live };
  live.listen((name) => name === "state" && showFeed());
  live.listen((name) => (name === "sessions" || name === "approvals") && showCounts());
  document.body.dataset.state = "in";
  byId("sections").hidden = byId("sign-out").hidden = byId("feed").hidden = false;
  showFeed();
  showPage();
}

function signOut(note = "") {
  if (!visit) return;
  forgetKey();
  closePage();
  visit.live.close();
  visit = null;
  askForKey(note);
}

function askForKey(note = "") {
  document.body.dataset.state = "out";
  setTitle("Sign in");
  byId("sections").hidden = byId("sign-out").hidden = byId("feed").hidden = true;
  drawSignIn(main, { note, onKey: signIn });
}

function closePage() {
  turnOfPage++;
  shown?.page?.close?.();
  shown = null;
}

/** Draws the page of the address. A page that is there already only hears of a new query. */
async function showPage() {
  shownAt = location.pathname + location.search;
  const route = routeOf(location.pathname);
  const query = new URLSearchParams(location.search);
  const address = location.pathname.replace(/\/+$/, "");
  if (shown?.address === address && shown.page?.changed) return shown.page.changed(query);
  closePage();
  const turn = turnOfPage;
  markSection(route?.section ?? null);
  if (!route) {
    setTitle("Not found");
    const home = element("a", { href: "/dashboard/sessions", text: "Look at the sessions" });
    main.replaceChildren(empty("There is no such page", "The address may be mistyped.", home));
    return;
  }
  setTitle(route.title);
  const root = element("div", { class: `page page-${route.name}` });
  main.replaceChildren(root);
  root.append(loading());
  try {
    const module = await route.load();
    if (turn !== turnOfPage) return;
    root.replaceChildren();
    shown = { address, page: null };
    const page = await module.open(root, contextOf(route, query));
    if (turn === turnOfPage) shown.page = page ?? null;
    else page?.close?.();
  } catch (failure) {
    if (turn !== turnOfPage) return;
    console.error(failure);
    root.replaceChildren(failed(failure, showPage));
  }
}

/** What a page gets to work with. */
function contextOf({ params }, query) {
  return {
    api: visit.api,
    live: visit.live,
    params,
    query,
    go,
    /** Changes the query of the address: a permalink of what is looked at. `isStep` makes the back button return to it. */
    patchQuery(patch, { isStep = false } = {}) {
      const next = patched(location.search, patch).toString();
      const address = `${location.pathname}${next ? `?${next}` : ""}`;
      if (address === location.pathname + location.search) return;
      history[isStep ? "pushState" : "replaceState"](null, "", address);
      shownAt = address;
    },
    setTitle,
    announce,
  };
}

function go(address) {
  history.pushState(null, "", address);
  showPage();
  window.scrollTo(0, 0);
  // Nothing is loaded anew, so nobody else tells who does not see it that this is another page.
  announce(titleOfPage);
}

/** What waits for a person is told in the tab, too, which is all that is seen of a page behind others. */
function setTitle(title = titleOfPage) {
  titleOfPage = title;
  const waiting = visit?.live.book.approvals;
  document.title = `${waiting > 0 ? `(${waiting}) ` : ""}${title} · voxgate`;
}

function announce(text) {
  byId("news").textContent = text;
}

function markSection(name) {
  for (const link of byId("sections").children) {
    if (link.dataset.section === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function drawSections() {
  const links = SECTIONS.map(({ name, path, title }) =>
    element(
      "a",
      { href: path, "data-section": name },
      title,
      element("span", { class: "badge", "data-badge": name, hidden: true }),
    ),
  );
  byId("sections").replaceChildren(...links);
}

function showCounts() {
  badge("sessions", visit.live.book.liveCount, "live");
  badge("approvals", visit.live.book.approvals, "waiting");
  setTitle();
}

function badge(section, value, word) {
  const node = byId("sections").querySelector(`[data-badge="${section}"]`);
  if (!node) return;
  node.hidden = !value;
  const text = value ? String(value) : "";
  if (node.textContent === text) return;
  node.textContent = text;
  node.title = value ? `${value} ${word}` : "";
}

/** Live, or since when not. */
function showFeed() {
  if (!visit) return;
  const { kind, since, failure } = visit.live.state;
  const words = {
    connecting: () => "Connecting…",
    live: () => "Live",
    lost: () => `Not live since ${timeOfDay(since / 1000)} (${ago(since / 1000)}), trying again`,
    refused: () =>
      failure?.status === 403 ? "No live figures for this key" : "No live figures from this gateway",
    paused: () => "Paused while nobody looks",
    over: () => "The feed has ended",
  };
  const node = byId("feed");
  node.dataset.kind = kind;
  const text = words[kind]();
  if (node.textContent !== text) node.textContent = text;
}

/** Links inside the dashboard change the page without loading it again. */
function followLink(event) {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.("a[href]");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (!/^\/dashboard(\/|$)/.test(link.pathname) || !visit || link.hash) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

function shortcut(event) {
  const writes = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (writes || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "?") byId("help").click();
}

setUpTheme(byId("theme"));
drawSections();
drawHelp(byId("help"), byId("help-dialog"));
byId("sign-out").addEventListener("click", () => signOut());
document.addEventListener("click", followLink);
document.addEventListener("keydown", shortcut);
window.addEventListener("popstate", () => {
  // Skipping to the content is no other page.
  if (visit && shownAt !== location.pathname + location.search) showPage();
});
setInterval(showFeed, 1000);
keptKey() ? signIn(keptKey()) : askForKey();
