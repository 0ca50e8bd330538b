// What is vendored is what its authors published.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const VENDORED = here("../../dashboard/web/vendor/uplot/");
const PACKAGE = here("node_modules/uplot/");
const ORIGINS = {
  LICENSE: "LICENSE",
  "uPlot.esm.js": "dist/uPlot.esm.js",
  "uPlot.min.css": "dist/uPlot.min.css",
};

test("the chart library is the published one of the pinned version, byte for byte", async () => {
  const { dependencies } = JSON.parse(await readFile(here("package.json"), "utf8"));
  const { version, license } = JSON.parse(await readFile(`${PACKAGE}package.json`, "utf8"));
  assert.equal(version, dependencies.uplot);
  assert.equal(license, "MIT");
  assert.deepEqual((await readdir(VENDORED)).sort(), Object.keys(ORIGINS).sort());
  for (const [name, origin] of Object.entries(ORIGINS)) {
    const [ours, theirs] = await Promise.all([readFile(VENDORED + name), readFile(PACKAGE + origin)]);
    assert.ok(ours.equals(theirs), `${name} is not what npm has of uplot ${version}`);
  }
});
