#![no_main]
//! SDP offers. Corpus: media/corpus/sdp.
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use voxgate_media::transport::{Identity, RelayCandidate, Transport, TransportConfig};

static IDENTITY: OnceLock<Identity> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let identity = IDENTITY.get_or_init(|| Identity::generate().expect("a certificate can be made"));
    let config = TransportConfig {
        ufrag: "u".repeat(40),
        password: "p".repeat(48),
        relays: vec![RelayCandidate::udp("127.0.0.1:3478".parse().expect("an address"))],
        setup_timeout: Duration::from_secs(15),
        silence_timeout: Duration::from_secs(15),
    };
    let offer = String::from_utf8_lossy(data);
    let _ = Transport::accept(&offer, &config, identity, Instant::now());
});
