//! Writes the seed corpus of the parsers: `cargo run -p voxgate-relay --example seed_corpus -- relay/corpus`.
//!
//! Every seed follows from constants, so a second run writes the same files.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use std::{env, fs, io};

use voxgate_protocol::framing::{MAX_DATAGRAM, frame};
use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_protocol::path::ClientAddress;
use voxgate_relay::fuzz::{stun_request, tunnel_key, ufrag_keys};
use voxgate_relay::tunnel::{Echo, FrameHeader, Kind, Lane, MAX_PAYLOAD, Timing, TunnelKey, encode};
use voxgate_relay::ufrag::{Route, Ufrag, UfragKey, seal};

type Seeds = Vec<(String, Vec<u8>)>;

fn main() -> io::Result<()> {
    let root = env::args().nth(1).ok_or_else(|| io::Error::other("name the corpus folder"))?;
    for (folder, seeds) in [
        ("stun", stun()),
        ("ufrag", ufrags()),
        ("tunnel", frames()),
        ("framing", streams()),
        ("exchange", exchanges()),
        ("flow-table", operations()),
        ("snapshot", snapshots()),
    ] {
        let folder = Path::new(&root).join(folder);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds.map_err(io::Error::other)? {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

/// Streams of framed datagrams behind the length of the pieces they come in.
fn streams() -> Made {
    let ufrag = sealed()?;
    let request = stun_request(format!("{ufrag}:abcd").as_bytes(), *b"transaction!");
    let framed = |datagrams: &[&[u8]]| {
        let mut stream = Vec::new();
        datagrams.iter().for_each(|datagram| {
            frame(&mut stream, datagram);
        });
        stream
    };
    let pieces = |piece: u8, stream: &[u8]| [&[piece], stream].concat();
    let (media, largest) = ([0x80; 160], vec![0x16; MAX_DATAGRAM]);
    let call = framed(&[&request, &[20; 300], &media, &media]);
    let mut seeds = with_truncations("call", &pieces(255, &call), &[0, 1, 2, 3, 50, 400]);
    seeds.extend([
        named("valid-call-in-bytes", pieces(0, &call)),
        named("valid-call-in-pairs", pieces(1, &call)),
        named("valid-one-byte", pieces(9, &framed(&[&[1]]))),
        named("valid-largest", pieces(99, &framed(&[&largest]))),
        named("valid-empty-frames-between", pieces(2, &[0, 0, 0, 1, 7, 0, 0, 0, 2, 8, 9, 0, 0])),
        named("hostile-only-empty-frames", pieces(2, &[0; 64])),
        named("hostile-oversize", pieces(63, &[&call[..], &[0x05, 0xdd]].concat())),
        named("hostile-largest-length", pieces(0, &[0xff; 16])),
        named("hostile-tls-hello", pieces(31, &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3])),
        named("hostile-http", pieces(31, b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n")),
        named("hostile-unframed-request", pieces(31, &[&[0xff; 2], &request[..]].concat())),
    ]);
    Ok(seeds)
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
        lane: Lane(0),
        relay_epoch: 0xe0e0_e0e0,
        session: ROUTE.random,
        client: client.map(str::parse::<SocketAddr>).transpose()?.map(ClientAddress::udp),
        traffic_class: 0xb8,
        sequence: 1_790_000_000_000_000_001,
        timing: Timing { sent_at: 99, echo: Some(echo), residence: Duration::from_micros(42) },
    })
}

const HELLO: Kind = Kind::Hello { draining: false };

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
        ("hello", HELLO, None, &[]),
        ("hello-draining", Kind::Hello { draining: true }, None, &[]),
        ("refresh", Kind::Refresh, None, &[]),
        ("largest", Kind::Up, Some("192.0.2.1:4000"), &[7; MAX_PAYLOAD]),
        ("port-zero", Kind::Down { confirmed: true }, Some("192.0.2.1:0"), &media[..]),
        ("multicast", Kind::Down { confirmed: true }, Some("[ff02::1]:5"), &media[..]),
    ] {
        seeds.push(named(&format!("valid-{name}"), frame(&key, &header(kind, client)?, payload)?));
    }
    let stream = ClientAddress::tcp("192.0.2.1:4000".parse()?);
    let over_tcp = FrameHeader { client: Some(stream), lane: Lane(63), ..header(Kind::Up, None)? };
    seeds.push(named("valid-stream-last-lane", frame(&key, &over_tcp, &media)?));
    let no_lane = FrameHeader { lane: Lane(64), ..header(Kind::Up, None)? };
    seeds.push(named("hostile-lane-too-high", frame(&key, &no_lane, &media)?));
    let no_echo = FrameHeader { timing: Timing::default(), ..header(HELLO, None)? };
    seeds.push(named("valid-no-echo", frame(&key, &no_echo, &[])?));
    seeds
        .push(named("hostile-other-secret", frame(&TunnelKey::new(1, [0; 32]), &header(HELLO, None)?, &[])?));
    seeds.push(named(
        "hostile-other-key-id",
        frame(&TunnelKey::new(2, [0x5a; 32]), &header(HELLO, None)?, &[])?,
    ));
    for (name, offset, byte) in [
        ("version", 0, 0x31),
        ("kind", 0, 0x1f),
        ("flags", 1, 0x80),
        ("lane", 3, 0x40),
        ("traffic-class", 38, 1),
        ("reserved", 39, 1),
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

/// A datagram of a sequence: who says it, and after how many milliseconds.
fn said(by: u8, after: u8, client: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[after << 2 | by, client], &length[..], bytes].concat()
}

const CLIENT: u8 = 0;
const TUNNEL: u8 = 2;
const NODE: u8 = 3;
/// What a node says, as the fuzz target numbers it, of the session of [`ROUTE`].
const CONFIRM: [u8; 2] = [0, 0xee];
const RELEASE: [u8; 2] = [1, 0xee];
const CONFIRMED_DOWN: [u8; 2] = [3, 0xee];
const DOWN: [u8; 2] = [4, 0xee];

fn exchanges() -> Made {
    let username = format!("{}:abcd", sealed()?);
    let check = said(CLIENT, 1, 9, &stun_request(username.as_bytes(), *b"transaction!"));
    let answer = stun_request(b"", [0; 12]);
    let media = [0x80, 111, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9];
    let node = |what: [u8; 2], payload: &[u8]| said(NODE, 1, 9, &[&what, payload].concat());
    let (spoken, confirm) = (said(CLIENT, 20, 9, &media), node(CONFIRM, b""));
    let mut frame = Vec::new();
    encode(&mut frame, &tunnel_key(), &header(Kind::Confirm, Some("192.0.2.1:9"))?, b"")?;
    let recorded = said(TUNNEL, 0, 9, &frame);
    let call =
        [check.clone(), node(CONFIRMED_DOWN, &answer), spoken.clone(), node(CONFIRMED_DOWN, &media)].concat();
    let mut seeds = with_truncations("call", &call, &[0, 1, 3, 4, 40]);
    for (name, parts) in [
        ("valid-check", vec![&check]),
        ("valid-unconfirmed-answer", vec![&check, &node(DOWN, &answer), &spoken]),
        (
            "valid-too-much-for-an-unconfirmed-address",
            vec![&check; 3].into_iter().chain([&node(DOWN, &[1; 400])]).collect(),
        ),
        ("valid-spoken-after-release", vec![&check, &confirm, &node(RELEASE, b""), &spoken]),
        ("valid-another-client", vec![&check, &confirm, &said(CLIENT, 0, 10, &media)]),
        ("valid-confirmed-without-check", vec![&confirm, &spoken]),
        ("valid-recorded-confirmation", vec![&recorded, &recorded, &check]),
        ("hostile-media-only", vec![&spoken; 3]),
        ("hostile-port-zero", vec![&said(CLIENT, 0, 0, &media)]),
        ("hostile-frame-from-a-client", vec![&said(CLIENT, 0, 9, &frame)]),
        ("hostile-released-only", vec![&node(RELEASE, b""), &spoken]),
        ("hostile-unconfirmed-media", vec![&node(DOWN, &media), &spoken]),
        (
            "hostile-empty-datagrams",
            vec![&said(CLIENT, 0, 9, b""), &said(TUNNEL, 0, 9, b""), &said(NODE, 0, 9, b"")],
        ),
    ] {
        let parts: Vec<Vec<u8>> = parts.into_iter().cloned().collect();
        seeds.push(named(name, parts.concat()));
    }
    Ok(seeds)
}

/// Operations on a flow table as the fuzz target numbers them.
fn operations() -> Made {
    let operation = |what: u8, client: u8, node: u8, session: u8, size: u16, millis: u16| {
        let [[a, b], [c, d]] = [size.to_be_bytes(), millis.to_be_bytes()];
        [what, client, node, session, a, b, c, d]
    };
    let (request, confirm, reply) = (
        |client| operation(0, client, 1, 1, 100, 1),
        |client| operation(2, client, 1, 1, 0, 1),
        |client| operation(3, client, 1, 1, 60, 1),
    );
    let expire = operation(5, 0, 0, 0, 0, 40_000);
    let call = [request(1), reply(1), confirm(1), operation(1, 1, 0, 0, 0, 20)].concat();
    let mut seeds = with_truncations("call", &call, &[1, 7, 9, 31]);
    let many = |make: &dyn Fn(u8) -> [u8; 8]| (0..40).flat_map(make).collect::<Vec<u8>>();
    seeds.extend([
        named("valid-many-requests", many(&request)),
        named("valid-many-confirmations", many(&confirm)),
        named("valid-many-sessions", many(&|n| operation(2, n, n, n / 4, 0, 900))),
        named("valid-many-hosts", many(&|n| operation(0, n, n, n / 4, 10, 100))),
        named(
            "valid-takeover",
            [confirm(1), operation(2, 1, 2, 1, 0, 9), operation(2, 1, 2, 1, 0, 7000)].concat(),
        ),
        named("valid-same-node", [confirm(1), operation(2, 1, 1, 2, 0, 0)].concat()),
        named("valid-tcp-and-udp", [confirm(1), confirm(129)].concat()),
        named("valid-snapshot", [&many(&confirm)[..], &operation(6, 0, 0, 0, 0, 50)].concat()),
        named(
            "hostile-nothing-confirmed",
            [reply(1), operation(1, 1, 0, 0, 0, 0), operation(4, 1, 1, 1, 0, 0)].concat(),
        ),
        named("hostile-released", [confirm(1), operation(4, 1, 1, 1, 0, 0)].concat()),
        named("hostile-expired", [request(1), confirm(2), expire].concat()),
        named("hostile-snapshot-of-nothing", operation(6, 0, 0, 0, 0, 0)),
    ]);
    Ok(seeds)
}

fn snapshots() -> Made {
    let flow = |ip: [u8; 16], port: u16, transport: u8, client_silent: u32, node_silent: u32| {
        let [session, client, node] = [ROUTE.random, client_silent, node_silent].map(u32::to_be_bytes);
        [&ip[..], &port.to_be_bytes(), &[transport, 0, 0, 0, 7], &session, &client, &node].concat()
    };
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1];
    let ipv6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let multicast = [0xff; 16];
    let usual = flow(mapped, 4000, 0, 20, 40);
    let with = |flows: &[&[u8]]| [&b"vgfl\x01"[..], &flows.concat()].concat();
    let two = with(&[&usual, &flow(ipv6, 65_535, 1, 29_000, 1)]);
    let mut seeds = with_truncations("two", &two, &[0, 1, 4, 6, 39, 41, 74]);
    let many: Vec<Vec<u8>> = (1..100).map(|port| flow(mapped, port, 0, u32::from(port), 0)).collect();
    seeds.extend([
        named("valid-empty", with(&[])),
        named("valid-twice-the-same", with(&[&usual, &usual])),
        named("valid-more-than-fit", with(&many.iter().map(Vec::as_slice).collect::<Vec<_>>())),
        named("valid-silent-for-ever", with(&[&flow(mapped, 1, 0, u32::MAX, u32::MAX)])),
        named("hostile-version", replaced(&two, 4, &[2])),
        named("hostile-letters", replaced(&two, 0, b"x")),
        named("hostile-transport", with(&[&flow(mapped, 1, 2, 0, 0)])),
        named("hostile-port-zero", with(&[&usual, &flow(mapped, 0, 0, 0, 0)])),
        named("hostile-multicast", with(&[&flow(multicast, 1, 0, 0, 0)])),
        named("hostile-unspecified", with(&[&flow([0; 16], 1, 0, 0, 0)])),
        named("hostile-zeros", [0; 75]),
    ]);
    Ok(seeds)
}
