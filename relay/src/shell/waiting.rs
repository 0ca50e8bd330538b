//! How a lane waits for datagrams.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// What a relay thread does when nothing is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitStyle {
    /// It sleeps until the kernel wakes it. Costs no processor time when idle and a wake-up for each burst.
    #[default]
    Block,
    /// It asks again at once. Saves the wake-up, which costs more than passing a datagram on, and takes the whole processor
    /// at any load: for a host, or pinned processors, of its own.
    BusyPoll,
}

/// The wish that lanes stop, in a form that both styles notice.
#[derive(Debug)]
pub(super) struct Stop {
    wished: AtomicBool,
    /// Readable from the wish on; nobody reads it, so that it wakes every lane.
    wake: EventFd,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { wished: AtomicBool::new(false), wake })
    }

    pub(super) fn wish(&self) {
        self.wished.store(true, Ordering::Release);
        // A count that is full already wakes as well.
        let _ = self.wake.write(1);
    }

    pub(super) fn is_wished(&self) -> bool {
        self.wished.load(Ordering::Acquire)
    }

    /// Waits until a descriptor can be read or the stop is wished.
    pub(super) fn wait_with(&self, other: BorrowedFd<'_>) -> io::Result<()> {
        let mut both =
            [PollFd::new(other, PollFlags::POLLIN), PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        match poll(&mut both, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Which sockets may have something since they were last found empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) public: bool,
    pub(super) tunnel: bool,
}

impl Ready {
    pub(super) const ALL: Self = Self { public: true, tunnel: true };

    const fn any(self) -> bool {
        self.public || self.tunnel
    }
}

const PUBLIC: u64 = 0;
const TUNNEL: u64 = 1;
const STOP: u64 = 2;

/// One lane's waiting.
#[derive(Debug)]
pub(super) enum Waiter {
    Block(Epoll),
    BusyPoll,
}

impl Waiter {
    /// Waits for two sockets and a stop.
    pub(super) fn new(
        style: WaitStyle,
        public: impl AsFd,
        tunnel: impl AsFd,
        stop: &Stop,
    ) -> io::Result<Self> {
        if style == WaitStyle::BusyPoll {
            return Ok(Self::BusyPoll);
        }
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // Told once for each arrival: a lane reads until a socket is empty and remembers when it has not.
        let once = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(public, EpollEvent::new(once, PUBLIC))?;
        epoll.add(tunnel, EpollEvent::new(once, TUNNEL))?;
        epoll.add(&stop.wake, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        Ok(Self::Block(epoll))
    }

    /// Waits at most `timeout`, for ever without one, and not at all while `ready` names a socket. Adds to `ready` what
    /// has become so.
    pub(super) fn wait(&self, ready: &mut Ready, timeout: Option<Duration>) -> io::Result<()> {
        let Self::Block(epoll) = self else {
            *ready = Ready::ALL;
            return Ok(());
        };
        let timeout = if ready.any() { EpollTimeout::ZERO } else { rounded_up(timeout) };
        let mut events = [EpollEvent::empty(); 3];
        let count = match epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in events.iter().take(count) {
            match event.data() {
                PUBLIC => ready.public = true,
                TUNNEL => ready.tunnel = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// In whole milliseconds: waking early would find nothing due and wait again.
fn rounded_up(timeout: Option<Duration>) -> EpollTimeout {
    timeout.map_or(EpollTimeout::NONE, |timeout| {
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_timeout_is_rounded_up_and_bounded() {
        assert_eq!(rounded_up(None), EpollTimeout::NONE);
        assert_eq!(rounded_up(Some(Duration::from_nanos(1))), EpollTimeout::from(1_u8));
        assert_eq!(rounded_up(Some(Duration::MAX)), EpollTimeout::MAX);
    }

    #[test]
    fn a_wished_stop_wakes_a_lane_that_would_wait_for_ever_and_names_no_socket() {
        let (socket, other) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let stop = Stop::new().unwrap();
        let waiter = Waiter::new(WaitStyle::Block, &socket, &other, &stop).unwrap();
        stop.wish();
        let mut ready = Ready::default();
        waiter.wait(&mut ready, None).unwrap();
        assert_eq!((ready, stop.is_wished()), (Ready::default(), true));
    }

    #[test]
    fn a_datagram_makes_its_socket_ready_and_an_unread_one_does_not_let_the_lane_sleep() {
        let (public, tunnel) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let stop = Stop::new().unwrap();
        let waiter = Waiter::new(WaitStyle::Block, &public, &tunnel, &stop).unwrap();
        public.send_to(&[1], tunnel.local_addr().unwrap()).unwrap();
        let mut ready = Ready::default();
        waiter.wait(&mut ready, None).unwrap();
        assert_eq!(ready, Ready { public: false, tunnel: true });
        waiter.wait(&mut ready, None).unwrap();
        assert_eq!(ready, Ready { public: false, tunnel: true });
    }
}
