//! Writes the seed corpus of the parsers: `cargo run -p voxgate-relay --example seed_corpus -- relay/corpus`.
//!
//! Every seed follows from constants, so a second run writes the same files.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use std::{env, fs, io};

use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_relay::fuzz::{stun_request, tunnel_key, ufrag_keys};
use voxgate_relay::tunnel::{Echo, FrameHeader, Kind, MAX_PAYLOAD, Timing, TunnelKey, encode};
use voxgate_relay::ufrag::{Route, Ufrag, UfragKey, seal};

type Seeds = Vec<(String, Vec<u8>)>;

fn main() -> io::Result<()> {
    let root = env::args().nth(1).ok_or_else(|| io::Error::other("name the corpus folder"))?;
    for (folder, seeds) in [("stun", stun()), ("ufrag", ufrags()), ("tunnel", frames())] {
        let folder = Path::new(&root).join(folder);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds.map_err(io::Error::other)? {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

type Made = Result<Seeds, Box<dyn std::error::Error + Send + Sync>>;

fn named(name: &str, bytes: impl Into<Vec<u8>>) -> (String, Vec<u8>) {
    (name.to_owned(), bytes.into())
}

/// A seed and what is left of it when it is cut at telling places.
fn with_truncations(name: &str, bytes: &[u8], lengths: &[usize]) -> Seeds {
    let cut = lengths.iter().map(|length| (format!("truncated-{name}-{length}"), bytes[..*length].to_vec()));
    std::iter::once(named(&format!("valid-{name}"), bytes)).chain(cut).collect()
}

fn replaced(bytes: &[u8], offset: usize, with: &[u8]) -> Vec<u8> {
    let mut altered = bytes.to_vec();
    altered[offset..offset + with.len()].copy_from_slice(with);
    altered
}

const ROUTE: Route = Route {
    cell: 2,
    node: NodeIndex(7),
    node_epoch: 1,
    session_end_minutes: 30_000,
    random: 0x00c0_ffee,
    flags: 0,
};

fn sealed() -> Result<Ufrag, Box<dyn std::error::Error + Send + Sync>> {
    Ok(seal(&ufrag_keys()[0], &ROUTE)?)
}

/// A request as browsers send it: software, priority, role and integrity around the name.
fn full_request(username: &[u8]) -> Vec<u8> {
    let plain = stun_request(username, *b"transaction!");
    let mut message = plain[..20].to_vec();
    message.extend_from_slice(&[0x80, 0x22, 0, 3, b'a', b'b', b'c', 0]);
    message.extend_from_slice(&plain[20..]);
    message.extend_from_slice(&[0x00, 0x24, 0, 4, 0x6e, 0x7f, 0x1e, 0xff]);
    message.extend_from_slice(&[0x80, 0x2a, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
    message.extend_from_slice(&[0x00, 0x25, 0, 0]);
    message.extend_from_slice(&[0x00, 0x08, 0, 20]);
    message.extend_from_slice(&[0xaa; 20]);
    message.extend_from_slice(&[0x80, 0x28, 0, 4, 1, 2, 3, 4]);
    let length = u16::try_from(message.len() - 20).unwrap_or(u16::MAX);
    replaced(&message, 2, &length.to_be_bytes())
}

fn stun() -> Made {
    let username = format!("{}:abcd", sealed()?);
    let minimal = stun_request(username.as_bytes(), *b"transaction!");
    let full = full_request(username.as_bytes());
    let mut seeds = with_truncations("minimal", &minimal, &[0, 1, 19, 20, 23, 24, 40]);
    seeds.extend(with_truncations("browser", &full, &[20, 28, 32, 76, 100]));
    seeds.push(named("valid-short-username", stun_request(b"a:b", [0; 12])));
    seeds.push(named("valid-longest-username", stun_request(&[&[b'u'; 506][..], b":c"].concat(), [0; 12])));
    seeds.push(named("hostile-username-above-limit", stun_request(&[b':'; 509], [0; 12])));
    seeds.push(named("hostile-no-colon", stun_request(b"nocolonhere", [0; 12])));
    seeds.push(named("hostile-only-colon", stun_request(b":", [0; 12])));
    seeds.push(named("valid-many-colons", stun_request(b"a:b:c::", [0; 12])));
    seeds.push(named("valid-not-utf8", stun_request(&[0xff, 0xfe, b':', 0], [0; 12])));
    seeds.push(named("hostile-attribute-length-overruns", replaced(&minimal, 22, &[0xff, 0xff])));
    seeds.push(named("hostile-attribute-length-zero", replaced(&minimal, 22, &[0, 0])));
    seeds.push(named("hostile-message-length-too-large", replaced(&minimal, 2, &[0xff, 0xfc])));
    seeds.push(named("hostile-message-length-unaligned", replaced(&minimal, 2, &[0, 3])));
    seeds.push(named("hostile-wrong-cookie", replaced(&minimal, 4, &[0, 0, 0, 0])));
    seeds.push(named("hostile-response", replaced(&minimal, 0, &[0x01, 0x01])));
    seeds.push(named("hostile-indication", replaced(&minimal, 0, &[0x00, 0x11])));
    seeds.push(named("hostile-username-behind-integrity", replaced(&full, 20, &[0x00, 0x08])));
    seeds.push(named(
        "hostile-unknown-attributes-only",
        [&minimal[..2], &[0, 200], &minimal[4..20], &[0x7f, 0xff, 0, 0].repeat(50)].concat(),
    ));
    seeds.push(named("hostile-dtls", [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]));
    Ok(seeds)
}

fn ufrags() -> Made {
    let text = sealed()?;
    let valid = text.as_ref();
    let mut seeds = with_truncations("first-key", valid, &[0, 1, 39]);
    let extreme = Route {
        cell: u16::MAX,
        node: NodeIndex(0xff_ffff),
        node_epoch: 255,
        session_end_minutes: u16::MAX,
        random: u32::MAX,
        flags: 255,
    };
    let zero =
        Route { cell: 0, node: NodeIndex(0), node_epoch: 0, session_end_minutes: 0, random: 0, flags: 0 };
    seeds.push(named("valid-second-key", seal(&ufrag_keys()[1], &extreme)?.as_ref()));
    seeds.push(named("valid-zero", seal(&ufrag_keys()[0], &zero)?.as_ref()));
    seeds.push(named("hostile-other-secret", seal(&UfragKey::new(1, [77; 16], 1)?, &ROUTE)?.as_ref()));
    seeds.push(named("hostile-other-group", seal(&UfragKey::new(1, [1; 16], 2)?, &ROUTE)?.as_ref()));
    seeds.push(named("hostile-unknown-key", seal(&UfragKey::new(9, [1; 16], 1)?, &ROUTE)?.as_ref()));
    seeds.push(named("hostile-version", replaced(valid, 0, b"/")));
    seeds.push(named("hostile-flipped-body", replaced(valid, 5, if valid[5] == b'A' { b"B" } else { b"A" })));
    seeds.push(named("hostile-trailing-bits", replaced(valid, 39, b"/")));
    seeds.push(named("hostile-alphabet", replaced(valid, 10, b"-")));
    seeds.push(named("hostile-padding", replaced(valid, 39, b"=")));
    seeds.push(named("hostile-not-utf8", [0xff; 40]));
    seeds.push(named("hostile-too-long", [valid, b"A"].concat()));
    Ok(seeds)
}

fn header(kind: Kind, client: Option<&str>) -> Result<FrameHeader, std::net::AddrParseError> {
    let echo = Echo { sent_at: 0x0102_0304, held: Duration::from_micros(1500) };
    Ok(FrameHeader {
        kind,
        relay: RelayId(1),
        node: NodeIndex(7),
        relay_epoch: 0xe0e0_e0e0,
        session: ROUTE.random,
        client: client.map(str::parse::<SocketAddr>).transpose()?,
        sequence: 1_790_000_000_000_000_001,
        timing: Timing { sent_at: 99, echo: Some(echo), residence: Duration::from_micros(42) },
    })
}

fn frames() -> Made {
    let frame = |key: &TunnelKey, header: &FrameHeader, payload: &[u8]| {
        let mut bytes = Vec::new();
        encode(&mut bytes, key, header, payload).map(|()| bytes)
    };
    let key = tunnel_key();
    let media = [0x80, 111, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9];
    let up = frame(&key, &header(Kind::Up, Some("192.0.2.1:4000"))?, &media)?;
    let mut seeds = with_truncations("up", &up, &[0, 1, 63, 64, 79, 80, 94]);
    for (name, kind, client, payload) in [
        ("down", Kind::Down { confirmed: false }, Some("192.0.2.1:4000"), &media[..]),
        ("down-confirmed-ipv6", Kind::Down { confirmed: true }, Some("[2001:db8::1]:65535"), &media[..]),
        ("confirm", Kind::Confirm, Some("192.0.2.1:4000"), &[]),
        ("release", Kind::Release, Some("192.0.2.1:4000"), &[]),
        ("hello", Kind::Hello, None, &[]),
        ("refresh", Kind::Refresh, None, &[]),
        ("largest", Kind::Up, Some("192.0.2.1:4000"), &[7; MAX_PAYLOAD]),
        ("port-zero", Kind::Down { confirmed: true }, Some("192.0.2.1:0"), &media[..]),
        ("multicast", Kind::Down { confirmed: true }, Some("[ff02::1]:5"), &media[..]),
    ] {
        seeds.push(named(&format!("valid-{name}"), frame(&key, &header(kind, client)?, payload)?));
    }
    let no_echo = FrameHeader { timing: Timing::default(), ..header(Kind::Hello, None)? };
    seeds.push(named("valid-no-echo", frame(&key, &no_echo, &[])?));
    seeds.push(named(
        "hostile-other-secret",
        frame(&TunnelKey::new(1, [0; 32]), &header(Kind::Hello, None)?, &[])?,
    ));
    seeds.push(named(
        "hostile-other-key-id",
        frame(&TunnelKey::new(2, [0x5a; 32]), &header(Kind::Hello, None)?, &[])?,
    ));
    for (name, offset, byte) in [
        ("version", 0, 0x21),
        ("kind", 0, 0x1f),
        ("flags", 1, 0x80),
        ("reserved", 3, 1),
        ("address", 35, 9),
        ("tag", 94, 0),
    ] {
        seeds.push(named(
            &format!("hostile-altered-{name}"),
            replaced(&up, offset, &[byte ^ (up[offset] & 1)]),
        ));
    }
    seeds.push(named("hostile-zeros", [0; 128]));
    seeds.push(named("hostile-too-long", [&up[..], &[0; 2000]].concat()));
    Ok(seeds)
}
