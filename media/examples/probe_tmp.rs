
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};
use voxgate_media::transport::*;
use voxgate_protocol::path::ClientAddress;

struct Call { t: Transport, last_up: Option<Instant>, max_gap: Duration, gaps: Vec<(u128, u128)>, n: u64, seq: u32, moved: Vec<String>, restarts: u32, stun_in: Vec<u64>, stun_out: Vec<u64>, answers: Vec<u64> }

fn main() {
    let start = Instant::now();
    let identity = Identity::generate().unwrap();
    let socks: Vec<UdpSocket> = (0..3).map(|i| { let s = UdpSocket::bind(("127.0.0.1", 15001 + i)).unwrap(); s.set_nonblocking(true).unwrap(); s }).collect();
    let addr: Vec<SocketAddr> = socks.iter().map(|s| s.local_addr().unwrap()).collect();
    let mut dead = [false; 3];
    let http = TcpListener::bind("127.0.0.1:15080").unwrap();
    http.set_nonblocking(true).unwrap();
    let mut call: Option<Call> = None;
    let mut next_frame = Instant::now();
    let mut buf = [0u8; 2000];
    loop {
        if let Ok((mut c, _)) = http.accept() {
            c.set_nonblocking(false).unwrap();
            c.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut req = Vec::new();
            let (head, body) = loop {
                let n = c.read(&mut buf).unwrap_or(0);
                req.extend_from_slice(&buf[..n]);
                let text = String::from_utf8_lossy(&req).to_string();
                if let Some((h, b)) = text.split_once("\r\n\r\n") {
                    let len: usize = h.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:").map(|v| v.trim().parse().unwrap())).unwrap_or(0);
                    if b.len() >= len || n == 0 { break (h.to_string(), b.to_string()); }
                } else if n == 0 { break (text, String::new()); }
            };
            let url = head.split(' ').nth(1).unwrap_or("/").to_string();
            let (path, query) = url.split_once('?').unwrap_or((&url, ""));
            let list: Vec<usize> = query.split(',').filter_map(|x| x.parse().ok()).collect();
            let now = Instant::now();
            let out = match path {
                "/offer" => {
                    dead = [false; 3];
                    let config = TransportConfig { ufrag: format!("abcdefgh{}", start.elapsed().as_millis()), password: "thispasswordissecretenough".into(), relays: list.iter().map(|i| RelayCandidate::udp(addr[*i])).collect(), setup_timeout: Duration::from_secs(20), silence_timeout: Duration::from_secs(15) };
                    match Transport::accept(&body, &config, &identity, now) {
                        Ok((t, a)) => { call = Some(Call { t, last_up: None, max_gap: Duration::ZERO, gaps: vec![], n: 0, seq: 0, moved: vec![], restarts: 0, stun_in: vec![0; 3], stun_out: vec![0; 3], answers: vec![0; 3] }); a }
                        Err(e) => e.to_string(),
                    }
                }
                "/restart" => { let c = call.as_mut().unwrap(); c.restarts += 1;
                    let r = IceRestart { ufrag: format!("restart{}x{}", c.restarts, start.elapsed().as_millis()), password: "anotherpasswordsecretenough".into(), relays: list.iter().map(|i| RelayCandidate::udp(addr[*i])).collect() };
                    match c.t.restart_ice(now, &body, &r) { Ok(a) => a, Err(e) => e.to_string() } }
                "/kill" => { for i in &list { dead[*i] = true; } "ok".into() }
                "/revive" => { for i in &list { dead[*i] = false; } "ok".into() }
                "/avoid" => { let c = call.as_mut().unwrap(); format!("{}", c.t.avoid_relay(now, addr[list[0]])) }
                "/reset" => { let c = call.as_mut().unwrap(); c.max_gap = Duration::ZERO; c.gaps.clear(); c.n = 0; c.moved.clear(); c.stun_in=vec![0;3]; c.stun_out=vec![0;3]; c.answers=vec![0;3]; "ok".into() }
                "/stats" => { let c = call.as_ref().unwrap(); let cur = c.t.current_path().and_then(|p| addr.iter().position(|a| *a == p.relay));
                    format!("{{\"current\":{},\"up_n\":{},\"max_up_gap_ms\":{},\"silent_ms\":{},\"moved\":{:?},\"checks_in\":{:?},\"asked\":{:?},\"answers\":{:?}}}", cur.map_or(-1, |x| x as i32), c.n, c.max_gap.as_millis(), c.last_up.map_or(0, |l| l.elapsed().as_millis()), c.moved, c.stun_in, c.stun_out, c.answers) }
                _ => "<!doctype html><audio id=a autoplay></audio>".into(),
            };
            let ty = if path == "/" { "text/html" } else { "text/plain" };
            let _ = c.write_all(format!("HTTP/1.1 200 OK\r\nContent-Type: {ty}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{out}", out.len()).as_bytes());
        }
        let now = Instant::now();
        for (i, s) in socks.iter().enumerate() {
            while let Ok((n, from)) = s.recv_from(&mut buf) {
                if dead[i] { continue; }
                if let Some(c) = call.as_mut() {
                    if n > 2 && buf[0] == 0 && buf[1] == 1 { c.stun_in[i] += 1; }
                    if n > 2 && buf[0] == 1 { c.answers[i] += 1; }
                    c.t.handle_datagram(now, Path { relay: addr[i], client: ClientAddress::udp(from) }, &buf[..n]);
                }
            }
        }
        if let Some(c) = call.as_mut() {
            if now >= next_frame {
                next_frame = now.max(next_frame) + Duration::from_millis(20);
                c.seq += 1;
                c.t.send_audio(now, AudioFrame { payload: vec![0xF8u8, 0xFF, 0xFE].into(), timestamp: c.seq * 960, marker: false });
            }
            if c.t.poll_timeout().is_some_and(|d| d <= now) { c.t.handle_timeout(now); }
            let before = c.t.current_path();
            while let Some(o) = c.t.poll_output() {
                match o {
                    Output::Transmit { path, datagram } => { let i = addr.iter().position(|a| *a == path.relay).unwrap(); if datagram[0] == 0 && datagram[1] == 1 { c.stun_out[i] += 1; } if !dead[i] { let _ = socks[i].send_to(&datagram, path.client.socket); } }
                    Output::Audio(_) => { if let Some(l) = c.last_up { c.max_gap = c.max_gap.max(now - l); } c.last_up = Some(now); c.n += 1; }
                    other => { let s = format!("{:?}@{}", other, start.elapsed().as_millis()); if !s.contains("Text") { c.moved.push(s.replace('"', "'")); } }
                }
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
