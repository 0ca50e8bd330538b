//! coturn: ChannelData between clients and plain peers, one relay thread, no credentials.

use std::net::UdpSocket;
use std::process::Command;
use std::rc::Rc;

use anyhow::Context as _;

use super::super::child::Process;
use super::super::link::{Flow, Link, Wrapping};
use super::super::sockets::{Sockets, v4};
use super::turn::{CHANNEL, allocate, bind_channels};
use super::{Direction, Running, Surroundings, from_clients};

pub(super) fn start(flows: u32, sockets: &Sockets, around: &Surroundings) -> anyhow::Result<Running> {
    let server = v4(&UdpSocket::bind("127.0.0.1:0")?)?;
    let mut command = Command::new(&around.coturn);
    command
        .args(["-n", "--no-auth", "--no-tls", "--no-dtls", "--no-tcp", "--no-cli"])
        .args(["--allow-loopback-peers", "--relay-threads=1", "--log-file=stdout", "--simple-log"])
        .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--realm=bench", "--pidfile=/dev/null"])
        .arg(format!("--listening-port={}", server.port()));
    let process = Process::start(around.cores, &mut command)?;
    let mut up = from_clients(flows, sockets, server);
    let relayed = allocate(&up, sockets, None).context("allocations")?;
    let peer = sockets.behind_address()?;
    bind_channels(&up, &vec![peer; up.len()], sockets, None).context("channels")?;
    up.iter_mut().for_each(|flow| flow.channel = CHANNEL);
    let down =
        up.iter().zip(relayed).map(|(flow, to)| Flow { source: None, to: Some(to), ..*flow }).collect();
    let (clients, behind) = (Rc::clone(&sockets.clients), Rc::clone(&sockets.behind));
    let up = Link {
        sender: Rc::clone(&clients),
        receiver: Rc::clone(&behind),
        flows: up,
        sent: Wrapping::Channel,
        came: Wrapping::Plain,
    };
    let down = Link {
        sender: behind,
        receiver: clients,
        flows: down,
        sent: Wrapping::Plain,
        came: Wrapping::Channel,
    };
    Ok(Running { process: Some(process), links: vec![(Direction::Up, up), (Direction::Down, down)] })
}
