//! The life of one connection.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use voxgate_protocol::framing::Deframer;
use voxgate_protocol::path::ClientAddress;

use super::StreamStats;
use super::lane::{Fate, Line, StreamLane};

/// The first byte of a TLS connection: a record of a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Bytes read at once.
const READ_AT_ONCE: usize = 4096;

/// Bytes written at once, all in one TLS record.
const WRITE_AT_ONCE: usize = 4096;

/// Frames a client may send before its binding request, each dropped. A caller that connects anew goes on talking
/// meanwhile; this is two seconds of it.
const MOST_UNPROVEN_FRAMES: u32 = 100;

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Late,
    Unproven,
    Tls,
    Oversize,
    Idle,
    Replaced,
    ByClient,
}

impl Ending {
    pub(super) const fn counter(self, stats: &mut StreamStats) -> &mut u64 {
        match self {
            Self::Late => &mut stats.closed_late,
            Self::Unproven => &mut stats.closed_unproven,
            Self::Tls => &mut stats.closed_tls,
            Self::Oversize => &mut stats.closed_oversize,
            Self::Idle => &mut stats.closed_idle,
            Self::Replaced => &mut stats.closed_replaced,
            Self::ByClient => &mut stats.closed_by_client,
        }
    }
}

/// Serves an accepted connection to its end.
pub(super) async fn serve(lane: Rc<StreamLane>, stream: TcpStream, client: ClientAddress) {
    let deadline = Instant::now() + lane.limits.first_request;
    let mut line = None;
    let ending = match timeout_at(deadline.into(), first_byte(&stream)).await {
        Err(_) => Ending::Late,
        Ok(Err(_)) => Ending::ByClient,
        Ok(Ok(TLS_HANDSHAKE)) => serve_tls(&lane, stream, client, deadline, &mut line).await,
        Ok(Ok(_)) => converse(&lane, stream, client, deadline, &mut line).await,
    };
    lane.disconnect(client, line.as_ref(), ending);
}

async fn serve_tls(
    lane: &StreamLane,
    stream: TcpStream,
    client: ClientAddress,
    deadline: Instant,
    line: &mut Option<Rc<Line>>,
) -> Ending {
    let Some(acceptor) = &lane.tls else { return Ending::Tls };
    match timeout_at(deadline.into(), acceptor.accept(stream)).await {
        Err(_) => Ending::Late,
        Ok(Err(_)) => Ending::Tls,
        Ok(Ok(stream)) => {
            lane.count(|stats| stats.accepted_tls += 1);
            Box::pin(converse(lane, stream, client, deadline, line)).await
        }
    }
}

async fn first_byte(stream: &TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    match stream.peek(&mut byte).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(byte[0]),
    }
}

/// Carries frames both ways. `line` is set once a frame has led to a node.
async fn converse<S: AsyncRead + AsyncWrite>(
    lane: &StreamLane,
    stream: S,
    client: ClientAddress,
    deadline: Instant,
    line: &mut Option<Rc<Line>>,
) -> Ending {
    let (reader, writer) = tokio::io::split(stream);
    let mut uplink =
        Uplink { lane, client, reader, deframer: Deframer::new(), buffer: vec![0; READ_AT_ONCE] };
    let ready = match uplink.prove(deadline).await {
        Ok(rest) => rest,
        Err(ending) => return ending,
    };
    let line = line.insert(lane.connect(client));
    tokio::select! {
        ending = uplink.carry(ready) => ending,
        ending = carry_down(lane, line, writer) => ending,
        () = line.replaced.notified() => Ending::Replaced,
    }
}

/// The reading side of a connection.
struct Uplink<'a, R> {
    lane: &'a StreamLane,
    client: ClientAddress,
    reader: R,
    deframer: Deframer,
    buffer: Vec<u8>,
}

/// Bytes of the buffer that are read and not yet deframed.
#[derive(Clone, Copy, Debug)]
struct Unread {
    start: usize,
    end: usize,
}

impl<R: AsyncRead + Unpin> Uplink<'_, R> {
    /// Waits for a binding request that leads to a node. Returns what came with it.
    async fn prove(&mut self, deadline: Instant) -> Result<Unread, Ending> {
        let mut dropped = 0;
        loop {
            let mut unread = self.read(deadline).await?.ok_or(Ending::Late)?;
            while let Some(fate) = self.carry_next(&mut unread)? {
                match fate {
                    Fate::Forwarded => return Ok(unread),
                    Fate::Dropped if dropped < MOST_UNPROVEN_FRAMES => dropped += 1,
                    Fate::Dropped | Fate::Refused => return Err(Ending::Unproven),
                }
            }
        }
    }

    /// Carries frames to the node until the connection ends. Only those that lead somewhere keep it alive.
    async fn carry(&mut self, mut unread: Unread) -> Ending {
        let mut alive_at = Instant::now();
        loop {
            loop {
                match self.carry_next(&mut unread) {
                    Ok(Some(Fate::Forwarded)) => alive_at = Instant::now(),
                    Ok(Some(Fate::Refused | Fate::Dropped)) => {}
                    Ok(None) => break,
                    Err(ending) => return ending,
                }
            }
            unread = match self.read(alive_at + self.lane.limits.idle).await {
                Ok(Some(unread)) => unread,
                Ok(None) => return Ending::Idle,
                Err(ending) => return ending,
            };
        }
    }

    /// Gives the next whole frame of what is unread to the relay.
    fn carry_next(&mut self, unread: &mut Unread) -> Result<Option<Fate>, Ending> {
        let mut piece = self.buffer.get(unread.start..unread.end).unwrap_or_default();
        let found = self.deframer.next(&mut piece);
        unread.start = unread.end - piece.len();
        let datagram = found.map_err(|_| Ending::Oversize)?;
        Ok(datagram.map(|datagram| self.lane.take_datagram(self.client, datagram)))
    }

    /// The next bytes; nothing at the deadline.
    async fn read(&mut self, deadline: Instant) -> Result<Option<Unread>, Ending> {
        match timeout_at(deadline.into(), self.reader.read(&mut self.buffer)).await {
            Err(_) => Ok(None),
            Ok(Err(_) | Ok(0)) => Err(Ending::ByClient),
            Ok(Ok(end)) => Ok(Some(Unread { start: 0, end })),
        }
    }
}

/// Writes what is queued for the client until the connection breaks.
async fn carry_down<W: AsyncWrite + Unpin>(lane: &StreamLane, line: &Line, mut writer: W) -> Ending {
    let mut frames = Vec::with_capacity(WRITE_AT_ONCE);
    loop {
        frames.clear();
        let taken = line.queue.borrow_mut().take(Instant::now(), &mut frames, WRITE_AT_ONCE);
        lane.count(|stats| {
            stats.frames_out += taken.frames;
            stats.drop_queue_stale += taken.stale;
        });
        if frames.is_empty() {
            line.filled.notified().await;
            continue;
        }
        // Flushing matters under TLS only, whose session would otherwise keep what the socket does not take.
        if writer.write_all(&frames).await.is_err() || writer.flush().await.is_err() {
            return Ending::ByClient;
        }
    }
}
