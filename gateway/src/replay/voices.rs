//! Both voices of a session that is over, heard again.
//!
//! A log holds what came in and no sound of what went out, so the core runs on it once more, in virtual time, and what it hears and
//! says is put on the time axis of the session's record.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

use voxgate_media::session::{HeardSound, HeardVoices, SessionError};
use voxgate_protocol::audio::Pcm;
use voxgate_protocol::id::SessionId;
use voxgate_signaling::admin::voices::{Voices, VoicesError, Wanted};

use super::entry::{Header, LogError, Reader, Step};
use super::fingerprint::fingerprint;
use super::mix::{Channel, Mix};
use super::player::{BEFORE, unwound};
use super::writer::ReplayLog;
use crate::dialogue::core::{CoreConfig, CoreOutput, DialogueCore};

/// The longest file: 230 MB. Of a longer session its beginning is heard.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How fingerprints of the agent's sound begin.
const SOUNDS: [&str; 2] = ["rtp ", "response.output_audio.delta "];

/// The time axis of a session's record.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// Whose log it has to be; `None` for any.
    pub(crate) session: Option<SessionId>,
    /// When the session began, by the wall clock. Counts for logs that do not say it themselves.
    pub(crate) began_unix_ms: u64,
    /// How long it lasted.
    pub(crate) length: Duration,
}

/// What the logs of this process hold of voices.
pub(crate) struct KeptVoices(pub(crate) Option<Arc<ReplayLog>>);

impl Voices for KeptVoices {
    fn render(&self, wanted: &Wanted) -> Result<Vec<u8>, VoicesError> {
        let log = self.0.as_ref().ok_or(VoicesError::NotKept)?;
        let file = log.open(&wanted.session).map_err(|_| VoicesError::Unreadable)?;
        let axis = Axis {
            session: Some(wanted.session.clone()),
            began_unix_ms: wanted.began_unix_ms,
            length: wanted.length,
        };
        let rendered = voices(BufReader::new(file.ok_or(VoicesError::Removed)?), axis);
        rendered.map_err(|_| VoicesError::Unreadable)?.ok_or(VoicesError::NotKept)
    }
}

/// A WAV file with the caller left and the agent right, which begins and ends with the session. Where a log is damaged or ends early
/// the rest is silence. `None` if it holds no voices.
///
/// # Errors
/// [`LogError`] if not even the header can be understood, or no session can be made of it.
pub(crate) fn voices(source: impl BufRead, axis: Axis) -> Result<Option<Vec<u8>>, LogError> {
    let (header, mut log) = Reader::open(source)?;
    if !header.has_audio || axis.session.is_some_and(|session| session != header.session_id) {
        return Ok(None);
    }
    let start = Instant::now().checked_add(BEFORE);
    let origin = start.and_then(|start| Some((start, began(&header, start, axis.began_unix_ms)?)));
    let (start, origin) = origin.ok_or_else(|| log.malformed("it lies nowhere near the session"))?;
    let length = axis.length.min(LONGEST);
    let mut rerun = Rerun { core: core_of(header, origin)?, start, origin, mix: Mix::new(length) };
    while let Ok(Some(step)) = log.next() {
        // A damaged line is the end of what can be heard.
        if rerun.take(&step).is_none_or(|at| at > length) {
            break;
        }
    }
    Ok(Some(rerun.mix.into_wav()))
}

/// When the session began. Its log began a little later.
fn began(header: &Header, start: Instant, began_unix_ms: u64) -> Option<Instant> {
    match header.began {
        Some(began) => began.from(start),
        None => {
            let later = Duration::from_millis(header.started_unix_ms.saturating_sub(began_unix_ms));
            start.checked_sub(later.min(BEFORE))
        }
    }
}

fn core_of(header: Header, origin: Instant) -> Result<DialogueCore, LogError> {
    let made = unwound(|| {
        let config = header.config();
        // Nobody hears the packets: coding them costs as little as it can.
        let encoder = voxgate_media::encode::EncoderConfig { complexity: 0, ..config.encoder };
        let mut core = DialogueCore::new(CoreConfig { encoder, ..config })?;
        if let Some(parked) = header.resumed.clone() {
            core = core.resume(parked);
        }
        core.tape_voices(origin);
        Ok(core)
    });
    let made = made.unwrap_or_else(|| Err(SessionError::Audio("it panicked".to_owned())));
    made.map_err(|error| LogError::Core(error.to_string()))
}

/// A session that runs again.
struct Rerun {
    core: DialogueCore,
    start: Instant,
    origin: Instant,
    mix: Mix,
}

impl Rerun {
    /// Feeds one input and mixes what is heard of it. When it was; `None` if it cannot be.
    fn take(&mut self, step: &Step) -> Option<Duration> {
        let now = step.at.from(self.start)?;
        let input = step.input.input(self.start)?;
        let (core, start) = (&mut self.core, self.start);
        let mut sounds = 0;
        unwound(|| {
            core.handle(now, input);
            while let Some(output) = core.poll_output() {
                sounds += usize::from(is_sound(&output, start));
            }
            while core.poll_seen().is_some() {}
        })?;
        let HeardVoices { caller, agent } = self.core.take_voices();
        let at = now.saturating_duration_since(self.origin);
        self.mix_caller(at, caller);
        // Where another program decides otherwise than the call did, what it says was never heard.
        let said = step.outputs.iter().filter(|output| SOUNDS.iter().any(|kind| output.starts_with(kind)));
        if sounds <= said.count() {
            self.mix_agent(agent);
        }
        Some(at)
    }

    /// What came in with one input ends when it came, however much it is.
    fn mix_caller(&mut self, at: Duration, heard: Vec<HeardSound>) {
        let pieces = heard.into_iter().filter_map(|heard| match heard {
            HeardSound::Samples(_, pcm) => Some(pcm),
            HeardSound::Silence(_) => None,
        });
        let joined = pieces.reduce(|before, next| {
            let samples = [before.samples, next.samples].concat();
            Pcm { samples, ..before }
        });
        if let Some(pcm) = joined {
            self.mix.add(Channel::Left, at.saturating_sub(pcm.duration()), &pcm);
        }
    }

    fn mix_agent(&mut self, heard: Vec<HeardSound>) {
        for heard in heard {
            match heard {
                HeardSound::Samples(from, pcm) => self.mix.add(Channel::Right, from, &pcm),
                HeardSound::Silence(from) => self.mix.silence(Channel::Right, from),
            }
        }
    }
}

fn is_sound(output: &CoreOutput, start: Instant) -> bool {
    match output {
        CoreOutput::Audio { .. } => true,
        CoreOutput::Text(text) => {
            // Most texts are none, and a fingerprint costs reading them.
            text.contains("response.output_audio.delta")
                && fingerprint(output, start, true).starts_with(SOUNDS[1])
        }
        _ => false,
    }
}
