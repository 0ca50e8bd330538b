//! `voxgate call`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use voxgate_caller::{CallOptions, RunOptions, Transport, run as call};

use super::complain;

/// What `voxgate call` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Exit status: 0 the question was answered; 2 wrong arguments or files; 3 no gateway there; 4 refused by the gateway;\n\
5 no media connection; 6 no answer; 1 anything else.\n\n\
A question to ask, made with Debian's flite:\n  \
flite -voice slt -t \"what time is it\" -o question.wav\n  \
VOXGATE_KEY=vg_... voxgate call --wav question.wav --save answer.wav")]
pub(crate) struct CallArguments {
    /// What the caller says: a WAV file of any rate, mono or stereo.
    #[arg(long, value_name = "FILE")]
    wav: PathBuf,
    /// Where the answer is saved, as a WAV file with the gaps the caller heard.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Where the waterfall of the turn is drawn, as an SVG file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Base URL of the gateway's API.
    #[arg(long, env = "VOXGATE_URL", default_value = "http://127.0.0.1:8080/v1", value_name = "URL")]
    url: String,
    /// API key of the gateway. Better in the environment than on the command line, where others can see it.
    #[arg(long, env = "VOXGATE_KEY", hide_env_values = true, value_name = "KEY")]
    key: String,
    /// Model name; the gateway's routes say where it leads.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// PEM file with the gateway's CA, for https addresses and media over TLS: `tls/ca.pem` in its data folder.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// What carries the media. `tcp` and `tls` are for networks without UDP and need a relay with a stream port.
    #[arg(long, value_enum, default_value_t = MediaTransport::Udp, value_name = "TRANSPORT")]
    transport: MediaTransport,
    /// Print every event of the Realtime API, one JSON object to a line.
    #[arg(long)]
    events: bool,
    /// Print the result as one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Seconds to wait for the answer.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
}

/// What carries the media of a call.
#[derive(Clone, Copy, clap::ValueEnum)]
enum MediaTransport {
    /// Datagrams.
    Udp,
    /// A TCP connection to the relay.
    Tcp,
    /// A TLS connection to the relay.
    Tls,
}

impl From<MediaTransport> for Transport {
    fn from(transport: MediaTransport) -> Self {
        match transport {
            MediaTransport::Udp => Self::Udp,
            MediaTransport::Tcp => Self::Tcp,
            MediaTransport::Tls => Self::Tls,
        }
    }
}

/// Calls, prints, and says by the exit status how it went.
pub(crate) fn run(arguments: CallArguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("the operating system gave no threads: {error}"), 1),
    };
    let mut options = CallOptions::new(arguments.url, arguments.key);
    options.model = arguments.model;
    options.ca_file = arguments.ca;
    options.transport = arguments.transport.into();
    let mut options = RunOptions::new(options, arguments.wav);
    options.save = arguments.save;
    options.picture = arguments.picture;
    options.events = arguments.events;
    options.json = arguments.json;
    options.answer_timeout = Duration::from_secs(arguments.timeout);
    match runtime.block_on(call(options, &mut io::stdout(), &mut io::stderr())) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => complain(&error.to_string(), error.exit_status()),
    }
}
