//! Datagrams waiting to be sent, in one buffer.

use std::net::SocketAddr;

/// What a datagram leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Socket {
    /// The UDP socket towards clients.
    Public,
    /// The UDP socket towards transceivers.
    Tunnel,
    /// The TCP connection of the client with this address.
    Stream,
}

const SOCKETS: usize = 3;

impl Socket {
    const fn slot(self) -> usize {
        match self {
            Self::Public => 0,
            Self::Tunnel => 1,
            Self::Stream => 2,
        }
    }
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Where to.
    pub to: SocketAddr,
    /// The IPv4 type of service or IPv6 traffic class it is to carry.
    pub traffic_class: u8,
    /// Its content.
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
struct Send {
    to: SocketAddr,
    traffic_class: u8,
    start: usize,
    end: usize,
}

/// Datagrams, for each socket in the order they are to be sent. Clearing keeps the memory, so a warm outbox does not
/// allocate.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sends: [Vec<Send>; SOCKETS],
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), sends: [const { Vec::new() }; SOCKETS] }
    }

    /// Appends a copy of a datagram.
    pub fn push(&mut self, socket: Socket, to: SocketAddr, traffic_class: u8, datagram: &[u8]) {
        self.push_with(socket, to, traffic_class, |bytes| {
            bytes.extend_from_slice(datagram);
            true
        });
    }

    /// Appends the datagram `write` appends to the buffer, or nothing when it says `false`. Returns what it says.
    pub fn push_with(
        &mut self,
        socket: Socket,
        to: SocketAddr,
        traffic_class: u8,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let start = self.bytes.len();
        let written = write(&mut self.bytes);
        if written {
            let send = Send { to, traffic_class, start, end: self.bytes.len() };
            self.sends[socket.slot()].push(send);
        } else {
            self.bytes.truncate(start);
        }
        written
    }

    /// Forgets every datagram.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sends.iter_mut().for_each(Vec::clear);
    }

    /// How many datagrams wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sends.iter().map(Vec::len).sum()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sends.iter().all(Vec::is_empty)
    }

    /// The datagrams for one socket.
    pub fn for_socket(&self, socket: Socket) -> impl ExactSizeIterator<Item = Datagram<'_>> + Clone {
        self.from(socket, 0)
    }

    /// The datagrams for one socket without the first `already_sent`.
    pub fn from(
        &self,
        socket: Socket,
        already_sent: usize,
    ) -> impl ExactSizeIterator<Item = Datagram<'_>> + Clone {
        let sends = self.sends[socket.slot()].get(already_sent..).unwrap_or_default();
        sends.iter().map(|send| Datagram {
            to: send.to,
            traffic_class: send.traffic_class,
            bytes: &self.bytes[send.start..send.end],
        })
    }
}
