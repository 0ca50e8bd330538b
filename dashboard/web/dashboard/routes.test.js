import assert from "node:assert/strict";
import { test } from "node:test";
import { SECTIONS, patched, routeOf, sessionPath } from "./routes.js";

test("every section and every session has an address", () => {
  for (const { name, path } of SECTIONS) assert.equal(routeOf(`${path}/`).name, name);
  assert.equal(routeOf("/dashboard").section, SECTIONS[0].name);
  const route = routeOf(sessionPath("sess_a/b ?#"));
  assert.equal(route.name, "session");
  assert.equal(route.section, "sessions");
  assert.deepEqual(route.params, { id: "sess_a/b ?#" });
  assert.equal(sessionPath("sess_1", 4), "/dashboard/sessions/sess_1?turn=4");
});

test("other addresses have no page", () => {
  for (const path of [
    "/",
    "/dashboards",
    "/dashboard/nothing",
    "/dashboard/sessions/a/b",
    "/dashboard/sessions/%E0%A4%A",
  ]) {
    assert.equal(routeOf(path), null, path);
  }
});

test("a query is changed entry by entry", () => {
  assert.equal(patched("a=1&b=2", { a: null, b: 3, c: "x y", d: "" }).toString(), "b=3&c=x+y");
});
