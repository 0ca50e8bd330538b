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
    ($path:literal, $file:literal, $content_type:expr) => {{
        const BODY: &[u8] = include_bytes!(concat!("../web/", $file));
        const TAG: [u8; etag::LENGTH] = entity_tag(BODY);
        const ETAG: &str = match std::str::from_utf8(&TAG) {
            Ok(text) => text,
            Err(_) => "",
        };
        Asset { path: $path, content_type: $content_type, body: BODY, etag: ETAG }
    }};
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

static ASSETS: [Asset; 19] = [
    asset!("/", "talk/index.html", HTML),
    asset!("/talk/talk.css", "talk/talk.css", CSS),
    asset!("/talk/waterfall.css", "talk/waterfall.css", CSS),
    asset!("/talk/icon.svg", "talk/icon.svg", SVG),
    asset!("/talk/api.js", "talk/api.js", SCRIPT),
    asset!("/talk/call.js", "talk/call.js", SCRIPT),
    asset!("/talk/element.js", "talk/element.js", SCRIPT),
    asset!("/talk/errors.js", "talk/errors.js", SCRIPT),
    asset!("/talk/events.js", "talk/events.js", SCRIPT),
    asset!("/talk/failover.js", "talk/failover.js", SCRIPT),
    asset!("/talk/hops.js", "talk/hops.js", SCRIPT),
    asset!("/talk/key.js", "talk/key.js", SCRIPT),
    asset!("/talk/meter.js", "talk/meter.js", SCRIPT),
    asset!("/talk/page.js", "talk/page.js", SCRIPT),
    asset!("/talk/panels.js", "talk/panels.js", SCRIPT),
    asset!("/talk/report.js", "talk/report.js", SCRIPT),
    asset!("/talk/transcript.js", "talk/transcript.js", SCRIPT),
    asset!("/talk/trend.js", "talk/trend.js", SCRIPT),
    asset!("/talk/waterfall.js", "talk/waterfall.js", SCRIPT),
];

/// The file at the path of a request (without its query), or `None` where there is no page.
#[must_use]
pub fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// Every file, for a router that registers them one by one.
#[must_use]
pub fn assets() -> &'static [Asset] {
    &ASSETS
}

#[cfg(test)]
mod tests;
