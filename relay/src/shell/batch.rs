//! Many datagrams per system call: `recvmmsg(2)` and `sendmmsg(2)`.
//!
//! The arrays the kernel reads and writes are made once and point into themselves, so a call prepares only what the last
//! one has changed. They live behind a raw pointer for as long as their owner: a `Box` would claim that nothing else
//! points into it.
#![expect(unsafe_code, reason = "batched datagram calls and their ancillary data have no safe interface")]

use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr::NonNull;

use libc::{in_addr, in6_addr, sockaddr_in, sockaddr_in6, socklen_t};

mod ancillary;
mod receive;
mod send;
#[cfg(test)]
mod tests;

pub(super) use receive::{Asked, ReceiveBatch};
pub(super) use send::SendBatch;

/// Datagrams per call.
pub(super) const BATCH: usize = 64;

/// Memory of one type that starts as zeros, does not move and is freed with its owner. Whoever holds pointers into it
/// makes them from [`Pinned::as_ptr`], by place expressions, so that a reference made in between does not end them.
#[derive(Debug)]
struct Pinned<T>(NonNull<T>);

impl<T: AllZeros> Pinned<T> {
    fn new() -> Self {
        // SAFETY: `AllZeros` says that zeros are a value of the type.
        let memory = unsafe { Box::<T>::new_zeroed().assume_init() };
        Self(NonNull::from(Box::leak(memory)))
    }

    const fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }

    const fn get(&self) -> &T {
        // SAFETY: the memory is initialised and lives as long as `self`; only `&mut self` methods of the owner and the
        // kernel, during a call such a method makes, write to it.
        unsafe { self.0.as_ref() }
    }

    const fn get_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `&mut self` excludes every other reference.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` took the memory from a box, and nothing uses it after its owner.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

// SAFETY: the memory belongs to this value alone and holds plain data; pointers in it lead back into it, or to memory
// that is used only during a call.
unsafe impl<T: AllZeros> Send for Pinned<T> {}

/// Plain C data whose zero bytes are a valid value.
///
/// # Safety
/// A value of all zero bytes must be valid, and dropping it must do nothing.
unsafe trait AllZeros {}

/// A socket address as the kernel writes it, of either family.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

impl Name {
    const LENGTH: socklen_t = size_of::<Self>() as socklen_t;

    /// The address in `length` bytes of the name; `None` when it is no IP address.
    fn read(&self, length: socklen_t) -> Option<SocketAddr> {
        // SAFETY: the family stands at the same place in both; every byte of the name is initialised.
        let family = i32::from(unsafe { self.v4.sin_family });
        if family == libc::AF_INET && length as usize >= size_of::<sockaddr_in>() {
            // SAFETY: plain data of the family the kernel named.
            let name = unsafe { self.v4 };
            let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
            return Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into());
        }
        if family == libc::AF_INET6 && length as usize >= size_of::<sockaddr_in6>() {
            // SAFETY: as above.
            let name = unsafe { self.v6 };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            return Some(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id).into());
        }
        None
    }

    /// Writes an address for a socket of a family and returns its length.
    fn write(&mut self, to: SocketAddr, is_ipv6: bool) -> socklen_t {
        let port = to.port().to_be();
        let (ip, scope) = match to {
            SocketAddr::V4(to) if !is_ipv6 => {
                let sin_addr = in_addr { s_addr: u32::from_ne_bytes(to.ip().octets()) };
                let sin_family = libc::AF_INET as libc::sa_family_t;
                self.v4 = sockaddr_in { sin_family, sin_port: port, sin_addr, sin_zero: [0; 8] };
                return size_of::<sockaddr_in>() as socklen_t;
            }
            SocketAddr::V4(to) => (to.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(to) => (*to.ip(), to.scope_id()),
        };
        self.v6 = sockaddr_in6 {
            sin6_family: libc::AF_INET6 as libc::sa_family_t,
            sin6_port: port,
            sin6_flowinfo: 0,
            sin6_addr: in6_addr { s6_addr: ip.octets() },
            sin6_scope_id: scope,
        };
        size_of::<sockaddr_in6>() as socklen_t
    }
}

/// A source that is no IP address; the relay refuses it as one no client can have.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
