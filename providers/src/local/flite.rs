//! The C interface of Flite, loaded at run time.
//!
//! Flite keeps global state, so every call into it is made under one lock of the whole process.

#![expect(unsafe_code, reason = "Flite is a C library; this file is the only way to it")]

use std::ffi::{CStr, CString, c_char, c_float, c_int, c_void};
use std::fmt;
use std::ptr::NonNull;
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libloading::Library;
use voxgate_protocol::audio::{Pcm, SampleRate};

use super::LocalError;
use super::voice::VoiceName;

/// Holds the lock of all Flite calls. The state under it is the library's, which a panic in Rust code cannot
/// leave half changed.
fn lock() -> MutexGuard<'static, ()> {
    static FLITE: Mutex<()> = Mutex::new(());
    FLITE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `cst_wave` of `cst_wave.h`, Flite 2.x.
#[repr(C)]
struct Wave {
    kind: *const c_char,
    sample_rate: c_int,
    sample_count: c_int,
    channel_count: c_int,
    samples: *mut i16,
}

/// The beginning of `cst_voice` of `cst_voice.h`, Flite 2.x.
#[repr(C)]
struct VoiceHead {
    name: *const c_char,
    features: *mut c_void,
}

/// One voice, with its library loaded. Voices are never unregistered: Flite hands out one pointer for good.
pub(super) struct FliteVoice {
    voice: NonNull<VoiceHead>,
    text_to_wave: unsafe extern "C" fn(*const c_char, *mut VoiceHead) -> *mut Wave,
    delete_wave: unsafe extern "C" fn(*mut Wave),
    set_float: unsafe extern "C" fn(*mut c_void, *const c_char, c_float),
    _core: Library,
    _voice: Library,
}

// SAFETY: the voice pointer is only followed under the process-wide lock.
unsafe impl Send for FliteVoice {}

impl fmt::Debug for FliteVoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FliteVoice")
    }
}

fn symbols(name: VoiceName) -> (&'static str, &'static CStr) {
    match name {
        VoiceName::Slt => ("libflite_cmu_us_slt.so.1", c"register_cmu_us_slt"),
        VoiceName::Rms => ("libflite_cmu_us_rms.so.1", c"register_cmu_us_rms"),
        VoiceName::Awb => ("libflite_cmu_us_awb.so.1", c"register_cmu_us_awb"),
        VoiceName::Kal16 => ("libflite_cmu_us_kal16.so.1", c"register_cmu_us_kal16"),
    }
}

impl FliteVoice {
    /// Loads a voice; about 1 ms.
    ///
    /// # Errors
    ///
    /// [`LocalError::LibraryMissing`] if Flite or the voice is not installed.
    pub(super) fn load(name: VoiceName) -> Result<Self, LocalError> {
        let (library, register) = symbols(name);
        let missing = |_| LocalError::LibraryMissing { library, package: "libflite1" };
        let _guard = lock();
        // SAFETY: neither library runs code of consequence when loaded; the types are those of `flite.h` 2.x, and
        // `register_*` takes a folder name it ignores for compiled-in voices.
        unsafe {
            let core = Library::new("libflite.so.1").map_err(missing)?;
            let voices = Library::new(library).map_err(missing)?;
            let init: unsafe extern "C" fn() -> c_int = *core.get(c"flite_init").map_err(missing)?;
            let register: unsafe extern "C" fn(*const c_char) -> *mut VoiceHead =
                *voices.get(register).map_err(missing)?;
            init();
            let voice = NonNull::new(register(std::ptr::null())).ok_or(LocalError::VoiceRefused)?;
            Ok(Self {
                voice,
                text_to_wave: *core.get(c"flite_text_to_wave").map_err(missing)?,
                delete_wave: *core.get(c"delete_wave").map_err(missing)?,
                set_float: *core.get(c"feat_set_float").map_err(missing)?,
                _core: core,
                _voice: voices,
            })
        }
    }

    /// Speaks a text. `stretch` is the length of the speech relative to normal, 1.0 being normal.
    ///
    /// # Errors
    ///
    /// [`LocalError::VoiceRefused`] if Flite gives no speech, or speech that is not mono.
    pub(super) fn speak(&mut self, text: &str, stretch: f32) -> Result<Pcm, LocalError> {
        let text = CString::new(text).map_err(|_| LocalError::VoiceRefused)?;
        let _guard = lock();
        // SAFETY: the voice was registered by the loaded library and lives for good; the lock is held; the strings
        // are zero-terminated. The wave is owned by this function and read no further than its own count.
        unsafe {
            let features = (*self.voice.as_ptr()).features;
            if !features.is_null() {
                (self.set_float)(features, c"duration_stretch".as_ptr(), stretch);
            }
            let wave = NonNull::new((self.text_to_wave)(text.as_ptr(), self.voice.as_ptr()))
                .ok_or(LocalError::VoiceRefused)?;
            let pcm = copy(wave.as_ref());
            (self.delete_wave)(wave.as_ptr());
            pcm
        }
    }
}

/// Copies the samples of a wave.
///
/// # Safety
///
/// The wave must be one Flite returned.
unsafe fn copy(wave: &Wave) -> Result<Pcm, LocalError> {
    let rate = u32::try_from(wave.sample_rate).ok().and_then(SampleRate::new);
    let count = usize::try_from(wave.sample_count).ok();
    let (Some(rate), Some(count), 1) = (rate, count, wave.channel_count) else {
        return Err(LocalError::VoiceRefused);
    };
    if count == 0 || wave.samples.is_null() {
        return Ok(Pcm { rate, samples: Vec::new() });
    }
    // SAFETY: a mono wave of Flite holds `sample_count` samples behind a pointer that is not null.
    let samples = unsafe { slice::from_raw_parts(wave.samples, count) }.to_vec();
    Ok(Pcm { rate, samples })
}
