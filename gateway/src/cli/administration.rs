//! What the commands share that ask a running gateway's administration.

use std::fmt::Write as _;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode, Url};
use serde_json::Value;
use thiserror::Error;

use super::{complain, say};

/// Longest wait for an answer: the gateway itself waits five seconds for its store.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Most pages of a list: 20,000 things, more than anybody reads.
const MOST_PAGES: usize = 100;

/// What goes behind every help text.
pub(super) const EXITS: &str = "\
Exit status: 0 done; 2 wrong arguments; 3 no gateway there; 4 refused by the gateway.\n\n\
The key needs the scope `admin`; the role of the key decides what it may do, and whose things it sees.";

/// Which gateway, and who asks.
#[derive(Clone, clap::Args)]
pub(super) struct GatewayArguments {
    /// Base URL of the gateway's API.
    #[arg(long, env = "VOXGATE_URL", default_value = "http://127.0.0.1:8080/v1", value_name = "URL")]
    url: Url,
    /// API key with the scope `admin`. Better in the environment than on the command line, where others can see it.
    #[arg(long, env = "VOXGATE_KEY", hide_env_values = true, value_name = "KEY")]
    key: String,
    /// PEM file with the gateway's CA, for https addresses: `tls/ca.pem` in its data folder.
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
    /// Print what the gateway answers as JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Why a command did not do what it was asked.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// Something on this side.
    #[error("{0}")]
    Here(String),
    /// Nobody answers.
    #[error("no gateway answers at {url}: {reason}")]
    NoGateway {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// It says no.
    #[error("{message} ({status})")]
    Refused {
        /// In its own words.
        message: String,
        /// The HTTP status.
        status: u16,
    },
}

impl Trouble {
    const fn exit(&self) -> u8 {
        match self {
            Self::Here(_) => 2,
            Self::NoGateway { .. } => 3,
            Self::Refused { .. } => 4,
        }
    }
}

/// A running gateway, as its administration shows it.
pub(super) struct Administration {
    http: Client,
    base: Url,
    key: String,
    prints_json: bool,
}

impl GatewayArguments {
    /// Runs a command against the gateway.
    pub(super) fn run<F>(self, command: impl FnOnce(Administration) -> F) -> ExitCode
    where
        F: Future<Output = Result<(), Trouble>>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = runtime
            .map_err(|error| Trouble::Here(error.to_string()))
            .and_then(|runtime| runtime.block_on(async { command(self.connect()?).await }));
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(trouble) => complain(&trouble.to_string(), trouble.exit()),
        }
    }

    fn connect(self) -> Result<Administration, Trouble> {
        // The client wants one even where nothing is encrypted. It is installed already if this fails.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let here = |error: &dyn std::fmt::Display| Trouble::Here(error.to_string());
        let mut builder = Client::builder().timeout(ANSWER_TIMEOUT).no_proxy();
        if let Some(path) = &self.ca {
            let text = std::fs::read(path).map_err(|error| here(&error))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&text).map_err(|error| here(&error))?;
            builder = builder.tls_certs_merge(authorities);
        }
        let http = builder.build().map_err(|error| here(&error))?;
        Ok(Administration { http, base: self.url, key: self.key, prints_json: self.json })
    }
}

impl Administration {
    /// Asks for one thing, or to do one.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Trouble> {
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("/admin/v1{path}"));
        url.set_query(query);
        let mut request = self.http.request(method, url).bearer_auth(&self.key);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let gone = |error: &reqwest::Error| Trouble::NoGateway {
            url: self.base.to_string(),
            reason: innermost(error),
        };
        let answer = request.send().await.map_err(|error| gone(&error))?;
        let status = answer.status();
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let answer: Value = answer.json().await.map_err(|error| gone(&error))?;
        if status.is_success() { Ok(answer) } else { Err(refused(status, &answer)) }
    }

    /// Every item of a list, whatever the number of pages.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>, Trouble> {
        let mut items = Vec::new();
        let mut after = String::new();
        for _ in 0..MOST_PAGES {
            let mut page = self.ask(Method::GET, &format!("{path}?limit=200{after}"), None).await?;
            if let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) {
                items.extend(found);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        Ok(items)
    }

    /// Shows one thing as JSON if that is wanted, otherwise some part of it as a table.
    pub(super) fn show_whole(&self, whole: &Value, part: &[Value], columns: &[Column]) {
        say(&if self.prints_json { whole.to_string() } else { table(part, columns) });
    }

    /// Shows things as a table, or as JSON if that is wanted.
    pub(super) fn show(&self, things: &[Value], columns: &[Column]) {
        if self.prints_json {
            say(&Value::from(things).to_string());
        } else {
            say(&table(things, columns));
        }
    }
}

fn refused(status: StatusCode, answer: &Value) -> Trouble {
    let message = answer.pointer("/error/message").and_then(Value::as_str);
    let message = message.unwrap_or("the gateway refused, and did not say why").to_owned();
    Trouble::Refused { message, status: status.as_u16() }
}

/// The reason below the reasons: what reqwest says first names the URL only.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(below) = error.source() {
        error = below;
    }
    error.to_string()
}

/// One column: its heading, and what stands in it.
pub(super) type Column = (&'static str, fn(&Value) -> String);

/// A field as text; `-` for what is not there.
pub(super) fn field(thing: &Value, name: &str) -> String {
    match thing.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
    }
}

/// Text from elsewhere, without anything that would steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Columns as wide as what stands in them.
fn table(things: &[Value], columns: &[Column]) -> String {
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect()];
    rows.extend(things.iter().map(|thing| columns.iter().map(|(_, cell)| cell(thing)).collect()));
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_as_wide_as_what_stands_in_it_and_steers_no_terminal() {
        let things = [json!({ "id": "sess_1", "cost": 5 }), json!({ "id": "\u{1b}[2J", "cost": null })];
        let columns: [Column; 2] =
            [("SESSION", |thing| field(thing, "id")), ("COST", |thing| field(thing, "cost"))];
        assert_eq!(table(&things, &columns), "SESSION  COST\nsess_1   5\n\u{fffd}[2J     -");
        assert_eq!(table(&[], &columns), "SESSION  COST");
    }
}
