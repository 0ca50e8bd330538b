// What a gateway with many turns would say to the pages of figures: overview, budgets, fleet, spending, held tool calls. The
// turns are made up, seeded; what is said of them is reckoned from them as the gateway does it.
import { random } from "./synthetic-sessions.js";

const BOUNDS_MS = [
  1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000, 3000, 5000,
  10_000, 30_000,
];
const SPANS = { "5m": [300, 10], "15m": [900, 30], "1h": [3600, 60], "6h": [21_600, 300] };
const OWNERS = {
  capture: "client",
  uplink: "network",
  relay_in: "gateway",
  jitter: "network",
  decode: "gateway",
  endpointing: "setting",
  stt: "provider",
  policy: "gateway",
  model: "provider",
  aggregation: "gateway",
  tts: "provider",
  pacing: "gateway",
  encode: "gateway",
  relay_out: "gateway",
  downlink: "network",
  playout: "client",
  unattributed: null,
};
const BUDGETS = {
  capture: 40,
  uplink: 50,
  relay_in: 5,
  jitter: 40,
  decode: 5,
  endpointing: 550,
  policy: 10,
  pacing: 20,
  encode: 12,
  relay_out: 5,
  downlink: 50,
  playout: 100,
  model: 500,
  whole: 1200,
};
const CASCADE = { ...BUDGETS, whole: 1500, stt: 150, model: 450, aggregation: 50, tts: 200 };

const ORIGINS = [
  {
    provider: "openai-eu",
    region: "eu-west",
    route: "gpt-*",
    model: "gpt-realtime",
    revision: "12",
    weight: 5,
    speed: 1,
  },
  {
    provider: "openai-us",
    region: "us-east",
    route: "gpt-*",
    model: "gpt-realtime",
    revision: "12",
    weight: 3,
    speed: 1.45,
  },
  {
    provider: "openai-eu",
    region: "eu-west",
    route: "gpt-*",
    model: "gpt-realtime",
    revision: "11",
    weight: 1,
    speed: 1.1,
  },
  {
    provider: "house",
    region: null,
    route: "house-*",
    model: "house-voice",
    revision: "12",
    weight: 2,
    speed: 0.9,
    isCascade: true,
  },
];

export class SyntheticTurns {
  /** As the configuration of the gateway says it. */
  preferAnother = "never";
  /** Targets that are passed over, by route. */
  slow = new Map();

  /** `turns` over the six hours before `now` (seconds since 1970), with a bad quarter of an hour two hours ago. */
  constructor({ turns = 2_400, now = Date.now() / 1000, seed = 7 } = {}) {
    this.random = random(seed);
    this.now = now;
    this.rows = [];
    for (let index = 0; index < turns; index++) this.add({ at: now - 21_600 * (1 - (index + 1) / turns) });
  }

  #around(middle, spread) {
    const normal = Math.sqrt(-2 * Math.log(1 - this.random())) * Math.cos(2 * Math.PI * this.random());
    return middle * Math.exp(spread * normal);
  }

  /** One more turn, of `slow` more milliseconds of the model. */
  add({ at = Date.now() / 1000, slow = 0 } = {}) {
    const all = ORIGINS.reduce((sum, { weight }) => sum + weight, 0);
    let pick = this.random() * all;
    const origin = ORIGINS.find(({ weight }) => (pick -= weight) < 0) ?? ORIGINS[0];
    const wasBad = at > this.now - 7_900 && at < this.now - 7_000 && origin.provider === "openai-us" ? 2.6 : 1;
    const hops = {
      capture: this.#around(18, 0.2),
      uplink: this.#around(16, 0.5),
      relay_in: this.#around(0.2, 0.4),
      jitter: this.random() < 0.3 ? this.#around(9, 0.7) : 0,
      decode: this.#around(0.25, 0.3),
      endpointing: 500 + 40 * this.random(),
      policy: this.#around(0.3, 0.6),
      model: this.#around(290, 0.28) * origin.speed * wasBad + slow,
      pacing: 20 * this.random(),
      encode: this.#around(6.8, 0.1),
      relay_out: this.#around(0.2, 0.4),
      downlink: this.#around(17, 0.5),
      playout: this.#around(52, 0.25),
      unattributed: this.#around(3, 0.9),
    };
    if (origin.isCascade)
      Object.assign(hops, {
        stt: this.#around(95, 0.3),
        aggregation: this.#around(22, 0.4),
        tts: this.#around(120, 0.3),
      });
    const whole = Object.values(hops).reduce((sum, ms) => sum + ms, 0);
    const budgets = origin.isCascade ? CASCADE : BUDGETS;
    const row = { at, origin, hops, whole, budgets, cost: Math.round(this.#around(2_400_000, 0.4)) };
    row.spender = whole > budgets.whole ? worstHop(row) : null;
    this.rows.push(row);
    return row;
  }

  /** As `GET /admin/v1/overview`. */
  overview(query, now = Date.now() / 1000) {
    const [span, every] = SPANS[query.get("window") ?? "1h"];
    const by = query.get("by") ?? "none";
    const subject = query.get("hop") ?? "whole";
    const rows = this.rows.filter(({ at }) => at > now - span && at <= now);
    const groups = new Map();
    for (const row of rows) {
      const name = by === "none" ? null : row.origin[by];
      groups.set(name, [...(groups.get(name) ?? []), row]);
    }
    const spent = new Map();
    for (const { spender } of rows) if (spender) spent.set(spender, (spent.get(spender) ?? 0) + 1);
    const spenders = [...spent].map(([hop, breaches]) => ({ hop, owner: OWNERS[hop], breaches }));
    return {
      window_ms: span * 1000,
      turns: rows.length,
      truncated: false,
      now_at: now,
      groups: [...groups].map(([name, rows]) => group(name, rows)).sort((a, b) => b.turns - a.turns),
      groups_left_out: 0,
      heat: heat(rows, subject, { now, span, every }),
      spenders: spenders.sort((a, b) => b.breaches - a.breaches),
    };
  }

  /** As `GET /admin/v1/latency`. */
  latency(now = Date.now() / 1000) {
    const routes = [...new Set(ORIGINS.map(({ route }) => route))].map((route) => {
      const of = (seconds) =>
        this.rows.filter((row) => row.origin.route === route && row.at > now - seconds && row.at <= now);
      const windows = { "5m": of(300), "1h": of(3_600), "6h": of(21_600) };
      const budgets = route === "house-*" ? CASCADE : BUDGETS;
      const burn = Object.keys({ whole: 0, ...budgets }).map((subject) => {
        const over = (row) => (subject === "whole" ? row.whole : (row.hops[subject] ?? 0)) > budgets[subject];
        const each = Object.entries(windows).map(([name, rows]) => [
          name,
          rows.length ? (20 * rows.filter(over).length) / rows.length : 0,
        ]);
        return { subject, owner: OWNERS[subject] ?? null, ...Object.fromEntries(each) };
      });
      const turns = Object.fromEntries(Object.entries(windows).map(([name, rows]) => [name, rows.length]));
      return { route, turns, budgets, burn, ...this.#passedOver(route) };
    });
    return { tolerance: { allowed: 50, fast: 6, slow: 3, turns: 10 }, prefer_another: this.preferAnother, routes };
  }

  /** Has a target of a route passed over from `sinceAt` for five minutes, in seconds since 1970. */
  passOver(route, target, sinceAt) {
    this.preferAnother = "next_turn";
    this.slow.set(route, { target, sinceAt });
  }

  #passedOver(route) {
    const { target, sinceAt } = this.slow.get(route) ?? {};
    if (!target) return { advice: [], passed_over: [] };
    const held = { target, since_at: sinceAt, until_at: sinceAt + 300 };
    const advice = [{ action: "prefer_another", subject: "model", owner: "provider", ...held }];
    return { advice, passed_over: [target] };
  }
}

function worstHop({ hops, budgets }) {
  const over = Object.entries(hops).map(([hop, ms]) => [hop, ms - (budgets[hop] ?? Infinity)]);
  const [hop, excess] = over.sort((a, b) => b[1] - a[1])[0];
  return excess > 0 ? hop : Object.entries(hops).sort((a, b) => b[1] - a[1])[0][0];
}

const bucket = (ms) => {
  const found = BOUNDS_MS.findIndex((bound) => ms <= bound);
  return found < 0 ? BOUNDS_MS.length : found;
};
const empty = () => Array(BOUNDS_MS.length + 1).fill(0);

function distribution(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (share) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
  const histogram = empty();
  for (const value of sorted) histogram[bucket(value)] += 1;
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  return { p50_ms: rank(0.5), p95_ms: rank(0.95), p99_ms: rank(0.99), max_ms: sorted.at(-1), mean_ms: mean, histogram };
}

function group(name, rows) {
  const hops = Object.keys(OWNERS).flatMap((hop) => {
    const values = rows.map(({ hops }) => hops[hop]).filter((ms) => ms !== undefined);
    return values.length ? [{ hop, owner: OWNERS[hop], turns: values.length, ...distribution(values) }] : [];
  });
  const cost = rows.reduce((sum, { cost }) => sum + cost, 0);
  return {
    name,
    turns: rows.length,
    whole: distribution(rows.map(({ whole }) => whole)),
    hops,
    breaches: rows.filter(({ spender }) => spender).length,
    mean_cost_nano_dollars: Math.trunc(cost / rows.length),
  };
}

function heat(rows, subject, { now, span, every }) {
  const first = Math.floor((now - span) / every);
  const columns = Array.from({ length: Math.floor(now / every) - first + 1 }, empty);
  for (const row of rows) {
    const ms = subject === "whole" ? row.whole : row.hops[subject];
    if (ms !== undefined) columns[Math.floor(row.at / every) - first][bucket(ms)] += 1;
  }
  return { columns_every_ms: every * 1000, from_at: first * every, bounds_ms: BOUNDS_MS, columns, hop: subject };
}

const FLEET = {
  node: {
    id: "node-1",
    version: "0.9.0",
    uptime_ms: 190_000_000,
    cores: 8,
    sessions: 184,
    sessions_per_core: 23,
    draining: false,
    cpu_ratio: 0.41,
    memory_bytes: 412_000_000,
    pacing_misses: 37,
    pacing_p99_ms: 0.8,
    underruns: 2,
  },
  relays: [
    { id: "relay-1", state: "alive", sessions: 131, round_trip_ms: 0.2, drops: { malformed: 12, unknown_flow: 3 } },
    { id: "relay-2", state: "draining", sessions: 53, round_trip_ms: 11.8, drops: {} },
    { id: "relay-3", state: "silent", sessions: 0, round_trip_ms: null, drops: {} },
  ],
  providers: [
    { target: "openai-eu", state: "closed", first_audio_ms: 288, sessions: 120 },
    { target: "openai-us", state: "open", first_audio_ms: 1_430, sessions: 4 },
    { target: "house", state: "half_open", first_audio_ms: null, sessions: 60 },
  ],
};

const SHARES = {
  model: [
    ["gpt-realtime", 0.71],
    ["gpt-realtime-mini", 0.18],
    ["house-voice", 0.11],
  ],
  provider: [
    ["openai-eu", 0.62],
    ["openai-us", 0.27],
    ["house", 0.11],
  ],
  organisation: [
    ["acme", 0.55],
    ["globex", 0.34],
    ["default", 0.11],
  ],
  team: [
    ["support", 0.48],
    ["sales", 0.33],
    ["default", 0.19],
  ],
  key: [
    ["till", 0.4],
    ["phone", 0.35],
    ["first", 0.25],
  ],
  agent: [
    ["receptionist", 0.66],
    ["", 0.34],
  ],
  hop: [
    ["model", 0.82],
    ["tts", 0.13],
    ["stt", 0.05],
  ],
};
const NAMES = ["day", "organisation", "team", "key", "agent", "provider", "model", "hop"];

/** As `GET /admin/v1/usage`, of a gateway that spends about twelve dollars a day. */
function usage(query) {
  const by = (query.get("by") ?? "").split(",").filter(Boolean);
  const [first, last] = [query.get("first"), query.get("last")];
  const rows = [];
  const row = (names, nano, isEstimate = false) => ({
    ...Object.fromEntries(NAMES.map((name) => [name, null])),
    ...names,
    confirmed_nano_dollars: isEstimate ? Math.round(nano * 0.7) : Math.round(nano),
    estimated_nano_dollars: isEstimate ? Math.round(nano * 0.3) : 0,
    unheard_nano_dollars: Math.round(nano * 0.03),
    unpriced: 0,
    entries: Math.max(1, Math.round(nano / 4e7)),
  });
  const days = [];
  for (let at = Date.parse(first); at <= Date.parse(last); at += 86_400_000)
    days.push(new Date(at).toISOString().slice(0, 10));
  const spent = (day) => 12.4e9 * (0.55 + 0.45 * Math.abs(Math.sin(Date.parse(day) / 1.3e8)));
  const everything = days.reduce((sum, day) => sum + spent(day), 0);
  if (by.length === 0) rows.push(row({}, everything, true));
  else if (by.includes("day")) rows.push(...days.map((day) => row({ day }, spent(day), day === last)));
  else
    rows.push(
      ...(SHARES[by[0]] ?? []).map(([name, share]) =>
        row({ [by[0]]: name, organisation: "acme", team: "support", [by[0]]: name }, everything * share, true),
      ),
    );
  return { items: rows, next: null };
}

const budget = (more) => ({
  id: null,
  source: "configuration",
  set_by: null,
  organisation: "acme",
  team: null,
  key: null,
  agent: null,
  window: "day",
  soft_nano_dollars: null,
  hard_nano_dollars: null,
  spent_nano_dollars: 0,
  leased_nano_dollars: 0,
  left_nano_dollars: null,
  ...more,
});
const BUDGETS_SET = [
  budget({
    hard_nano_dollars: 40e9,
    soft_nano_dollars: 30e9,
    spent_nano_dollars: 12.4e9,
    leased_nano_dollars: 1.9e9,
    left_nano_dollars: 25.7e9,
  }),
  budget({
    team: "support",
    window: "month",
    hard_nano_dollars: 200e9,
    soft_nano_dollars: 150e9,
    spent_nano_dollars: 171e9,
    leased_nano_dollars: 4e9,
    left_nano_dollars: 25e9,
  }),
  budget({
    team: "sales",
    key: "phone",
    window: "hour",
    hard_nano_dollars: 1e9,
    spent_nano_dollars: 1.02e9,
    left_nano_dollars: 0,
  }),
  budget({ organisation: "globex", window: "total", soft_nano_dollars: 500e9, spent_nano_dollars: 312e9 }),
];

/** Tool calls that wait, and what became of them. */
export class SyntheticApprovals {
  held = [];
  #count = 0;

  /** One more that waits for `ms`. */
  hold({
    tool = "refund_order",
    risk = "dangerous",
    ms = 60_000,
    session = "sess_0",
    args = { order: "A-1742", amount: 49.9, reason: "arrived broken" },
  } = {}) {
    const number = ++this.#count;
    const now = Date.now();
    const held = {
      id: `appr_${number}`,
      session,
      call: `call_${number}`,
      organisation: "acme",
      team: "support",
      key: "till",
      agent: "receptionist",
      tool,
      risk,
      arguments: JSON.stringify(args),
      asked_at_ms: now,
      deadline_ms: now + ms,
    };
    this.held.push(held);
    return held;
  }

  /** Answers by path, for those that wait now. */
  answers() {
    const decide = (held, state) => () => {
      this.held = this.held.filter(({ id }) => id !== held.id);
      return { id: held.id, state };
    };
    return Object.fromEntries(
      this.held.flatMap((held) => [
        [`/admin/v1/approvals/${held.id}/approve`, decide(held, "approved")],
        [`/admin/v1/approvals/${held.id}/deny`, decide(held, "denied")],
      ]),
    );
  }
}

/** The answers of all pages of figures, for MockGateway. */
export function figureAnswers({
  turns = new SyntheticTurns(),
  approvals = new SyntheticApprovals(),
  isBusy = true,
} = {}) {
  return {
    "/admin/v1/overview": (url) => turns.overview(url.searchParams),
    "/admin/v1/latency": () => turns.latency(),
    "/admin/v1/fleet": () => FLEET,
    "/admin/v1/usage": (url) => (isBusy ? usage(url.searchParams) : { items: [], next: null }),
    "/admin/v1/budgets": () => ({ items: isBusy ? BUDGETS_SET : [], next: null }),
    "/admin/v1/approvals": () => ({ items: approvals.held, next: null }),
    "/admin/v1/audit": () => ({ items: [], next: null }),
    ...approvals.answers(),
  };
}
