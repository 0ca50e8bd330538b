// The addresses of the dashboard. Pure.

/** What stands in the navigation, in its order. `load` brings the module whose `open(root, context)` draws the page. */
export const SECTIONS = [
  { name: "overview", path: "/dashboard", title: "Overview", load: () => import("./overview.js") },
  { name: "sessions", path: "/dashboard/sessions", title: "Sessions", load: () => import("./sessions.js") },
  { name: "fleet", path: "/dashboard/fleet", title: "Fleet", load: () => import("./fleet.js") },
  { name: "spend", path: "/dashboard/spend", title: "Spend", load: () => import("./spend.js") },
  { name: "approvals", path: "/dashboard/approvals", title: "Approvals", load: () => import("./approvals.js") },
];

const SESSION = {
  name: "session",
  title: "Session",
  section: "sessions",
  load: () => import("./session.js"),
};

/** The page at a path and what its path says, or null where there is none. */
export function routeOf(pathname) {
  const path = pathname.replace(/\/+$/, "");
  const section = SECTIONS.find((candidate) => candidate.path === path);
  if (section) return { ...section, section: section.name, params: {} };
  const match = /^\/dashboard\/sessions\/([^/]+)$/.exec(path);
  if (!match) return null;
  try {
    return { ...SESSION, params: { id: decodeURIComponent(match[1]) } };
  } catch {
    return null;
  }
}

/** The address of a session, and of one of its turns. */
export const sessionPath = (id, turn = null) =>
  `/dashboard/sessions/${encodeURIComponent(id)}${turn === null ? "" : `?turn=${turn}`}`;

/** `query` with the entries of `patch`; null, "" and undefined take one out. */
export function patched(query, patch) {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null || value === undefined || value === "") next.delete(name);
    else next.set(name, String(value));
  }
  return next;
}
