//! The web pages of the gateway, embedded in the binary.
//!
//! The pages are plain HTML, CSS and ES modules: what is in `web/` is what the browser runs. They load
//! nothing from elsewhere, so they work offline and under `default-src 'self'; style-src 'self'; script-src
//! 'self'; connect-src 'self'; media-src 'self' blob: mediastream:`.

mod etag;

use etag::entity_tag;

/// One file, ready to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The path of the request, `/` for the talk page.
    pub path: &'static str,
    /// For the `Content-Type` header.
    pub content_type: &'static str,
    /// The content.
    pub body: &'static [u8],
    /// A strong entity tag with its quotes (RFC 9110 section 8.8.3). It changes with the content; file names
    /// do not, so a cache has to revalidate (`Cache-Control: no-cache`).
    pub etag: &'static str,
}

macro_rules! asset {
    ($path:expr, $file:literal) => {{
        const BODY: &[u8] = include_bytes!(concat!("../web/", $file));
        const TAG: [u8; etag::LENGTH] = entity_tag(BODY);
        const ETAG: &str = match std::str::from_utf8(&TAG) {
            Ok(text) => text,
            Err(_) => "",
        };
        Asset { path: $path, content_type: content_type($file), body: BODY, etag: ETAG }
    }};
}

/// The files of a folder at the paths of their names.
macro_rules! files {
    ($($file:literal),* $(,)?) => { [$(asset!(concat!("/", $file), $file)),*] };
}

/// By the ending of the name.
const fn content_type(file: &str) -> &'static str {
    match file.as_bytes() {
        [.., b'.', b'h', b't', b'm', b'l'] => "text/html; charset=utf-8",
        [.., b'.', b'c', b's', b's'] => "text/css; charset=utf-8",
        [.., b'.', b's', b'v', b'g'] => "image/svg+xml",
        [.., b'.', b'j', b's'] => "text/javascript; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

static TALK: Asset = asset!("/", "talk/index.html");

/// One page for every address of the dashboard: its script reads the address.
static DASHBOARD: Asset = asset!("/dashboard", "dashboard/index.html");

static ASSETS: &[Asset] = &files![
    "client/voxgate-client.js",
    "dashboard/api.js",
    "dashboard/approval.js",
    "dashboard/approvals.css",
    "dashboard/approvals.js",
    "dashboard/axis.js",
    "dashboard/budget-list.js",
    "dashboard/burn-card.js",
    "dashboard/burn.js",
    "dashboard/call-tools.js",
    "dashboard/columns.js",
    "dashboard/comparison-card.js",
    "dashboard/comparison.js",
    "dashboard/controls.js",
    "dashboard/crowd.js",
    "dashboard/dashboard.css",
    "dashboard/decision-dialog.js",
    "dashboard/distribution.js",
    "dashboard/feed.js",
    "dashboard/figures.css",
    "dashboard/filters.js",
    "dashboard/fleet-figures.js",
    "dashboard/fleet.css",
    "dashboard/fleet.js",
    "dashboard/format.js",
    "dashboard/heat-map.js",
    "dashboard/heat.js",
    "dashboard/held-card.js",
    "dashboard/help.js",
    "dashboard/hop-distributions.js",
    "dashboard/keyed.js",
    "dashboard/lanes.js",
    "dashboard/live.js",
    "dashboard/memory.js",
    "dashboard/network.js",
    "dashboard/order.js",
    "dashboard/overview-figures.js",
    "dashboard/overview.css",
    "dashboard/overview.js",
    "dashboard/page.js",
    "dashboard/player.js",
    "dashboard/plot.js",
    "dashboard/record.js",
    "dashboard/refresh.js",
    "dashboard/routes.js",
    "dashboard/rows.js",
    "dashboard/session.js",
    "dashboard/sessions.js",
    "dashboard/settled-calls.js",
    "dashboard/signin.js",
    "dashboard/spend-days.js",
    "dashboard/spend-rows.js",
    "dashboard/spend.css",
    "dashboard/spend.js",
    "dashboard/spenders.js",
    "dashboard/spending.js",
    "dashboard/sse.js",
    "dashboard/states.js",
    "dashboard/summary.js",
    "dashboard/theme.js",
    "dashboard/tiles.js",
    "dashboard/timeline.js",
    "dashboard/turns.js",
    "dashboard/vector.js",
    "dashboard/words.js",
    "shared/base.css",
    "shared/element.js",
    "shared/hops.js",
    "shared/icon.svg",
    "shared/key.js",
    "shared/palette.css",
    "shared/waterfall.css",
    "shared/waterfall.js",
    "talk/api.js",
    "talk/call.js",
    "talk/errors.js",
    "talk/events.js",
    "talk/failover.js",
    "talk/meter.js",
    "talk/page.js",
    "talk/panels.js",
    "talk/talk.css",
    "talk/transcript.js",
    "talk/trend.js",
    "vendor/uplot/LICENSE",
    "vendor/uplot/uPlot.esm.js",
    "vendor/uplot/uPlot.min.css",
];

/// Where pages of other origins may load scripts from.
pub const FOR_OTHERS: &str = "/client/";

/// The file at the path of a request (without its query), or `None` where there is no page.
#[must_use]
pub fn asset(path: &str) -> Option<&'static Asset> {
    let is_page = |below: &str| !below.ends_with(".js") && !below.ends_with(".css");
    match path {
        "/" => Some(&TALK),
        "/dashboard" => Some(&DASHBOARD),
        _ => ASSETS
            .iter()
            .find(|asset| asset.path == path)
            .or_else(|| path.strip_prefix("/dashboard/").filter(|below| is_page(below)).map(|_| &DASHBOARD)),
    }
}

/// Every file, the pages first.
pub fn assets() -> impl Iterator<Item = &'static Asset> {
    [&TALK, &DASHBOARD].into_iter().chain(ASSETS)
}

#[cfg(test)]
mod tests;
