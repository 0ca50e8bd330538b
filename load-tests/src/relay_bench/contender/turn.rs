//! As much of TURN as a benchmark needs: allocations and channels (RFC 8656, sections 7 and 12), without waiting for any
//! one of them longer than for all.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;

use super::super::batch::Batch;
use super::super::link::Flow;
use super::super::sockets::Sockets;

/// The channel every flow uses.
pub(super) const CHANNEL: u16 = 0x4000;

const COOKIE: u32 = 0x2112_a442;
const ALLOCATE: u16 = 0x0003;
const CHANNEL_BIND: u16 = 0x0009;
const SUCCESS: u16 = 0x0100;
const HEADER: usize = 20;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const CHANNEL_NUMBER: u16 = 0x000c;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const REQUESTED_TRANSPORT: u16 = 0x0019;

/// Requests under way at once: small enough for every socket buffer.
const CHUNK: usize = 32;
/// How long a server may take for a chunk before it is repeated.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a chunk is tried: the first tries may come before the server listens.
const TRIES: usize = 20;

/// Who a client says it is, with the key of RFC 8489, section 9.2.2: the MD5 of `name:realm:password`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credentials {
    pub(super) name: &'static str,
    pub(super) realm: &'static str,
    pub(super) key: [u8; 16],
}

/// Makes an allocation for every flow; their relayed addresses in the same order.
pub(super) fn allocate(
    flows: &[Flow],
    sockets: &Sockets,
    credentials: Option<&Credentials>,
) -> anyhow::Result<Vec<SocketAddrV4>> {
    let udp = [17, 0, 0, 0];
    let answers = ask(flows, sockets, |_, id| {
        let mut message = Message::new(ALLOCATE, id);
        message.attribute(REQUESTED_TRANSPORT, &udp);
        message.finish(credentials)
    })?;
    answers
        .iter()
        .map(|answer| {
            let value = attribute(answer, XOR_RELAYED_ADDRESS).context("an allocation has no address")?;
            un_xor(value).context("a relayed address is not IPv4")
        })
        .collect()
}

/// Binds the channel of every flow to its peer.
pub(super) fn bind_channels(
    flows: &[Flow],
    peers: &[SocketAddrV4],
    sockets: &Sockets,
    credentials: Option<&Credentials>,
) -> anyhow::Result<()> {
    let [high, low] = CHANNEL.to_be_bytes();
    ask(flows, sockets, |index, id| {
        let mut message = Message::new(CHANNEL_BIND, id);
        message.attribute(CHANNEL_NUMBER, &[high, low, 0, 0]);
        message.attribute(XOR_PEER_ADDRESS, &xor(peers[index]));
        message.finish(credentials)
    })?;
    Ok(())
}

/// Sends one request in every flow and collects the answers, all of which must be successes.
fn ask(
    flows: &[Flow],
    sockets: &Sockets,
    request: impl Fn(usize, u32) -> Vec<u8>,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut answers = vec![None; flows.len()];
    let indices: Vec<usize> = (0..flows.len()).collect();
    let mut batch = Batch::default();
    for chunk in indices.chunks(CHUNK) {
        for _ in 0..TRIES {
            let open: Vec<usize> = chunk.iter().copied().filter(|index| answers[*index].is_none()).collect();
            if open.is_empty() {
                break;
            }
            for (place, index) in open.iter().enumerate() {
                let message = request(*index, *index as u32);
                batch.slot(place)[..message.len()].copy_from_slice(&message);
                batch.prepare(place, message.len(), flows[*index].to, flows[*index].source);
            }
            batch.send(&sockets.clients, open.len())?;
            collect(&mut batch, sockets, &open, &mut answers)?;
        }
    }
    let answers = answers.into_iter().enumerate();
    answers.map(|(index, answer)| answer.with_context(|| format!("flow {index} has no answer"))).collect()
}

fn collect(
    batch: &mut Batch,
    sockets: &Sockets,
    open: &[usize],
    answers: &mut [Option<Vec<u8>>],
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while open.iter().any(|index| answers[*index].is_none()) && Instant::now() < deadline {
        for place in 0..batch.receive(&sockets.clients, false)? {
            let bytes = batch.received(place);
            let Some([kind_0, kind_1, _, _, _, _, _, _, id_0, id_1, id_2, id_3, ..]) =
                bytes.first_chunk::<HEADER>()
            else {
                continue;
            };
            let index = u32::from_be_bytes([*id_0, *id_1, *id_2, *id_3]) as usize;
            let kind = u16::from_be_bytes([*kind_0, *kind_1]);
            match answers.get_mut(index) {
                Some(answer) if kind == ALLOCATE | SUCCESS || kind == CHANNEL_BIND | SUCCESS => {
                    *answer = Some(bytes.to_vec());
                }
                _ => bail!("the server refuses flow {index} with a message of type {kind:#06x}"),
            }
        }
    }
    Ok(())
}

/// A message being written.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, id: u32) -> Self {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&COOKIE.to_be_bytes());
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend_from_slice(&kind.to_be_bytes());
        self.0.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.set_length(0);
    }

    fn set_length(&mut self, more: usize) {
        let length = (self.0.len() - HEADER + more) as u16;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
    }

    fn finish(mut self, credentials: Option<&Credentials>) -> Vec<u8> {
        if let Some(credentials) = credentials {
            self.attribute(USERNAME, credentials.name.as_bytes());
            self.attribute(REALM, credentials.realm.as_bytes());
            // The one server that is asked with credentials does not look at the nonce.
            self.attribute(NONCE, b"nonce");
            self.set_length(4 + 20);
            let mac = <Hmac<Sha1> as hmac::Mac>::new_from_slice(&credentials.key);
            let tag = mac.map(|mac| mac.chain_update(&self.0).finalize().into_bytes()).unwrap_or_default();
            self.attribute(MESSAGE_INTEGRITY, &tag);
        }
        self.0
    }
}

fn attribute(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = message.get(HEADER..)?;
    while let Some(([kind_0, kind_1, length_0, length_1], body)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*length_0, *length_1]));
        if u16::from_be_bytes([*kind_0, *kind_1]) == wanted {
            return body.get(..length);
        }
        rest = body.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn xor(address: SocketAddrV4) -> [u8; 8] {
    let [port_0, port_1] = (address.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
    let [a, b, c, d] = (u32::from(*address.ip()) ^ COOKIE).to_be_bytes();
    [0, 1, port_0, port_1, a, b, c, d]
}

fn un_xor(value: &[u8]) -> Option<SocketAddrV4> {
    let [0, 1, port_0, port_1, a, b, c, d] = *value.first_chunk::<8>()? else { return None };
    let port = u16::from_be_bytes([port_0, port_1]) ^ (COOKIE >> 16) as u16;
    Some(SocketAddrV4::new(Ipv4Addr::from(u32::from_be_bytes([a, b, c, d]) ^ COOKIE), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_being_hidden() {
        let address = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 50_123);
        assert_eq!(un_xor(&xor(address)), Some(address));
        let mut message = Message::new(ALLOCATE, 9);
        message.attribute(REALM, b"abc");
        message.attribute(XOR_RELAYED_ADDRESS, &xor(address));
        let bytes = message.finish(None);
        assert_eq!(attribute(&bytes, XOR_RELAYED_ADDRESS).and_then(un_xor), Some(address));
        assert_eq!(attribute(&bytes, NONCE), None);
    }
}
