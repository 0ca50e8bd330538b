//! The gateway under test: a process of its own, watched from outside.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The API key of the callers.
pub const KEY: &str = "vg_key_of_the_benchmark";

/// How long the gateway may take to say where it listens; the longest starts are those under callgrind.
const START_LIMIT: Duration = Duration::from_mins(2);

/// How long the gateway may take to take another configuration.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);

/// How often is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Gateways this process has started: each has a folder of its own.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// The name of its configuration in that folder.
const CONFIGURATION: &str = "voxgate.yaml";

/// `USER_HZ`, the unit of CPU times in `/proc`: 100 on every Linux platform that is in use (proc(5)).
const CPU_TICK: Duration = Duration::from_millis(10);

/// A running gateway. Dropping it ends it and deletes its files.
#[derive(Debug)]
pub struct Gateway {
    process: Child,
    http: String,
    folder: PathBuf,
}

impl Gateway {
    /// Starts `binary` with a configuration ([`configuration`] for one provider) and the relay at `relay`, reachable
    /// for callers at `advertised`.
    ///
    /// # Errors
    /// The binary cannot be started or does not say where it listens; then its log is part of the error.
    pub fn start(
        binary: &Path,
        configuration: &str,
        relay: SocketAddr,
        advertised: SocketAddr,
    ) -> anyhow::Result<Self> {
        Self::start_by(Command::new(binary), configuration, relay, advertised)
    }

    /// The same by a command to which the gateway's arguments are added: the binary, or what runs it.
    ///
    /// # Errors
    /// As for [`Gateway::start`].
    pub fn start_by(
        mut command: Command,
        configuration: &str,
        relay: SocketAddr,
        advertised: SocketAddr,
    ) -> anyhow::Result<Self> {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("voxgate-bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).context("cannot make a folder for the gateway")?;
        let config = folder.join(CONFIGURATION);
        fs::write(&config, configuration)?;
        let log = File::create(folder.join("log"))?;
        let mut process = command
            .args(["standalone", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"])
            .args(["--relay", &relay.to_string(), "--relay-advertise", &advertised.to_string()])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .arg("--config")
            .arg(&config)
            .env("VOXGATE_ADMIN_KEY", KEY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let lines = lines_of(&mut process);
        let mut gateway = Self { process, http: String::new(), folder };
        gateway.http = gateway.address(&lines?)?;
        Ok(gateway)
    }

    fn address(&self, lines: &mpsc::Receiver<String>) -> anyhow::Result<String> {
        let deadline = Instant::now() + START_LIMIT;
        let mut address = None;
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some((_, url)) = line.split_once("API base ") {
                address =
                    url.trim().strip_prefix("http://").map(|url| url.trim_end_matches("/v1").to_owned());
            }
            if let Some(address) = address.take_if(|_| line.starts_with("Stop with")) {
                return Ok(address);
            }
        }
        bail!("the gateway did not start:\n{}", self.log())
    }

    /// What the gateway logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The base of its API.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.http)
    }

    /// Its metrics in the text form of Prometheus.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(&self.http).await.context("the gateway is gone")?;
        // Version 1.0: the answer comes in one piece and ends with the connection.
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the metrics page is not HTTP")?;
        ensure!(
            head.contains(" 200 "),
            "the metrics page answers {}",
            head.lines().next().unwrap_or_default()
        );
        Ok(body.to_owned())
    }

    /// Has it go on with another configuration, which must differ from the one it has.
    ///
    /// # Errors
    /// It does not take it in time; then its log is part of the error.
    pub async fn reconfigure(&self, configuration: &str) -> anyhow::Result<()> {
        let before = self.revision().await?;
        fs::write(self.folder.join(CONFIGURATION), configuration)?;
        let process = Pid::from_raw(self.process.id().try_into().context("its number is too large")?);
        kill(process, Signal::SIGHUP).context("it cannot be told")?;
        let deadline = Instant::now() + CHANGE_LIMIT;
        while self.revision().await? == before {
            ensure!(
                Instant::now() < deadline,
                "the gateway did not take its new configuration:\n{}",
                self.log()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Names the configuration that is in force.
    async fn revision(&self) -> anyhow::Result<String> {
        let metrics = self.metrics().await?;
        let line = metrics.lines().find(|line| line.starts_with("voxgate_config_revision_info{"));
        Ok(line.context("it does not tell which configuration is in force")?.to_owned())
    }

    /// CPU time of all its threads so far.
    ///
    /// # Errors
    /// There is no `/proc`, or the process has ended.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        cpu_time(&self.process.id().to_string())
    }

    /// Its process.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// As for [`Gateway::cpu_time`].
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(kilobytes.context("the kernel does not tell the resident memory")? * 1_024)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Every call has been hung up; there is nothing left to drain. Errors leave a process or a folder
        // behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// CPU time of all threads of a process (or `self`) so far.
///
/// # Errors
/// There is no `/proc`, or no such process.
pub fn cpu_time(process: &str) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Fields 14 and 15; the name in field 2 may contain anything, but nothing after it contains a bracket.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: Vec<u32> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    ensure!(ticks.len() == 2, "the kernel does not tell CPU times");
    Ok(CPU_TICK * ticks.iter().sum())
}

/// A UDP port that is free now, for a relay that has to be known before it starts.
///
/// # Errors
/// There is none.
pub fn free_udp_address() -> std::io::Result<SocketAddr> {
    UdpSocket::bind("127.0.0.1:0")?.local_addr()
}

/// The configuration of a gateway that sends every call to one simulated provider.
#[must_use]
pub fn configuration(provider: SocketAddr) -> String {
    format!(
        "providers:\n  simulated: {{ kind: openai-realtime, base_url: \"http://{provider}/v1\" }}\n\
         routes:\n  - {{ model: \"*\", provider: simulated }}\n"
    )
}

/// The output of a process line by line, read to the end so that the process never waits for a reader.
fn lines_of(process: &mut Child) -> anyhow::Result<mpsc::Receiver<String>> {
    let output = process.stdout.take().context("the gateway has no output")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // After the start nobody listens.
            let _ = sender.send(line);
        }
    });
    Ok(receiver)
}
