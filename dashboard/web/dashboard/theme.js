// Light, dark, or as the system has it. The choice is kept in this browser; it is no secret.

const NAME = "voxgate.theme";
const ORDER = ["system", "light", "dark"];
const WORDS = {
  system: ["◐", "Colours as the system has them"],
  light: ["☀", "Light"],
  dark: ["☾", "Dark"],
};

/** Wires the switch. `document` hears `themechange` whenever colours changed, whoever changed them. */
export function setUpTheme(button) {
  let theme = ORDER.find((name) => name === stored()) ?? "system";
  const show = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const [sign, words] = WORDS[theme];
    const next = WORDS[following(theme)][1].toLowerCase();
    button.textContent = sign;
    button.setAttribute("aria-label", `Colours: ${words}. Change to ${next}.`);
    button.title = `${words} (click: ${next})`;
    document.dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    theme = following(theme);
    store(theme);
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
}

const following = (theme) => ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];

// Browsers that block site data throw on the mere access.
function stored() {
  try {
    return localStorage.getItem(NAME);
  } catch {
    return null;
  }
}

function store(theme) {
  try {
    localStorage.setItem(NAME, theme);
  } catch {
    // Kept until the page is closed, then.
  }
}

/** The colours of the palette as a canvas takes them: `colours(["--ink"])` is `{ "--ink": "rgb(…)" }`. */
export function colours(names) {
  const probe = document.createElement("span");
  document.body.append(probe);
  const found = {};
  for (const name of names) {
    probe.style.color = `var(${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
