// A stand-in for a gateway while pages are made and tested: the real pages, the real wire protocol of the administration, and
// sessions that nobody speaks in. Run: node load-tests/browser/mock-gateway.js [sessions] [port]
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Synthetic } from "./synthetic-sessions.js";

export const MOCK_KEY = "vox_key_of_the_mock";
const WEB = fileURLToPath(new URL("../../dashboard/web", import.meta.url));
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};
// As gateway/src/pages.rs sends it.
const CONTENT_SECURITY_POLICY =
  "default-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; media-src 'self' blob: mediastream:; " +
  "frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
const LIST_EVERY_MS = 500;
const RECORD_EVERY_MS = 250;
const COMMENT_EVERY_MS = 15_000;

export class MockGateway {
  #streams = new Set();

  /** `options` go to Synthetic; `answers` are more paths of the API with what they answer, or functions of the URL. */
  static async start({ port = 0, answers = {}, ...options } = {}) {
    const mock = new MockGateway();
    mock.answers = answers;
    mock.fleet = new Synthetic(options);
    mock.server = createServer((request, response) => mock.#serve(request, response));
    await new Promise((resolve) => mock.server.listen(port, "127.0.0.1", resolve));
    mock.origin = `http://127.0.0.1:${mock.server.address().port}`;
    return mock;
  }

  stop() {
    this.cut();
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }

  /** Breaks every feed, as a network does. */
  cut() {
    for (const stream of this.#streams) stream.destroy();
    this.#streams.clear();
  }

  async #serve(request, response) {
    const url = new URL(request.url, this.origin);
    if (!url.pathname.startsWith("/admin/")) return this.#page(url.pathname, response);
    if (this.isDown) return refuse(response, 503, "unavailable", "The mock is told to be down.");
    if (request.headers.authorization !== `Bearer ${MOCK_KEY}`) {
      return refuse(response, 401, "invalid_api_key", "The API key is missing or not valid.");
    }
    const answer = this.answers[url.pathname];
    if (answer !== undefined)
      return reply(response, typeof answer === "function" ? answer(url, request) : answer);
    const [, id, part] = /^\/admin\/v1\/sessions\/([^/]+)(?:\/(\w+))?$/.exec(url.pathname) ?? [];
    if (url.pathname === "/admin/v1/live") return this.#liveList(request, response);
    if (url.pathname === "/admin/v1/sessions") return reply(response, this.fleet.list(url.searchParams));
    const session = id && this.fleet.sessions.get(decodeURIComponent(id));
    if (!session) return refuse(response, 404, "not_found", "There is no such session.");
    if (part === undefined) return reply(response, session.summary);
    if (part === "record") return reply(response, session.record(Number(url.searchParams.get("since") ?? 0)));
    if (part === "live") return this.#liveRecord(session, request, response);
    if (part === "audio") return this.#audio(session, response);
    refuse(response, 404, "not_found", "There is nothing here.");
  }

  #audio({ voices, summary, puttingAway }, response) {
    if (!voices) return refuse(response, 404, "not_found", "The voices of this session were not kept.");
    if (summary.state !== "ended" || puttingAway?.())
      return refuse(response, 409, "session_runs", "The session still runs; its voices can be heard when it is over.");
    response.writeHead(200, { "Content-Type": "audio/wav" });
    response.end(voices);
  }

  async #page(pathname, response) {
    const isFile = /\.(js|css|svg)$|LICENSE$/.test(pathname);
    const isDashboard = pathname === "/dashboard" || (pathname.startsWith("/dashboard/") && !isFile);
    const name = isDashboard ? "/dashboard/index.html" : pathname === "/" ? "/talk/index.html" : pathname;
    const file = path.join(WEB, path.normalize(name));
    const body = file.startsWith(WEB) ? await readFile(file).catch(() => null) : null;
    if (!body) return response.writeHead(404).end();
    response.writeHead(200, {
      "Content-Type": TYPES[path.extname(file)] ?? "text/plain",
      "Content-Security-Policy": CONTENT_SECURITY_POLICY,
      "X-Content-Type-Options": "nosniff",
      "Cache-Control": "no-store",
    });
    response.end(body);
  }

  #liveList(request, response) {
    let revision = -1;
    this.#stream(request, response, LIST_EVERY_MS, (send) => {
      const { changed, gone } = this.fleet.changedSince(revision);
      if (revision >= 0 && !changed.length && !gone.length) return;
      if (revision < 0 && this.fleet.approvals !== null)
        send("approvals", { approvals: this.fleet.approvals });
      revision = this.fleet.revision;
      send("sessions", { revision, changed, gone });
    });
  }

  #liveRecord(session, request, response) {
    let revision = 0;
    this.#stream(request, response, RECORD_EVERY_MS, (send) => {
      const part = session.record(revision);
      if (revision > 0 && part.revision === revision) return;
      revision = part.revision;
      send("record", part);
      if (session.summary.state === "ended") send("end", {});
    });
  }

  #stream(request, response, everyMs, turn) {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    this.#streams.add(response);
    const send = (name, data) => response.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
    const timers = [
      setInterval(() => turn(send), everyMs),
      setInterval(() => response.write(": still here\n\n"), COMMENT_EVERY_MS),
    ];
    response.once("close", () => {
      timers.forEach(clearInterval);
      this.#streams.delete(response);
    });
    turn(send);
  }
}

function reply(response, body) {
  response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-store" });
  response.end(JSON.stringify(body));
}

function refuse(response, status, code, message) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify({ error: { code, message, param: null } }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [sessions = "40", port = "8099"] = process.argv.slice(2);
  const mock = await MockGateway.start({ port: Number(port), live: Number(sessions) });
  mock.fleet.run();
  console.log(`${mock.origin}/dashboard with the key ${MOCK_KEY}`);
}
