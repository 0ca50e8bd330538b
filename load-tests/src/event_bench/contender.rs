//! The gateways, each in a process of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::client::Door;
use crate::relay_bench::child::{Cores, Process};

/// A key for all of them; none leaves this machine.
const KEY: &str = "sk-key-of-the-event-benchmark-0123456789";

/// How long a gateway may take to answer. Some compile their modules at the first start.
const READY_LIMIT: Duration = Duration::from_secs(90);

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// No gateway: the clients connect to the vendor.
    Direct,
    /// No understanding: bytes copied between two sockets, the floor under every gateway.
    Pipe,
    /// This project, with a guardrail and a budget.
    Voxgate,
    /// SMG, in Rust.
    Smg,
    /// LiteLLM's proxy, in Python.
    Litellm,
}

impl Contender {
    /// Everyone, in the order of the tables.
    pub const ALL: [Self; 5] = [Self::Direct, Self::Pipe, Self::Voxgate, Self::Smg, Self::Litellm];

    /// Its name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Pipe => "pipe",
            Self::Voxgate => "voxgate",
            Self::Smg => "smg",
            Self::Litellm => "litellm",
        }
    }
}

/// What the contenders need around them.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Who runs where.
    pub cores: Cores,
    /// This program itself, which can be a pipe.
    pub program: PathBuf,
    /// This project's program, a release build.
    pub voxgate: PathBuf,
    /// The folder with the programs of the others.
    pub others: PathBuf,
    /// Where configurations may be written; the caller removes it.
    pub folder: PathBuf,
    /// The vendor behind all of them.
    pub vendor: SocketAddr,
}

/// A gateway that answers. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    /// Where clients connect.
    pub door: Door,
    /// Its process; none for [`Contender::Direct`].
    pub process: Option<Process>,
}

impl Running {
    /// Starts a contender and waits until it answers.
    ///
    /// # Errors
    /// It is not installed, or does not answer in time.
    pub fn start(contender: Contender, around: &Surroundings) -> anyhow::Result<Self> {
        let port = free_port()?;
        let command = match contender {
            Contender::Direct => return Ok(Self { door: door(around.vendor.port()), process: None }),
            Contender::Pipe => pipe(around, port),
            Contender::Voxgate => voxgate(around, port)?,
            Contender::Smg => smg(around, port)?,
            Contender::Litellm => litellm(around, port)?,
        };
        let mut command = command;
        let process = Process::start(around.cores, &mut command)?;
        let ready = match contender {
            Contender::Litellm => "/health/liveliness",
            Contender::Smg | Contender::Pipe => "/v1/models",
            Contender::Voxgate | Contender::Direct => "/metrics",
        };
        wait_for(port, ready).with_context(|| format!("{} does not answer", contender.name()))?;
        Ok(Self { door: door(port), process: Some(process) })
    }
}

fn door(port: u16) -> Door {
    Door { url: format!("ws://127.0.0.1:{port}/v1/realtime"), key: KEY.to_owned() }
}

fn pipe(around: &Surroundings, port: u16) -> Command {
    let mut command = Command::new(&around.program);
    command
        .arg("serve-pipe")
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--vendor", &around.vendor.to_string()]);
    command
}

fn voxgate(around: &Surroundings, port: u16) -> anyhow::Result<Command> {
    let config = around.folder.join("voxgate.yaml");
    // What a cautious operator has on: the others have no counterpart, and are measured without.
    let text = format!(
        "providers:\n  vendor: {{ kind: openai-realtime, base_url: \"http://{}/v1\", turn_detection: provider }}\n\
         routes:\n  - {{ model: \"*\", provider: vendor }}\n\
         guardrails:\n  - {{ name: names, on: [agent], words: [blackbird], act: replace, say: No. }}\n\
         money:\n  budgets:\n    - {{ organisation: default, window: day, hard: \"1000\" }}\n",
        around.vendor
    );
    fs::write(&config, text)?;
    let mut command = Command::new(&around.voxgate);
    command
        .args(["standalone", "--http", &format!("127.0.0.1:{port}"), "--https", "127.0.0.1:0"])
        .args(["--relay", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(around.folder.join("data"))
        .arg("--config")
        .arg(config)
        .env("VOXGATE_ADMIN_KEY", KEY);
    Ok(command)
}

fn smg(around: &Surroundings, port: u16) -> anyhow::Result<Command> {
    let mut command = Command::new(around.others.join("smg"));
    command
        .args(["launch", "--backend", "openai", "--log-level", "warn", "--host", "127.0.0.1"])
        .args(["--port", &port.to_string(), "--prometheus-port", &free_port()?.to_string()])
        .args(["--worker-urls", &format!("http://{}", around.vendor)])
        .env("OPENAI_API_KEY", KEY);
    Ok(command)
}

fn litellm(around: &Surroundings, port: u16) -> anyhow::Result<Command> {
    let config = around.folder.join("litellm.yaml");
    let text = format!(
        "model_list:\n  - model_name: gpt-realtime\n    litellm_params: {{ model: openai/gpt-realtime, api_base: \
         \"http://{}\", api_key: {KEY} }}\n    model_info: {{ mode: realtime }}\n\
         general_settings: {{ master_key: {KEY} }}\n",
        around.vendor
    );
    fs::write(&config, text)?;
    let mut command = Command::new(around.others.join("litellm"));
    command
        .arg("--config")
        .arg(config)
        .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--telemetry", "False"])
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("LITELLM_LOG", "ERROR");
    Ok(command)
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until a path is answered with 200.
fn wait_for(port: u16, path: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    while Instant::now() < deadline {
        if answers(port, path).unwrap_or(false) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    bail!("{path} was not answered with 200 within {} s", READY_LIMIT.as_secs())
}

fn answers(port: u16, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(
        format!("GET {path} HTTP/1.0\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n\r\n").as_bytes(),
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.ends_with(b" 200"))
}

/// The versions of the others, as their package manager knows them.
#[must_use]
pub fn version(package: &str, others: &Path) -> String {
    let output = Command::new(others.join("pip")).args(["show", package]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
    version.map_or_else(|| format!("{package} (not found)"), |version| format!("{package} {version}"))
}
