//! Checks of what concerns relays in processes of their own.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::written::{self, Written};
use crate::control::TOKEN_VARIABLE;

/// A token anybody could guess protects the keys of every call.
const SHORTEST_TOKEN: usize = 16;
/// Relays of one gateway: two stand in an answer, a few more wait for their turn.
const MOST_RELAYS: usize = 16;

/// The control listener.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) listen: SocketAddr,
    pub(crate) token: String,
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").field("listen", &self.listen).finish_non_exhaustive()
    }
}

pub(super) fn check(
    written: &Written,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Option<Control> {
    check_places(written, problems);
    check_transceiver(&written.transceiver, problems);
    if !written.relays.is_empty() && written.control.is_none() {
        problems.push("relays need control.listen: it is where they fetch their allow-lists".to_owned());
    }
    let control = written.control.as_ref()?;
    let source = TokenSource { section: "control", variable: &control.token_env, file: &control.token_file };
    let token = source.read(environment, problems)?;
    Some(Control { listen: control.listen, token })
}

fn check_places(written: &Written, problems: &mut Vec<String>) {
    if written.relays.len() > MOST_RELAYS {
        problems.push(format!("relays has {} entries; it may have {MOST_RELAYS}", written.relays.len()));
    }
    let mut ids = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for (index, relay) in written.relays.iter().enumerate() {
        if relay.id == 0 || !ids.insert(relay.id) {
            problems.push(format!("relays[{index}].id is {}; it must be 1 or more, and unique", relay.id));
        }
        let places =
            [("advertise", Some((relay.advertise, "udp"))), ("stream", relay.stream.map(|at| (at, "tcp")))];
        for (name, place) in places {
            let Some((address, _)) = place else { continue };
            if address.ip().is_unspecified() || address.port() == 0 {
                problems.push(format!(
                    "relays[{index}].{name} is {address}; it must be an address and port clients can send to"
                ));
            } else if !addresses.insert(place) {
                problems.push(format!("relays[{index}].{name} is {address}, which another relay has too"));
            }
        }
        if relay.tunnel_ip.is_unspecified() || relay.tunnel_ip.is_multicast() {
            problems.push(format!(
                "relays[{index}].tunnel_ip is {}; it must be the one address its frames come from",
                relay.tunnel_ip
            ));
        }
        let reached = written.transceiver.advertise.unwrap_or(written.transceiver.tunnel);
        if relay.tunnel_ip.is_ipv4() != reached.is_ipv4() {
            problems.push(format!(
                "relays[{index}].tunnel_ip is {}, which cannot send to transceiver.tunnel {reached}",
                relay.tunnel_ip
            ));
        }
    }
}

fn check_transceiver(transceiver: &written::Transceiver, problems: &mut Vec<String>) {
    if transceiver.advertise.is_none() && transceiver.tunnel.ip().is_unspecified() {
        problems.push(
            "transceiver.tunnel is an unspecified address; set transceiver.advertise to the address relays reach it at"
                .to_owned(),
        );
    }
    if transceiver.advertise.is_some_and(|address| address.ip().is_unspecified()) {
        problems.push("transceiver.advertise must be an address relays can send to".to_owned());
    }
}

/// Where a section says its token is.
pub(super) struct TokenSource<'a> {
    pub(super) section: &'a str,
    pub(super) variable: &'a Option<String>,
    pub(super) file: &'a Option<PathBuf>,
}

impl TokenSource<'_> {
    /// The token, or one more problem.
    pub(super) fn read(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
        problems: &mut Vec<String>,
    ) -> Option<String> {
        let section = self.section;
        let token = match (self.variable, self.file) {
            (Some(_), Some(_)) => Err(format!("{section} has both token_env and token_file; keep one")),
            (None, Some(file)) => std::fs::read_to_string(file)
                .map_err(|error| format!("{section}.token_file {} cannot be read: {error}", file.display())),
            (variable, None) => {
                let variable = variable.as_deref().unwrap_or(TOKEN_VARIABLE);
                environment(variable).ok_or_else(|| {
                    format!("{section} takes its token from {variable}, which is not set in the environment")
                })
            }
        };
        let token = token.map(|token| token.trim().to_owned()).and_then(|token| {
            let is_printable = token.bytes().all(|byte| byte.is_ascii_graphic());
            if token.len() >= SHORTEST_TOKEN && is_printable {
                return Ok(token);
            }
            Err(format!(
                "the token of {section} must be {SHORTEST_TOKEN} or more printable ASCII characters; `openssl rand -hex 32` \
                 makes one"
            ))
        });
        token.map_err(|problem| problems.push(problem)).ok()
    }
}
