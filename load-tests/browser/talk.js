// The talk page as a person sees it, with what arrived on its data channels.
import { openPage } from "./chromium.js";
import { KEY } from "./gateway.js";
import { until } from "./patience.js";

export class TalkPage {
  /** Opens the page as the link that the gateway prints does. `prepare` is given it before it loads. */
  static async open(browser, gateway, { key = KEY, query = "", prepare = () => {}, ...options } = {}) {
    const talk = new TalkPage();
    Object.assign(talk, await openPage(browser, options));
    talk.gateway = gateway;
    await talk.page.addInitScript(recordChannels);
    await prepare(talk.page);
    await talk.page.goto(`${gateway.origin}/${query}#key=${key}`);
    return talk;
  }

  /** The element with this `data-testid`. */
  part(name) {
    return this.page.getByTestId(name);
  }

  /** Presses Connect and waits for the call to be open. */
  async connect() {
    await this.part("connect").click();
    await this.until("the call is connected", (view) => view.state === "connected");
  }

  /** What the page tells about itself. */
  view() {
    return this.page.evaluate(() => ({
      ...Object.fromEntries(Object.keys(window.voxgateTalk).map((name) => [name, window.voxgateTalk[name]])),
      events: window.arrivedEvents,
    }));
  }

  /** The first truthy result of `probe(view)`. */
  until(what, probe) {
    return until(what, async () => probe(await this.view()), () => this.evidence());
  }

  async evidence() {
    const { session, events, ...view } = await this.view();
    const types = events.map((event) => event.type).join(" ");
    const lines = (view.transcript ?? []).map((entry) => `${entry.role}: ${JSON.stringify(entry.text)}`);
    return [
      // First what tells most: some reports of a failed run keep only the beginning.
      `heard and said: ${lines.join(" | ")}`,
      `faults: ${JSON.stringify(events.filter((event) => /error|failed/.test(event.type)))}`,
      JSON.stringify(view, null, 1),
      `session: ${session?.model}\nevents: ${types}`,
      `console: ${this.complaints.join("\n")}`,
      `gateway:\n${this.gateway.process.output}`,
    ].join("\n");
  }

  /** Ends the call with the button, then closes the page. */
  async end() {
    await this.part("end").click();
    await this.until("the call has ended", (view) => view.state === "ended");
    await this.page.context().close();
  }
}

/** Lines of the transcript by who said them. */
export const said = (view, role) => view.transcript.filter((entry) => entry.role === role && entry.text);

function recordChannels() {
  window.arrivedEvents = [];
  const create = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (...args) {
    const channel = create.apply(this, args);
    channel.addEventListener("message", ({ data }) => window.arrivedEvents.push(JSON.parse(data)));
    return channel;
  };
}
