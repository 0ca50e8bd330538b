//! Media over TCP or TLS for networks without UDP (RFC 6544): a small bridge in front of the engine.
//!
//! The engine speaks UDP. For every passive TCP candidate of an answer a bridge connects to it and takes a UDP port on
//! loopback, which stands in the answer in its place; what the engine sends there goes framed (RFC 4571) over the
//! connection, and back. A connection that breaks is made anew, for a relay that was restarted.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use voxgate_protocol::framing::{Deframer, MAX_DATAGRAM, frame};

use crate::error::CallError;

/// What carries the media of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams, as usual.
    #[default]
    Udp,
    /// A TCP connection to the relay.
    Tcp,
    /// The same inside TLS, verified against the relay's IP address.
    Tls,
}

/// Candidates of one answer that are connected to.
const MOST_CANDIDATES: usize = 4;

/// For the TCP connection and the TLS handshake, each.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Attempts to connect anew after a connection broke, and the pause before each.
const MOST_ATTEMPTS: u32 = 50;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes read from a connection at once.
const READ_AT_ONCE: usize = 4096;

/// The bridges of a call; they end when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Bridges {
    tasks: JoinSet<()>,
}

impl Bridges {
    /// Whether there are none: the engine reaches the relay itself.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

/// How to connect to a relay.
#[derive(Clone)]
pub(crate) struct Dialler {
    tls: Option<TlsConnector>,
}

impl Dialler {
    /// A dialler for TCP, or for TLS that trusts the usual authorities and those of the file.
    pub(crate) fn new(transport: Transport, ca_file: Option<&Path>) -> Result<Self, CallError> {
        let tls = match transport {
            Transport::Udp | Transport::Tcp => None,
            Transport::Tls => Some(TlsConnector::from(Arc::new(tls_config(ca_file)?))),
        };
        Ok(Self { tls })
    }

    /// Connects to every passive TCP candidate of an answer. Returns the answer in which the bridges are its only
    /// candidates.
    pub(crate) async fn bridge(&self, answer: &str) -> Result<(String, Bridges), CallError> {
        let candidates: Vec<Candidate<'_>> =
            answer.lines().filter_map(Candidate::passive).take(MOST_CANDIDATES).collect();
        if candidates.is_empty() {
            return Err(CallError::NoStream);
        }
        let mut connecting = JoinSet::new();
        for (index, candidate) in candidates.iter().enumerate() {
            let (dialler, relay) = (self.clone(), candidate.relay);
            connecting.spawn(async move { (index, dialler.open(relay).await) });
        }
        let (mut tasks, mut lines, mut failure) = (JoinSet::new(), vec![None; candidates.len()], None);
        while let Some(Ok((index, opened))) = connecting.join_next().await {
            match opened {
                Ok((bridge, port, stream)) => {
                    lines[index] = Some(candidates[index].on_loopback(port));
                    tasks.spawn(bridge.run(stream));
                }
                Err(reason) => failure = Some(CallError::StreamUnreachable { reason }),
            }
        }
        match failure {
            Some(failure) if tasks.is_empty() => Err(failure),
            _ => Ok((with_candidates(answer, &lines), Bridges { tasks })),
        }
    }

    async fn open(self, relay: SocketAddr) -> Result<(Bridge, u16, Box<dyn Stream>), String> {
        let failed = |error: std::io::Error| error.to_string();
        let stream = self.connect(relay).await?;
        let engine = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let port = engine.local_addr().map_err(failed)?.port();
        Ok((Bridge { dialler: self, relay, engine, engine_known: false }, port, stream))
    }

    async fn connect(&self, relay: SocketAddr) -> Result<Box<dyn Stream>, String> {
        let late = |_| "it took too long".to_owned();
        let failed = |error: std::io::Error| error.to_string();
        let stream =
            timeout(CONNECT_TIMEOUT, TcpStream::connect(relay)).await.map_err(late)?.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let handshake = tls.connect(ServerName::IpAddress(relay.ip().into()), stream);
        let stream = timeout(CONNECT_TIMEOUT, handshake).await.map_err(late)?.map_err(failed)?;
        Ok(Box::new(stream))
    }
}

/// Anything bytes flow through both ways.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection to a relay and the engine's way to it.
struct Bridge {
    dialler: Dialler,
    relay: SocketAddr,
    engine: UdpSocket,
    engine_known: bool,
}

impl Bridge {
    /// Carries datagrams until no connection can be made any more.
    async fn run(mut self, mut stream: Box<dyn Stream>) {
        loop {
            self.carry(stream).await;
            let mut attempts = 0;
            stream = loop {
                if attempts == MOST_ATTEMPTS {
                    return;
                }
                attempts += 1;
                tokio::time::sleep(ATTEMPT_PAUSE).await;
                if let Ok(stream) = self.dialler.connect(self.relay).await {
                    break stream;
                }
            };
        }
    }

    /// Carries datagrams both ways until the connection ends.
    async fn carry(&mut self, stream: Box<dyn Stream>) {
        let (reader, mut writer) = tokio::io::split(stream);
        let Some(first) = self.first_request().await else { return };
        if send(&mut writer, &first).await.is_err() {
            return;
        }
        tokio::select! {
            () = carry_up(&self.engine, writer) => {}
            () = carry_down(&self.engine, reader) => {}
        }
    }

    /// The engine's next binding request: the relay wants to see one before anything else, and the rest of what the
    /// engine says meanwhile has nowhere to go.
    async fn first_request(&mut self) -> Option<Vec<u8>> {
        let mut datagram = vec![0; MAX_DATAGRAM];
        loop {
            let (length, from) = self.engine.recv_from(&mut datagram).await.ok()?;
            if !self.engine_known {
                // From now on the socket hears nobody but the engine.
                self.engine.connect(from).await.ok()?;
                self.engine_known = true;
            }
            if datagram.starts_with(&[0, 1]) {
                datagram.truncate(length);
                return Some(datagram);
            }
        }
    }
}

async fn carry_up(engine: &UdpSocket, mut writer: impl AsyncWrite + Unpin) {
    let mut datagram = vec![0; MAX_DATAGRAM];
    // The engine's socket may be away for a moment; its errors concern single datagrams.
    loop {
        if let Ok(length) = engine.recv(&mut datagram).await
            && send(&mut writer, datagram.get(..length).unwrap_or_default()).await.is_err()
        {
            return;
        }
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), datagram: &[u8]) -> std::io::Result<()> {
    let mut framed = Vec::with_capacity(datagram.len() + 2);
    if frame(&mut framed, datagram) {
        writer.write_all(&framed).await?;
        writer.flush().await?;
    }
    Ok(())
}

async fn carry_down(engine: &UdpSocket, mut reader: impl AsyncRead + Unpin) {
    let (mut deframer, mut buffer) = (Deframer::new(), vec![0; READ_AT_ONCE]);
    loop {
        let count = match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let mut piece = buffer.get(..count).unwrap_or_default();
        loop {
            match deframer.next(&mut piece) {
                Ok(Some(datagram)) => {
                    // An engine that is closing misses nothing.
                    let _ = engine.send(datagram).await;
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// A candidate of an answer that waits for TCP connections.
struct Candidate<'a> {
    line: &'a str,
    foundation: &'a str,
    component: &'a str,
    priority: &'a str,
    relay: SocketAddr,
}

impl<'a> Candidate<'a> {
    /// Reads `a=candidate:1 1 tcp 1518280447 192.0.2.1 443 typ host tcptype passive` (RFC 8839 section 5.1).
    fn passive(line: &'a str) -> Option<Self> {
        let words: Vec<&str> = line.strip_prefix("a=candidate:")?.split_ascii_whitespace().collect();
        let [foundation, component, transport, priority, ip, port, ..] = words[..] else { return None };
        let passive = words.windows(2).any(|pair| pair == ["tcptype", "passive"]);
        if !passive || !transport.eq_ignore_ascii_case("tcp") {
            return None;
        }
        let relay = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
        Some(Self { line, foundation, component, priority, relay })
    }

    fn on_loopback(&self, port: u16) -> (&'a str, String) {
        let Self { foundation, component, priority, .. } = self;
        let bridge = format!("a=candidate:{foundation} {component} udp {priority} 127.0.0.1 {port} typ host");
        (self.line, bridge)
    }
}

/// The answer with the bridges in place of the candidates they stand for, and without any other.
fn with_candidates(answer: &str, bridges: &[Option<(&str, String)>]) -> String {
    let mut sdp = String::with_capacity(answer.len());
    for line in answer.lines() {
        let line = if line.starts_with("a=candidate:") {
            let bridge = bridges.iter().flatten().find(|(candidate, _)| *candidate == line);
            let Some((_, bridge)) = bridge else { continue };
            bridge
        } else {
            line
        };
        sdp.push_str(line);
        sdp.push_str("\r\n");
    }
    sdp
}

fn tls_config(ca_file: Option<&Path>) -> Result<ClientConfig, CallError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        let unusable = |reason: &dyn ToString| CallError::Authority {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| CallError::StreamUnreachable { reason: error.to_string() })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests;
