// Figures as people read them. Pure. What is not known is a dash, never a zero.
import { formatMs, groupThousands } from "../shared/hops.js";

export const UNKNOWN = "–";
const isKnown = (value) => typeof value === "number" && Number.isFinite(value);

/** Milliseconds: `612 ms`. */
export const ms = (value) => (isKnown(value) ? formatMs(value) : UNKNOWN);

/** Milliseconds without their unit, for columns that name it: `612`. */
export const msFigure = (value) => (isKnown(value) ? formatMs(value).replace(/ ms$/, "") : UNKNOWN);

/** A whole number with its thousands parted. */
export const count = (value) => (isKnown(value) ? groupThousands(Math.round(value)) : UNKNOWN);

/** A share of one: `0.4 %`; what is more than nothing never reads as nothing. */
export function share(value) {
  if (!isKnown(value)) return UNKNOWN;
  if (value > 0 && value < 0.0005) return "<0.1 %";
  const percent = 100 * value;
  return `${percent >= 10 || percent === 0 ? Math.round(percent) : percent.toFixed(1)} %`;
}

/** A mean opinion score, 1 to 4.5: `4.2`. */
export const mos = (value) => (isKnown(value) ? value.toFixed(1) : UNKNOWN);

/** Nano-dollars: `$12.40`, `$0.0031`; two figures that say something below a cent. */
export function money(nanoDollars) {
  if (!isKnown(nanoDollars)) return UNKNOWN;
  const dollars = Math.abs(nanoDollars) / 1e9;
  const sign = nanoDollars < 0 ? "−" : "";
  if (dollars === 0) return "$0";
  if (dollars < 1e-6) return `${sign}<$0.000001`;
  if (dollars < 0.01) return `${sign}$${dollars.toFixed(1 - Math.floor(Math.log10(dollars)))}`;
  const [whole, cents] = dollars.toFixed(2).split(".");
  return `${sign}$${groupThousands(whole)}.${cents}`;
}

/** How long something takes or took: `840 ms`, `12 s`, `3 min 05 s`, `2 h 14 min`. */
export function duration(value) {
  if (!isKnown(value)) return UNKNOWN;
  if (value < 1000) return `${Math.round(value)} ms`;
  const seconds = Math.floor(value / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${twoDigits(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${twoDigits(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A moment inside a session as a clock from its beginning: `1:05.3`. `digits` after the second, none by default. */
export function clock(value, digits = 0) {
  if (!isKnown(value)) return UNKNOWN;
  const scale = 10 ** digits;
  const units = Math.round((Math.abs(value) / 1000) * scale);
  const whole = Math.floor(units / scale);
  const rest = digits ? `.${String(units % scale).padStart(digits, "0")}` : "";
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const head = hours ? `${hours}:${twoDigits(minutes)}` : `${minutes}`;
  return `${value < 0 ? "−" : ""}${head}:${twoDigits(whole % 60)}${rest}`;
}

/** Seconds since 1970 as the time of day here: `14:05:09`. */
export function timeOfDay(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  const at = new Date(seconds * 1000);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map(twoDigits).join(":");
}

/** Seconds since 1970 with the day: `2026-11-22 14:05:09`. */
export function dateAndTime(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  const at = new Date(seconds * 1000);
  const day = [at.getFullYear(), twoDigits(at.getMonth() + 1), twoDigits(at.getDate())].join("-");
  return `${day} ${timeOfDay(seconds)}`;
}

/** How long ago, in words: `just now`, `4 min ago`. */
export function ago(seconds, nowSeconds = Date.now() / 1000) {
  if (!isKnown(seconds)) return UNKNOWN;
  const passed = nowSeconds - seconds;
  return passed < 2 ? "just now" : `${duration(passed * 1000).replace(/ \d\d (s|min)$/, "")} ago`;
}

/** Bytes: `512 MiB`. */
export function bytes(value) {
  if (!isKnown(value)) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const figure = value / 1024 ** power;
  return `${power === 0 || figure >= 100 ? Math.round(figure) : figure.toFixed(1)} ${units[power]}`;
}

/** `1 turn`, `2 turns`. */
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

const twoDigits = (value) => String(value).padStart(2, "0");
