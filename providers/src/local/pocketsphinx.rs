//! The C interface of PocketSphinx, loaded at run time.
//!
//! Two generations of it exist: *5prealpha* (Debian 12, symbols `cmd_ln_parse_r` and `ps_set_search`) and release 5
//! (`ps_config_init` and `ps_activate_search`). The presence of `ps_config_init` decides. Everything a caller can do
//! wrong with the C functions (wrong order, a string with a zero byte, use after free) is closed off here.

#![expect(unsafe_code, reason = "PocketSphinx is a C library; this file is the only way to it")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};

use libloading::Library;

use super::LocalError;

/// The names the library goes by, newest Debian release last.
const LIBRARY_NAMES: [&str; 2] = ["libpocketsphinx.so.3", "libpocketsphinx.so.5"];

type Handle = *mut c_void;
type WithHandle = unsafe extern "C" fn(Handle) -> c_int;
type AddJsgf = unsafe extern "C" fn(Handle, *const c_char, *const c_char) -> c_int;
type Activate = unsafe extern "C" fn(Handle, *const c_char) -> c_int;
type ProcessRaw = unsafe extern "C" fn(Handle, *const i16, usize, c_int, c_int) -> c_int;
type AddWord = unsafe extern "C" fn(Handle, *const c_char, *const c_char, c_int) -> c_int;
type GetHypothesis = unsafe extern "C" fn(Handle, *mut i32) -> *const c_char;
type SetLogCallback = unsafe extern "C" fn(Handle, Handle);
type SetLogStream = unsafe extern "C" fn(Handle);
type ParseArguments = unsafe extern "C" fn(Handle, *const c_void, i32, *mut *mut c_char, i32) -> Handle;

/// How a configuration is made in each generation.
enum Configuration {
    Prealpha {
        definitions: unsafe extern "C" fn() -> *const c_void,
        parse: ParseArguments,
        free: WithHandle,
    },
    Release5 {
        init: unsafe extern "C" fn(*const c_void) -> Handle,
        set: unsafe extern "C" fn(Handle, *const c_char, *const c_char) -> *const c_void,
        free: WithHandle,
    },
}

/// The functions of the library. The library stays loaded as long as this lives.
pub(super) struct Sphinx {
    configuration: Configuration,
    init: unsafe extern "C" fn(Handle) -> Handle,
    free: WithHandle,
    add_word: AddWord,
    add_jsgf: AddJsgf,
    activate: Activate,
    start: WithHandle,
    process: ProcessRaw,
    end: WithHandle,
    hypothesis: GetHypothesis,
    /// Held while a decoder is made: making one writes statics of the library without a lock.
    making: Mutex<()>,
    _library: Library,
}

impl fmt::Debug for Sphinx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sphinx")
    }
}

impl Sphinx {
    /// Loads the library.
    ///
    /// # Errors
    ///
    /// [`LocalError::LibraryMissing`] if it is not installed or has not the functions of either generation.
    pub(super) fn load() -> Result<Arc<Self>, LocalError> {
        let missing =
            || LocalError::LibraryMissing { library: LIBRARY_NAMES[0], package: "libpocketsphinx3" };
        // SAFETY: PocketSphinx and the libraries it depends on run no code of consequence when loaded.
        let library = LIBRARY_NAMES.into_iter().find_map(|name| unsafe { Library::new(name) }.ok());
        let library = library.ok_or_else(missing)?;
        Self::from_library(library).map(Arc::new).map_err(|_| missing())
    }

    fn from_library(library: Library) -> Result<Self, libloading::Error> {
        /// Copies a function pointer out of a library.
        ///
        /// # Safety
        ///
        /// `T` must be the pointer type of the C function of that name.
        unsafe fn function<T: Copy>(library: &Library, name: &CStr) -> Result<T, libloading::Error> {
            // SAFETY: the caller vouches for the type.
            unsafe { library.get::<T>(name) }.map(|symbol| *symbol)
        }
        // SAFETY: every type below is that of `pocketsphinx.h` and `sphinxbase/cmd_ln.h` 5prealpha, or of
        // `pocketsphinx.h` 5 where `ps_config_init` exists; the functions common to both did not change.
        unsafe {
            let is_release_5 = library.get::<Handle>(c"ps_config_init").is_ok();
            let configuration = if is_release_5 {
                Configuration::Release5 {
                    init: function(&library, c"ps_config_init")?,
                    set: function(&library, c"ps_config_set_str")?,
                    free: function(&library, c"ps_config_free")?,
                }
            } else {
                Configuration::Prealpha {
                    definitions: function(&library, c"ps_args")?,
                    parse: function(&library, c"cmd_ln_parse_r")?,
                    free: function(&library, c"cmd_ln_free_r")?,
                }
            };
            let (add_jsgf, activate) = if is_release_5 {
                (c"ps_add_jsgf_string", c"ps_activate_search")
            } else {
                (c"ps_set_jsgf_string", c"ps_set_search")
            };
            // Without a callback nothing is logged. A log file (option `logfn`) is no way to that: it is one global
            // stream, closed under the other threads by whichever decoder is made next, and a thread that writes to
            // it then may hang for ever.
            let log_to: SetLogCallback = function(&library, c"err_set_callback")?;
            log_to(ptr::null_mut(), ptr::null_mut());
            // The table of options is printed past the callback, unless there is no stream; release 5 prints none.
            if let Ok(print_to) = function::<SetLogStream>(&library, c"err_set_logfp") {
                print_to(ptr::null_mut());
            }
            Ok(Self {
                configuration,
                init: function(&library, c"ps_init")?,
                free: function(&library, c"ps_free")?,
                add_word: function(&library, c"ps_add_word")?,
                add_jsgf: function(&library, add_jsgf)?,
                activate: function(&library, activate)?,
                start: function(&library, c"ps_start_utt")?,
                process: function(&library, c"ps_process_raw")?,
                end: function(&library, c"ps_end_utt")?,
                hypothesis: function(&library, c"ps_get_hyp")?,
                making: Mutex::new(()),
                _library: library,
            })
        }
    }

    /// Makes a configuration from option names (without the dash of the command line) and values.
    fn configure(&self, options: &[(&str, &str)]) -> Result<OwnedConfiguration<'_>, LocalError> {
        let text = |text: &str| CString::new(text).map_err(|_| LocalError::DecoderRefused);
        let raw = match self.configuration {
            Configuration::Prealpha { definitions, parse, .. } => {
                let mut arguments = Vec::with_capacity(options.len() * 2);
                for (name, value) in options {
                    arguments.push(text(&format!("-{name}"))?);
                    arguments.push(text(value)?);
                }
                let mut pointers: Vec<_> = arguments.iter().map(|text| text.as_ptr().cast_mut()).collect();
                let count = i32::try_from(pointers.len()).map_err(|_| LocalError::DecoderRefused)?;
                // SAFETY: `pointers` holds `count` zero-terminated strings that outlive the call, which copies
                // what it keeps and writes to none of them; the definitions are a static table of the library.
                unsafe { parse(ptr::null_mut(), definitions(), count, pointers.as_mut_ptr(), 1) }
            }
            Configuration::Release5 { init, set, .. } => {
                // SAFETY: a null pointer asks for the library's own table of options.
                let raw = unsafe { init(ptr::null()) };
                if !raw.is_null() {
                    for (name, value) in options {
                        let (name, value) = (text(name)?, text(value)?);
                        // SAFETY: `raw` was just made; both strings are zero-terminated and are copied.
                        unsafe { set(raw, name.as_ptr(), value.as_ptr()) };
                    }
                }
                raw
            }
        };
        let raw = NonNull::new(raw).ok_or(LocalError::DecoderRefused)?;
        Ok(OwnedConfiguration { sphinx: self, raw })
    }
}

/// A configuration; decoders keep their own reference to it.
struct OwnedConfiguration<'a> {
    sphinx: &'a Sphinx,
    raw: NonNull<c_void>,
}

impl Drop for OwnedConfiguration<'_> {
    fn drop(&mut self) {
        let (Configuration::Prealpha { free, .. } | Configuration::Release5 { free, .. }) =
            self.sphinx.configuration;
        // SAFETY: `raw` came from the matching constructor and this is its only owner.
        unsafe { free(self.raw.as_ptr()) };
    }
}

/// One decoder with one search, between utterances or inside one.
pub(super) struct Decoder {
    sphinx: Arc<Sphinx>,
    raw: NonNull<c_void>,
    in_utterance: bool,
}

// SAFETY: a decoder has no tie to the thread that made it, and `&mut self` keeps it to one thread at a time. What
// decoders share (statics of the library) is written only while one is made, and then under a lock.
unsafe impl Send for Decoder {}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("in_utterance", &self.in_utterance).finish_non_exhaustive()
    }
}

impl Decoder {
    /// Loads the models the options name. Takes 0.03 to 1.4 s.
    ///
    /// # Errors
    ///
    /// [`LocalError::DecoderRefused`] if the library cannot use the models.
    pub(super) fn open(sphinx: &Arc<Sphinx>, options: &[(&str, &str)]) -> Result<Self, LocalError> {
        let _making = sphinx.making.lock().unwrap_or_else(PoisonError::into_inner);
        let configuration = sphinx.configure(options)?;
        // SAFETY: the configuration is alive; the decoder takes its own reference to it.
        let raw = unsafe { (sphinx.init)(configuration.raw.as_ptr()) };
        let raw = NonNull::new(raw).ok_or(LocalError::DecoderRefused)?;
        Ok(Self { sphinx: Arc::clone(sphinx), raw, in_utterance: false })
    }

    /// Teaches the decoder how a word sounds, in the phones of the acoustic model.
    ///
    /// # Errors
    ///
    /// [`LocalError::DecoderRefused`] if a phone is unknown or the word is known already.
    pub(super) fn add_word(&mut self, word: &str, phones: &str) -> Result<(), LocalError> {
        let text = |text: &str| CString::new(text).map_err(|_| LocalError::DecoderRefused);
        let (word, phones) = (text(word)?, text(phones)?);
        // SAFETY: the decoder is alive and between utterances; both strings are zero-terminated and are copied.
        let id = unsafe { (self.sphinx.add_word)(self.raw.as_ptr(), word.as_ptr(), phones.as_ptr(), 1) };
        if id < 0 { Err(LocalError::DecoderRefused) } else { Ok(()) }
    }

    /// Makes a JSGF grammar the only thing the decoder listens for.
    ///
    /// # Errors
    ///
    /// [`LocalError::DecoderRefused`] if the grammar does not parse.
    pub(super) fn listen_for(&mut self, jsgf: &str) -> Result<(), LocalError> {
        let jsgf = CString::new(jsgf).map_err(|_| LocalError::DecoderRefused)?;
        let name = c"phrases";
        // SAFETY: the decoder is alive and between utterances; both strings are zero-terminated and are copied.
        let failed = unsafe {
            (self.sphinx.add_jsgf)(self.raw.as_ptr(), name.as_ptr(), jsgf.as_ptr()) < 0
                || (self.sphinx.activate)(self.raw.as_ptr(), name.as_ptr()) < 0
        };
        if failed { Err(LocalError::DecoderRefused) } else { Ok(()) }
    }

    /// Begins an utterance. One still open is ended first.
    ///
    /// # Errors
    ///
    /// [`LocalError::DecoderRefused`] if the library refuses.
    pub(super) fn start(&mut self) -> Result<(), LocalError> {
        self.finish();
        // SAFETY: the decoder is alive and between utterances.
        if unsafe { (self.sphinx.start)(self.raw.as_ptr()) } < 0 {
            return Err(LocalError::DecoderRefused);
        }
        self.in_utterance = true;
        Ok(())
    }

    /// Decodes samples of 16 kHz. Outside an utterance they are ignored.
    pub(super) fn feed(&mut self, samples: &[i16]) {
        if self.in_utterance && !samples.is_empty() {
            // SAFETY: inside an utterance; the library reads `len` samples and keeps no pointer to them. A failure
            // only means that these samples are not searched.
            unsafe { (self.sphinx.process)(self.raw.as_ptr(), samples.as_ptr(), samples.len(), 0, 0) };
        }
    }

    /// Ends the utterance: the last passes of the search.
    pub(super) fn finish(&mut self) {
        if self.in_utterance {
            self.in_utterance = false;
            // SAFETY: inside an utterance. A failure leaves no hypothesis, which is a result of its own.
            unsafe { (self.sphinx.end)(self.raw.as_ptr()) };
        }
    }

    /// The best words so far, or of the finished utterance; empty if there are none.
    pub(super) fn hypothesis(&mut self) -> String {
        let mut score = 0_i32;
        // SAFETY: the decoder is alive; `score` is written during the call only.
        let words = unsafe { (self.sphinx.hypothesis)(self.raw.as_ptr(), &raw mut score) };
        if words.is_null() {
            return String::new();
        }
        // SAFETY: not null, so a zero-terminated string the decoder keeps until its next call; copied at once.
        unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        self.finish();
        // SAFETY: this is the only owner, and nothing of the decoder is used afterwards.
        unsafe { (self.sphinx.free)(self.raw.as_ptr()) };
    }
}
