//! Datagrams waiting to be sent, in one buffer.

use std::net::SocketAddr;

/// The socket a datagram leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Socket {
    /// Towards clients.
    Public,
    /// Towards transceivers.
    Tunnel,
}

#[derive(Clone, Copy, Debug)]
struct Send {
    socket: Socket,
    to: SocketAddr,
    start: usize,
    end: usize,
}

/// Datagrams in the order they are to be sent. Clearing keeps the memory, so a warm outbox does not allocate.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sends: Vec<Send>,
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), sends: Vec::new() }
    }

    /// Appends a copy of a datagram.
    pub fn push(&mut self, socket: Socket, to: SocketAddr, datagram: &[u8]) {
        self.push_with(socket, to, |bytes| {
            bytes.extend_from_slice(datagram);
            true
        });
    }

    /// Appends the datagram `write` appends to the buffer, or nothing when it says `false`. Returns what it says.
    pub fn push_with(
        &mut self,
        socket: Socket,
        to: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let start = self.bytes.len();
        let written = write(&mut self.bytes);
        if written {
            self.sends.push(Send { socket, to, start, end: self.bytes.len() });
        } else {
            self.bytes.truncate(start);
        }
        written
    }

    /// Forgets every datagram.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sends.clear();
    }

    /// How many datagrams wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sends.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    /// The datagrams for one socket, with their destinations.
    pub fn for_socket(&self, socket: Socket) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let of_socket = self.sends.iter().filter(move |send| send.socket == socket);
        of_socket.map(|send| (send.to, &self.bytes[send.start..send.end]))
    }
}
