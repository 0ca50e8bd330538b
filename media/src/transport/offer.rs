//! Reads the few facts of a caller's SDP offer that a call needs, and refuses the rest with a reason.
//!
//! The engine never sees the caller's text: it is given a canonical offer written from these facts
//! ([`super::description`]), so what a hostile offer can reach is this file.

use std::str::FromStr;

use super::capture_time;

/// Largest offer read. Chrome's with audio, video and a data channel is about 7 kB.
const LARGEST_OFFER: usize = 64 * 1024;
/// Most media lines answered.
const MOST_SECTIONS: usize = 32;
/// RFC 8841 section 6: what a peer takes that does not say.
const DEFAULT_MAX_MESSAGE_SIZE: usize = 65_536;
/// RFC 8841 section 5.
const DEFAULT_SCTP_PORT: u16 = 5000;

/// Why an offer cannot become a call. Each text is fit for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The text is larger than any honest offer.
    #[error("The SDP offer is larger than {LARGEST_OFFER} bytes.")]
    TooLarge,
    /// The text is not SDP (RFC 8866); `line` counts from 1.
    #[error("Line {line} of the SDP offer is malformed: {reason}.")]
    Malformed {
        /// Where, counted from 1.
        line: usize,
        /// What was expected.
        reason: &'static str,
    },
    /// There is no audio line that sends or receives.
    #[error("The SDP offer has no active audio line.")]
    NoAudio,
    /// The audio line does not offer Opus (RFC 7587).
    #[error("The audio line of the SDP offer does not offer opus/48000/2.")]
    NoOpus,
    /// The audio line is not RTP over DTLS with RTP and RTCP on one port.
    #[error("The audio line of the SDP offer must use SAVPF over DTLS with rtcp-mux.")]
    UnsupportedTransport,
    /// No usable `ice-ufrag` and `ice-pwd` (RFC 8839).
    #[error("The SDP offer has no valid ICE credentials.")]
    MissingIce,
    /// The caller is ICE-lite, as this server is: nobody would check the path.
    #[error("The SDP offer comes from an ICE-lite agent, which this ICE-lite server cannot reach.")]
    IceLite,
    /// No SHA-256 certificate fingerprint (RFC 8122).
    #[error("The SDP offer has no sha-256 DTLS fingerprint.")]
    MissingDtls,
    /// The caller insists on the DTLS server role, which this server takes.
    #[error("The SDP offer must allow the offerer to be the DTLS client (setup actpass or active).")]
    DtlsRole,
    /// An offer to restart ICE has other media lines than the call began with.
    #[error("The SDP offer must have the same media lines as the offer the call began with.")]
    OtherMedia,
    /// An offer to restart ICE comes with another certificate: it would be another call.
    #[error("The SDP offer must have the same DTLS fingerprint as the offer the call began with.")]
    OtherCertificate,
    /// An offer to restart ICE brings no new credentials.
    #[error("The SDP offer does not restart ICE: its ICE credentials are in use already.")]
    SameIce,
    /// ICE was restarted a moment ago.
    #[error("ICE was restarted less than 200 ms ago.")]
    RestartTooSoon,
    /// An offer to restart ICE came after the end of the call.
    #[error("The call is over.")]
    CallOver,
    /// The media engine refused a well-formed offer; the reason is for logs.
    #[error("The SDP offer could not be negotiated.")]
    Engine {
        /// The engine's words.
        reason: String,
    },
}

impl OfferError {
    /// A stable word for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "sdp_too_large",
            Self::Malformed { .. } => "sdp_malformed",
            Self::NoAudio => "sdp_no_audio",
            Self::NoOpus => "sdp_unsupported_codec",
            Self::UnsupportedTransport => "sdp_unsupported_transport",
            Self::MissingIce => "sdp_missing_ice",
            Self::IceLite => "sdp_ice_lite",
            Self::MissingDtls => "sdp_missing_dtls",
            Self::DtlsRole => "sdp_dtls_role",
            Self::OtherMedia => "sdp_other_media",
            Self::OtherCertificate => "sdp_other_certificate",
            Self::SameIce => "sdp_same_ice",
            Self::RestartTooSoon => "ice_restart_too_soon",
            Self::CallOver => "call_over",
            Self::Engine { .. } => "sdp_not_negotiable",
        }
    }
}

/// Which way media flows, seen from whoever wrote it (RFC 8866 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    SendReceive,
    SendOnly,
    ReceiveOnly,
    Inactive,
}

impl Direction {
    /// The same flow seen from the other side.
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::SendOnly => Self::ReceiveOnly,
            Self::ReceiveOnly => Self::SendOnly,
            other => other,
        }
    }

    pub(super) fn sends(self) -> bool {
        matches!(self, Self::SendReceive | Self::SendOnly)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SendReceive => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::ReceiveOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// One media line of the offer, to be repeated in the answer (RFC 3264 section 6).
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) media: &'a str,
    pub(super) protocol: &'a str,
    pub(super) formats: &'a str,
    pub(super) mid: Option<&'a str>,
    disabled: bool,
    attributes: Vec<(&'a str, &'a str)>,
}

/// The data channel's association (RFC 8841).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataChannels {
    pub(super) section: usize,
    pub(super) sctp_port: u16,
    /// Largest message the caller takes, in bytes.
    pub(super) max_message_size: usize,
}

/// The facts of an offer.
#[derive(Debug)]
pub(super) struct Offer<'a> {
    pub(super) sections: Vec<Section<'a>>,
    /// Index of the audio line that carries the call.
    pub(super) audio: usize,
    pub(super) data: Option<DataChannels>,
    /// The `mid`s of the offer's BUNDLE group, in its order.
    pub(super) bundle: Vec<&'a str>,
    pub(super) direction: Direction,
    pub(super) payload_type: u8,
    /// The name of the extension that tells when a packet was captured, if the caller offers it.
    pub(super) capture_time: Option<u8>,
    pub(super) ufrag: &'a str,
    pub(super) password: &'a str,
    /// SHA-256 of the caller's certificate: 32 pairs of lower-case hex digits with colons.
    pub(super) fingerprint: String,
}

impl<'a> Offer<'a> {
    /// Reads `text`.
    ///
    /// # Errors
    /// The first [`OfferError`] met; never `Engine`.
    pub(super) fn parse(text: &'a str) -> Result<Self, OfferError> {
        if text.len() > LARGEST_OFFER {
            return Err(OfferError::TooLarge);
        }
        let (session, sections) = split(text)?;
        let bundle = bundle_group(&session);
        let audio = sections.iter().position(Section::carries_audio).ok_or(OfferError::NoAudio)?;
        let section = &sections[audio];
        let payload_type = section.opus_payload_type().ok_or(OfferError::NoOpus)?;
        let protocol = section.protocol.to_ascii_uppercase();
        if !protocol.ends_with("RTP/SAVPF") || section.attribute("rtcp-mux").is_none() {
            return Err(OfferError::UnsupportedTransport);
        }
        let shared = Shared { session: &session, sections: &sections, section, bundle: &bundle };
        let (ufrag, password) = shared.ice_credentials()?;
        let fingerprint = shared.fingerprint()?;
        if shared.attribute("setup").is_some_and(|setup| setup == "passive" || setup == "holdconn") {
            return Err(OfferError::DtlsRole);
        }
        let data = data_channels(&sections, section, &bundle);
        let (direction, capture_time) = (section.direction(), section.capture_time());
        Ok(Self {
            audio,
            data,
            direction,
            payload_type,
            capture_time,
            ufrag,
            password,
            fingerprint,
            bundle,
            sections,
        })
    }
}

/// What bundled sections share: attributes looked up in the section, the session and the bundle's first section.
struct Shared<'s, 'a> {
    session: &'s [(&'a str, &'a str)],
    sections: &'s [Section<'a>],
    section: &'s Section<'a>,
    bundle: &'s [&'a str],
}

impl<'a> Shared<'_, 'a> {
    fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let tagged = self.bundle.first().and_then(|tag| {
            let bundled = self.section.mid.is_some_and(|mid| self.bundle.contains(&mid));
            self.sections.iter().find(|section| bundled && section.mid == Some(*tag))
        });
        let tagged = tagged.map_or(&[][..], |section| &section.attributes[..]);
        let own = &self.section.attributes[..];
        let name = name.to_owned();
        own.iter().chain(self.session).chain(tagged).filter(move |(n, _)| *n == name).map(|(_, value)| *value)
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.values(name).next()
    }

    fn ice_credentials(&self) -> Result<(&'a str, &'a str), OfferError> {
        if self.session.iter().any(|(name, _)| *name == "ice-lite") {
            return Err(OfferError::IceLite);
        }
        let credentials = self.attribute("ice-ufrag").zip(self.attribute("ice-pwd"));
        let (ufrag, password) = credentials.ok_or(OfferError::MissingIce)?;
        // Lengths of RFC 8839 section 5.4. Some agents step outside its alphabet (padding, hyphens); what is
        // printable and keeps `local:remote` unambiguous is served.
        let valid = (4..=256).contains(&ufrag.len()) && (22..=256).contains(&password.len());
        let printable = |word: &str| word.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if valid && printable(ufrag) && printable(password) {
            Ok((ufrag, password))
        } else {
            Err(OfferError::MissingIce)
        }
    }

    fn fingerprint(&self) -> Result<String, OfferError> {
        let sha256 = self.values("fingerprint").find_map(|value| {
            let (algorithm, digest) = value.split_once(' ')?;
            algorithm.eq_ignore_ascii_case("sha-256").then(|| digest.trim().to_ascii_lowercase())
        });
        let digest = sha256.ok_or(OfferError::MissingDtls)?;
        let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
        let well_formed = digest.split(':').count() == 32 && digest.split(':').all(pair);
        well_formed.then_some(digest).ok_or(OfferError::MissingDtls)
    }
}

impl<'a> Section<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let mut words = value.splitn(4, ' ');
        let (media, port, protocol, formats) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let port = u16::from_str(port.split('/').next()?).ok()?;
        let token = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic());
        let formats_ok = formats.split(' ').all(token);
        (token(media) && token(protocol) && formats_ok).then(|| Section {
            media,
            protocol,
            formats,
            mid: None,
            disabled: port == 0,
            attributes: Vec::new(),
        })
    }

    fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }

    /// Port zero rejects a line, unless the line only waits for its bundle (RFC 9143 section 6).
    fn is_open(&self) -> bool {
        !self.disabled || self.attribute("bundle-only").is_some()
    }

    fn carries_audio(&self) -> bool {
        self.media == "audio" && self.is_open() && self.direction() != Direction::Inactive
    }

    fn direction(&self) -> Direction {
        let stated = self.attributes.iter().find_map(|(name, _)| match *name {
            "sendrecv" => Some(Direction::SendReceive),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::ReceiveOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        });
        stated.unwrap_or(Direction::SendReceive)
    }

    fn capture_time(&self) -> Option<u8> {
        let extensions = self.attributes.iter().filter(|(name, _)| *name == "extmap");
        extensions.filter_map(|(_, value)| capture_time::offered_id(value)).next()
    }

    fn opus_payload_type(&self) -> Option<u8> {
        self.attributes.iter().filter(|(name, _)| *name == "rtpmap").find_map(|(_, value)| {
            let (payload_type, encoding) = value.split_once(' ')?;
            let listed = self.formats.split(' ').any(|format| format == payload_type);
            let opus = encoding.trim().eq_ignore_ascii_case("opus/48000/2");
            let payload_type = u8::from_str(payload_type).ok().filter(|pt| *pt < 128)?;
            (listed && opus).then_some(payload_type)
        })
    }
}

/// The first data line that shares the audio line's transport; another transport cannot be served.
fn data_channels(sections: &[Section<'_>], audio: &Section<'_>, bundle: &[&str]) -> Option<DataChannels> {
    let bundled = |section: &Section<'_>| section.mid.is_some_and(|mid| bundle.contains(&mid));
    let serves = |section: &Section<'_>| {
        section.media == "application"
            && section.is_open()
            && section.protocol.to_ascii_uppercase().ends_with("DTLS/SCTP")
            && section.formats == "webrtc-datachannel"
            && bundled(section)
            && bundled(audio)
    };
    let section = sections.iter().position(serves)?;
    let stated = |name: &str| sections[section].attribute(name);
    let sctp_port =
        stated("sctp-port").and_then(|port| port.trim().parse().ok()).unwrap_or(DEFAULT_SCTP_PORT);
    let stated_size = stated("max-message-size").and_then(|size| size.trim().parse::<u64>().ok());
    let max_message_size = match stated_size {
        // RFC 8841 section 6: zero is no limit.
        Some(0) => usize::MAX,
        Some(size) => usize::try_from(size).unwrap_or(usize::MAX),
        None => DEFAULT_MAX_MESSAGE_SIZE,
    };
    Some(DataChannels { section, sctp_port, max_message_size })
}

fn bundle_group<'a>(session: &[(&'a str, &'a str)]) -> Vec<&'a str> {
    let groups = session.iter().filter(|(name, _)| *name == "group");
    let mut bundles = groups.filter_map(|(_, value)| value.strip_prefix("BUNDLE "));
    bundles.next().map(|mids| mids.split_ascii_whitespace().collect()).unwrap_or_default()
}

type Split<'a> = (Vec<(&'a str, &'a str)>, Vec<Section<'a>>);

/// Splits the text in session attributes and sections.
fn split(text: &str) -> Result<Split<'_>, OfferError> {
    let mut session = Vec::new();
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut seen_version = false;
    for (number, line) in text.lines().enumerate() {
        let malformed = |reason| OfferError::Malformed { line: number + 1, reason };
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        if line.bytes().any(|b| b.is_ascii_control()) {
            return Err(malformed("control characters are not allowed"));
        }
        let (kind, value) = line.split_once('=').ok_or_else(|| malformed("expected type=value"))?;
        if !seen_version && line != "v=0" {
            return Err(malformed("expected v=0"));
        }
        seen_version = true;
        match kind {
            "m" if sections.len() == MOST_SECTIONS => return Err(malformed("too many media lines")),
            "m" => sections.push(Section::parse(value).ok_or_else(|| malformed("expected a media line"))?),
            "a" => {
                let (name, value) = value.split_once(':').unwrap_or((value, ""));
                let attributes = sections.last_mut().map_or(&mut session, |section| &mut section.attributes);
                attributes.push((name, value));
            }
            _ if kind.len() == 1 && kind.as_bytes()[0].is_ascii_lowercase() => {}
            _ => return Err(malformed("expected a one-letter type")),
        }
    }
    if !seen_version {
        return Err(OfferError::Malformed { line: 1, reason: "expected v=0" });
    }
    for section in &mut sections {
        let mid = section.attribute("mid").map(str::trim);
        section.mid =
            mid.filter(|mid| (1..=64).contains(&mid.len()) && mid.bytes().all(|b| b.is_ascii_graphic()));
    }
    Ok((session, sections))
}
