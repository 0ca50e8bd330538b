// The gateway's administration as the pages use it. Same origin; the key travels in a header only.

const PATIENCE_MS = 20_000;

/** A request that got no answer it could use. `status` is 0 where there was none at all. */
export class ApiFailure extends Error {
  constructor(status, message, { code = null, retryAfterMs = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

const WORDS = {
  0: "The gateway cannot be reached.",
  401: "The gateway does not accept this key.",
  403: "This key may not look at this.",
  404: "The gateway has nothing at this address.",
  429: "That was too much at once. Wait a moment, then try again.",
  500: "The gateway had a fault of its own.",
  503: "The gateway is busy or going down. Try again in a moment.",
};

/** One clear sentence about a failure, for people. */
export function sentenceOf(failure) {
  if (!(failure instanceof ApiFailure)) return "The page had a fault of its own; its console tells which.";
  const words = WORDS[failure.status] ?? `The gateway answered with status ${failure.status}.`;
  return failure.message && failure.message !== words ? `${words} ${failure.message}` : words;
}

/** The administration in the name of `key`. `onUnauthorised` hears of the first 401. */
export function createApi(key, { onUnauthorised = () => {} } = {}) {
  async function send(method, path, { body, signal, headers, patienceMs = PATIENCE_MS } = {}) {
    const patience = patienceMs === null ? null : AbortSignal.timeout(patienceMs);
    const signals = [signal, patience].filter(Boolean);
    let response;
    try {
      response = await fetch(path, {
        method,
        signal: signals.length ? AbortSignal.any(signals) : undefined,
        cache: "no-store",
        headers: {
          Authorization: `Bearer ${key}`,
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
          ...headers,
        },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (fault) {
      if (signal?.aborted) throw fault;
      throw new ApiFailure(0, WORDS[0]);
    }
    if (response.ok) return response;
    const failure = await failureOf(response);
    if (failure.status === 401) onUnauthorised(failure);
    throw failure;
  }
  const json = async (method, path, options) => {
    const response = await send(method, path, options);
    return response.status === 204 ? null : response.json();
  };
  return {
    /** The answer as JSON. `options`: `signal`, `headers`. Throws an ApiFailure. */
    get: (path, options) => json("GET", path, options),
    post: (path, body, options) => json("POST", path, { ...options, body }),
    put: (path, body, options) => json("PUT", path, { ...options, body }),
    remove: (path, options) => json("DELETE", path, options),
    /** The bare response, for streams and files. */
    fetch: (path, options) => send("GET", path, options),
  };
}

async function failureOf(response) {
  const text = await response.text().catch(() => "");
  let error = null;
  try {
    error = JSON.parse(text)?.error ?? null;
  } catch {
    // A proxy in between speaks HTML; its status says enough.
  }
  const seconds = Number(response.headers.get("Retry-After"));
  return new ApiFailure(response.status, typeof error?.message === "string" ? error.message : "", {
    code: typeof error?.code === "string" ? error.code : null,
    retryAfterMs: seconds > 0 ? seconds * 1000 : null,
  });
}
