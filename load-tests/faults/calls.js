// Calls of a real Chromium with the talk page, and proof that a conversation still goes on in them.
import { TalkPage } from "../browser/talk.js";
import { until } from "../browser/patience.js";
import { probe, readConnection } from "./probe.js";

const TONE_LIMIT_MS = 60_000;
/** Of 32,768; the microphone's speech has several thousand, silence some ten. */
const AUDIBLE = 500;

export class FaultCall {
  /** Opens the page and calls; resolves when the answer, a tone without end, is heard. */
  static async open(browser, cluster, { script }) {
    const call = new FaultCall();
    const prepare = (page) => page.addInitScript(probe);
    const query = script ? "" : "?failover=off";
    call.talk = await TalkPage.open(browser, cluster, { query, prepare });
    await call.talk.connect();
    // Speech shall neither be answered nor interrupt.
    await call.send({
      type: "session.update",
      session: { type: "realtime", audio: { input: { turn_detection: null } } },
    });
    await call.talk.until("the session is set", (view) =>
      view.session?.audio?.input && view.session.audio.input.turn_detection === null,
    );
    await call.send({ type: "response.create" });
    await until("the tone is heard", async () => (await call.levels()).at(-1)?.level > 0.05, () => call.talk.evidence(), TONE_LIMIT_MS);
    Object.assign(call, await call.read());
    return call;
  }

  send(event) {
    return this.talk.page.evaluate(
      (text) => window.faultProbe.channels["oai-events"].send(text),
      JSON.stringify(event),
    );
  }

  read() {
    return this.talk.page.evaluate(readConnection);
  }

  levels() {
    return this.talk.page.evaluate(() => window.faultProbe.levels);
  }

  seen() {
    return this.talk.page.evaluate(() => {
      const { notices, states } = window.faultProbe;
      return { notices, states };
    });
  }

  /**
   * Whether words still arrive: what is said from now on is committed as a turn, and the simulated provider's
   * transcript, which tells how long and loud it was, comes back on the data channel.
   */
  async goesOn(limitMs = 8_000) {
    const kind = "conversation.item.input_audio_transcription.completed";
    try {
      const before = await this.#count(kind);
      await this.send({ type: "input_audio_buffer.clear" });
      await this.talk.page.waitForTimeout(1_500);
      await this.send({ type: "input_audio_buffer.commit" });
      await until("a transcript", async () => (await this.#count(kind)) > before, () => "", limitMs);
      const { events, state } = await this.talk.view();
      const { transcript } = events.findLast(({ type }) => type === kind);
      const level = Number(/level of (\d+)/.exec(transcript)?.[1]);
      return { isAlive: state === "connected" && level > AUDIBLE, state, transcript };
    } catch (failure) {
      return { isAlive: false, why: String(failure).split("\n")[0] };
    }
  }

  async #count(kind) {
    return (await this.talk.view()).events.filter(({ type }) => type === kind).length;
  }

  close() {
    return this.talk.page.context().close();
  }
}
