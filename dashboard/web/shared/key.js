// The gateway key of this tab.

const NAME = "voxgate.key";

/** Takes the key out of `#key=…`, so that it stays out of the history and of screenshots. */
export function takeKey() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const key = fragment.get("key");
  if (key !== null) {
    fragment.delete("key");
    const rest = fragment.toString();
    history.replaceState(null, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
  }
  if (key) keepKey(key);
  return key || keptKey();
}

/** The key of this tab, or nothing. */
export const keptKey = () => storage()?.getItem(NAME) ?? "";

export const keepKey = (key) => storage()?.setItem(NAME, key);

export const forgetKey = () => storage()?.removeItem(NAME);

// Browsers that block site data throw on the mere access.
function storage() {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}
