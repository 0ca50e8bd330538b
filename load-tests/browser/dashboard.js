// The dashboard as a person sees it.
import { openPage } from "./chromium.js";
import { until } from "./patience.js";

/** Where the recording of a session's page is, and how long it is. */
export const sound = (dashboard) =>
  dashboard.part("sound").evaluate(({ currentTime, duration, paused }) => ({
    atMs: currentTime * 1000,
    lengthMs: duration * 1000,
    paused,
  }));

export class Dashboard {
  /** Opens `path` of the dashboard at `origin` as somebody who has signed in with `key`; without one as a stranger. */
  static async open(browser, origin, path, { key = null, ...options } = {}) {
    const dashboard = new Dashboard();
    Object.assign(dashboard, await openPage(browser, options));
    dashboard.origin = origin;
    const { page } = dashboard;
    if (key) {
      // Once, as signing in does it: whoever signs out is out.
      await page.goto(`${origin}/dashboard`);
      await page.evaluate((value) => sessionStorage.setItem("voxgate.key", value), key);
    }
    await page.goto(origin + path);
    return dashboard;
  }

  part(name) {
    return this.page.getByTestId(name);
  }

  /** The first truthy result of `probe()`, which looks at the page. */
  until(what, probe) {
    return until(
      what,
      probe,
      async () => `${await this.page.locator("body").innerText()}\n${this.complaints.join("\n")}`,
    );
  }

  /** The rows of the list that exist, as the texts of their cells by column. */
  rows() {
    return this.page.locator("table.sessions tbody:not(.spacer) tr").evaluateAll((rows) =>
      rows.map((row) => {
        const cells = [...row.children].map((cell) => [/col-(\w+)/.exec(cell.className)[1], cell.innerText]);
        return { id: row.dataset.id, ...Object.fromEntries(cells) };
      }),
    );
  }

  async close() {
    await this.page.context().close();
  }
}
