//! Commands that open the store of a gateway, running or not.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use voxgate_signaling::store::audit::Deed;
use voxgate_signaling::store::{Store, StoreError, StorePlace};

use super::{EXIT_CONFIG, complain};
use crate::config::{self, ConfigError, Written};
use crate::host::since_unix_epoch;

/// Which store.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct StoreArguments {
    /// Configuration file of the gateway. Only its store and data folder are read.
    #[arg(long, env = "VOXGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder of the gateway. Default: `data`.
    #[arg(long, env = "VOXGATE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl StoreArguments {
    fn place(&self) -> Result<StorePlace, ConfigError> {
        let mut written = match &self.config {
            Some(path) => config::read(path)?,
            None => Written::default(),
        };
        if let Some(data_dir) = &self.data_dir {
            written.data_dir.clone_from(data_dir);
        }
        config::store_place(&written, &|name| std::env::var(name).ok())
    }

    /// Opens the store and lets a command work with it. A file that does not exist is not made: a mistyped folder would look
    /// like an empty store.
    pub(super) fn run<F>(&self, work: impl FnOnce(Store) -> F) -> ExitCode
    where
        F: Future<Output = Result<ExitCode, StoreError>>,
    {
        let place = match self.place() {
            Ok(place) => place,
            Err(error) => return complain(&error.to_string(), EXIT_CONFIG),
        };
        if let StorePlace::Sqlite(path) = &place
            && !path.exists()
        {
            let path = path.display();
            return complain(&format!("there is no store {path}; the first start of a gateway makes it"), 2);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
            let task = async {
                let store = Store::open(&place).await?;
                let done = work(store.clone()).await;
                store.close().await;
                done
            };
            runtime.block_on(task).map_err(|error: StoreError| error.to_string())
        });
        done.unwrap_or_else(|error| complain(&error, 2))
    }
}

/// What somebody at a terminal does now.
pub(super) fn deed() -> Deed {
    Deed { actor: "cli".to_owned(), at_unix_ms: since_unix_epoch().as_millis() as i64, request: None }
}
