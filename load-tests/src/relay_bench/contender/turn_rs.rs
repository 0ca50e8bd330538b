//! turn-rs: it relays between its own clients only, so one client of a pair sends ChannelData and the other receives it.

use std::net::UdpSocket;
use std::process::Command;
use std::rc::Rc;

use anyhow::Context as _;

use super::super::child::Process;
use super::super::link::{Flow, Link, Wrapping};
use super::super::sockets::{Sockets, v4};
use super::turn::{CHANNEL, Credentials, allocate, bind_channels};
use super::{Direction, Running, Surroundings, from_clients};

/// The MD5 of `bench:bench:bench`.
const CREDENTIALS: Credentials = Credentials {
    name: "bench",
    realm: "bench",
    key: [0x70, 0xf1, 0x18, 0xc5, 0xfa, 0xfe, 0x10, 0xa7, 0x53, 0x79, 0x74, 0x6c, 0xa6, 0xab, 0x61, 0x81],
};

pub(super) fn start(flows: u32, sockets: &Sockets, around: &Surroundings) -> anyhow::Result<Running> {
    let server = v4(&UdpSocket::bind("127.0.0.1:0")?)?;
    let config = std::env::temp_dir().join(format!("relay-bench-turn-rs-{}.toml", std::process::id()));
    std::fs::write(&config, configuration(&server.to_string()))?;
    let mut command = Command::new(&around.turn_rs);
    command.arg("--config").arg(&config);
    let process = Process::start(around.cores, &mut command)?;
    // Both clients of a pair send: a pair is two flows, and an odd flow has a partner that stays silent.
    let mut ends = from_clients(flows.next_multiple_of(2), sockets, server);
    let relayed = allocate(&ends, sockets, Some(&CREDENTIALS)).context("allocations")?;
    let peers: Vec<_> = (0..ends.len()).map(|index| relayed[index ^ 1]).collect();
    bind_channels(&ends, &peers, sockets, Some(&CREDENTIALS)).context("channels")?;
    std::fs::remove_file(&config)?;
    ends.truncate(flows as usize);
    let flows = ends.into_iter().map(|flow| Flow { channel: CHANNEL, ..flow }).collect();
    let link = Link {
        sender: Rc::clone(&sockets.clients),
        receiver: Rc::clone(&sockets.clients),
        flows,
        sent: Wrapping::Channel,
        came: Wrapping::Channel,
    };
    Ok(Running { process: Some(process), links: vec![(Direction::Up, link)] })
}

fn configuration(server: &str) -> String {
    format!(
        "[server]\nport-range = \"49152..65535\"\nmax-threads = 1\nrealm = \"bench\"\n\
         [[server.interfaces]]\ntransport = \"udp\"\nlisten = \"{server}\"\nexternal = \"{server}\"\n\
         idle-timeout = 3600\n[log]\nlevel = \"error\"\nstdout = true\n\
         [auth]\nenable-hooks-auth = false\n[auth.static-credentials]\nbench = \"bench\"\n"
    )
}
