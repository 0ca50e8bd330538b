//! The local voice: Flite on a thread of its own, one clause at a time.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;
use voxgate_protocol::audio::{Pcm, SampleRate};

use super::LocalError;
use super::flite::FliteVoice;

/// Quieter samples at the beginning of a clause are left out, all but 10 ms.
const QUIET: u16 = 96;
const KEPT_BEFORE: usize = 160;

/// A voice that comes with the Debian package `libflite1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum VoiceName {
    /// A woman, US English, statistical. The default.
    #[default]
    Slt,
    /// A man, US English, statistical.
    Rms,
    /// A man, Scottish English, statistical.
    Awb,
    /// A man, US English, diphones: robotic, and thirty times cheaper than the others.
    Kal16,
}

impl VoiceName {
    /// Every voice.
    pub const ALL: [Self; 4] = [Self::Slt, Self::Rms, Self::Awb, Self::Kal16];

    /// The name in a session's `voice`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slt => "slt",
            Self::Rms => "rms",
            Self::Awb => "awb",
            Self::Kal16 => "kal16",
        }
    }

    /// The voice of a name; names of other vendors' voices give the default.
    #[must_use]
    pub fn from_session(name: Option<&str>) -> Self {
        Self::ALL.into_iter().find(|voice| Some(voice.as_str()) == name).unwrap_or_default()
    }
}

/// How to say something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// With which voice.
    pub voice: VoiceName,
    /// Speed in percent of normal, 25 to 150; `None` is 100.
    pub speed_percent: Option<u16>,
}

struct Order {
    text: String,
    manner: Manner,
    reply: oneshot::Sender<Result<Pcm, LocalError>>,
}

/// The thread that speaks. Orders of all sessions wait in one line; a clause takes 5 to 20 ms.
#[derive(Clone, Debug)]
pub struct Voice {
    orders: mpsc::Sender<Order>,
}

impl Voice {
    /// Loads every voice and starts the thread, which ends with the last clone of this.
    ///
    /// # Errors
    ///
    /// [`LocalError::LibraryMissing`] if Flite or one of the voices is not installed; [`LocalError::Thread`] if there
    /// can be no thread.
    pub fn start() -> Result<Self, LocalError> {
        let mut voices = BTreeMap::new();
        for name in VoiceName::ALL {
            voices.insert(name, FliteVoice::load(name)?);
        }
        let (sender, orders) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("local-voice".to_owned())
            .spawn(move || {
                while let Ok(order) = orders.recv() {
                    if order.reply.is_closed() {
                        continue;
                    }
                    let spoken =
                        voices.get_mut(&order.manner.voice).map_or(Err(LocalError::VoiceRefused), |voice| {
                            speak(voice, &order.text, order.manner.speed_percent)
                        });
                    // Nobody waits any more: the answer was cancelled.
                    let _ = order.reply.send(spoken);
                }
            })
            .map_err(LocalError::Thread)?;
        Ok(Self { orders: sender })
    }

    /// Asks for a clause at [`super::OUTPUT_RATE`]. Dropping the receiver before its turn costs nothing.
    pub fn say(&self, text: &str, manner: Manner) -> oneshot::Receiver<Result<Pcm, LocalError>> {
        let (reply, answer) = oneshot::channel();
        // Without the thread the reply is dropped, which the receiver reports.
        let _ = self.orders.send(Order { text: text.to_owned(), manner, reply });
        answer
    }
}

fn speak(voice: &mut FliteVoice, text: &str, speed_percent: Option<u16>) -> Result<Pcm, LocalError> {
    let percent = speed_percent.unwrap_or(100).clamp(25, 150);
    let mut pcm = voice.speak(text, 100.0 / f32::from(percent))?;
    if pcm.rate != SampleRate::HZ_16000 {
        return Err(LocalError::VoiceRefused);
    }
    let begins = pcm.samples.iter().position(|sample| sample.unsigned_abs() > QUIET);
    if let Some(begins) = begins {
        pcm.samples.drain(..begins.saturating_sub(KEPT_BEFORE));
    }
    Ok(pcm)
}
