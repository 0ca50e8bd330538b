import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const sheet = await readFile(new URL("palette.css", import.meta.url), "utf8");
const PALETTE = Object.fromEntries(
  [...sheet.matchAll(/(--[\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g)].map(([, name, light, dark]) => [
    name,
    { light, dark },
  ]),
);
const named = (prefix) => Object.keys(PALETTE).filter((name) => name.startsWith(prefix));

/** Linear red, green and blue. */
const linear = (hex) =>
  [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
const times = (matrix, vector) =>
  matrix.map((row) => row.reduce((sum, value, index) => sum + value * vector[index], 0));

// Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
const EYES = {
  usual: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

/** OKLab: equal distances look about equally different. */
function oklab(rgb) {
  const lms = times(
    [
      [0.4122214708, 0.5363325363, 0.0514459929],
      [0.2119034982, 0.6806995451, 0.1073969566],
      [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    rgb,
  ).map(Math.cbrt);
  return times(
    [
      [0.2104542553, 0.793617785, -0.0040720468],
      [1.9779984951, -2.428592205, 0.4505937099],
      [0.0259040371, 0.7827717662, -0.808675766],
    ],
    lms,
  );
}
const distance = (a, b) => Math.hypot(...a.map((value, index) => value - b[index]));
const luminance = (hex) => times([[0.2126, 0.7152, 0.0722]], linear(hex))[0];
const contrast = (a, b) => {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
};

test("colours of owners and lines stand out from the card three to one, words seven or four and a half to one", () => {
  for (const theme of ["light", "dark"]) {
    const card = PALETTE["--card"][theme];
    for (const name of [...named("--owner-"), ...named("--series-"), "--good", "--edge"]) {
      assert.ok(
        contrast(PALETTE[name][theme], card) >= 3,
        `${theme} ${name}: ${contrast(PALETTE[name][theme], card)}`,
      );
    }
    assert.ok(contrast(PALETTE["--ink"][theme], card) >= 7);
    for (const name of ["--soft", "--danger", "--busy"])
      assert.ok(contrast(PALETTE[name][theme], card) >= 4.5, `${theme} ${name}`);
  }
});

for (const [set, names, least] of [
  ["owners", named("--owner-"), 0.06],
  ["lines", named("--series-"), 0.07],
]) {
  test(`${set} are told apart by every kind of eye`, () => {
    assert.ok(names.length >= 6);
    for (const theme of ["light", "dark"]) {
      for (const [eye, matrix] of Object.entries(EYES)) {
        const seen = names.map((name) =>
          oklab(times(matrix, linear(PALETTE[name][theme])).map((value) => Math.max(0, Math.min(1, value)))),
        );
        names.forEach((name, index) => {
          for (let other = 0; other < index; other++) {
            const apart = distance(seen[index], seen[other]);
            assert.ok(
              apart >= least,
              `${theme}, ${eye}: ${name} and ${names[other]} are ${apart.toFixed(3)} apart`,
            );
          }
        });
      }
    }
  });
}
