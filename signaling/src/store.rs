//! What outlives a process: organisations, teams, keys, and the audit log.
//!
//! SQLite in the data folder, or PostgreSQL: the same SQL and the same migrations, which only go forward. Nothing on the
//! path of an audio frame comes here.
//!
//! - [`tenants`]: organisations and teams.
//! - [`keys`]: API keys, as hashes.
//! - [`ledger`]: what sessions cost.
//! - [`budgets`]: what they may cost, as far as it is set while gateways run.
//! - [`usage`]: the same, added up.
//! - [`request`]: requests that may come twice and are to do something once.
//! - [`administration`]: what the administration asks of all of these.
//! - [`revisions`]: the configurations gateways have run with.
//! - [`audit`]: who did what, each entry chained to the one before it.

pub mod administration;
pub mod audit;
pub mod budgets;
pub mod keys;
pub mod ledger;
pub mod request;
pub mod revisions;
pub mod tenants;
pub mod usage;

use std::fmt;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnectionMetadata;
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Executor as _, SqlSafeStr as _};
use thiserror::Error;

/// The migrations in their order. One that was published is never changed: stores remember what they ran.
const MIGRATIONS: &[(&str, &str)] = &[
    ("tenants, keys, audit", include_str!("store/migrations/0001_tenants_keys_audit.sql")),
    ("ledger", include_str!("store/migrations/0002_ledger.sql")),
    ("requests", include_str!("store/migrations/0003_requests.sql")),
    ("revisions of the configuration", include_str!("store/migrations/0004_revisions.sql")),
    ("order of the ledger", include_str!("store/migrations/0005_ledger_order.sql")),
    ("budgets", include_str!("store/migrations/0006_budgets.sql")),
];

/// Longest wait for a connection to a server. Whoever waits is a person or a refresh that comes again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a file of this machine, which nothing but a busy disk delays.
const FILE_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections of one process. Few: sessions do not come here, people and flushes do.
const MOST_CONNECTIONS: u32 = 4;

/// The name of the SQLite file in the data folder.
pub const FILE_NAME: &str = "voxgate.db";

/// What can go wrong with a store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file cannot be made.
    #[error("cannot use the store {path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The address is none. It is not repeated: it holds a password.
    #[error("the address of the store is not a postgres:// URL")]
    MalformedUrl,
    /// The tables cannot be brought up to date.
    #[error("the tables of the store cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The database refused, or is away.
    #[error("the store does not answer as it should: {0}")]
    Database(#[from] sqlx::Error),
    /// What is asked for does not exist.
    #[error("there is no {what} {id:?}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// There is one of this name already.
    #[error("there is a {what} {id:?} already")]
    Exists {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// There may not be more of these.
    #[error("there are too many of this kind: {what}")]
    TooMany {
        /// What kind of thing.
        what: &'static str,
    },
    /// The same idempotency key came with something else.
    #[error("this idempotency key was used for another request")]
    OtherRequest,
    /// A stored value that nothing of this program wrote.
    #[error("the store holds a damaged {what}")]
    Damaged {
        /// What kind of value.
        what: &'static str,
    },
}

/// Where the store is.
#[derive(Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// A file, made if missing, for its owner only.
    Sqlite(PathBuf),
    /// A `postgres://` URL. Holds a password.
    Postgres(String),
}

impl fmt::Debug for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(..)"),
        }
    }
}

/// An open store. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store(..)")
    }
}

impl Store {
    /// Opens the store and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreError`]: the file cannot be made, the server is away or refuses, or its tables are newer than this program.
    pub async fn open(place: &StorePlace) -> Result<Self, StoreError> {
        let store = Self::name(place)?;
        store.prepare().await?;
        Ok(store)
    }

    /// Names the store without waiting for it: it is connected to when it is first asked. [`Store::prepare`] comes before
    /// everything else.
    ///
    /// # Errors
    /// [`StoreError`]: the file cannot be made, or the address is none.
    pub fn name(place: &StorePlace) -> Result<Self, StoreError> {
        let pool = match place {
            StorePlace::Sqlite(path) => open_file(path)?,
            StorePlace::Postgres(url) => open_server(url)?,
        };
        Ok(Self { pool })
    }

    /// Brings the tables up to date.
    ///
    /// # Errors
    /// [`StoreError`]: the server is away or refuses, or its tables are newer than this program.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        // With a connection that is none of the others: migrations take a lock that would stay with it if this were
        // cancelled half-way, and keep out everybody who comes later.
        let patience = self.pool.options().get_acquire_timeout();
        let alone = AnyPoolOptions::new().max_connections(1).acquire_timeout(patience);
        let alone = alone.connect_lazy_with((*self.pool.connect_options()).clone());
        // Whoever is away is said to be away, and not to have bad tables.
        drop(alone.acquire().await?);
        Migrator::with_migrations(migrations()).run(&alone).await?;
        alone.close().await;
        Ok(())
    }

    /// Closes every connection; what was written is on disk.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn migrations() -> Vec<Migration> {
    let numbered = (1..).zip(MIGRATIONS);
    let read = numbered.map(|(version, (name, sql))| {
        Migration::new(version, (*name).into(), MigrationType::Simple, (*sql).into_sql_str(), false)
    });
    read.collect()
}

fn open_server(url: &str) -> Result<AnyPool, StoreError> {
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(StoreError::MalformedUrl);
    }
    connect(url, CONNECT_TIMEOUT, |_, _| Box::pin(async { Ok(()) }))
}

/// Opens a SQLite file, made if missing.
pub(crate) fn open_file(path: &Path) -> Result<AnyPool, StoreError> {
    connect(&sqlite_url(path)?, FILE_TIMEOUT, |connection, _| {
        Box::pin(async move {
            // Readers do not wait for the writer, and what is committed survives a power cut.
            connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").await?;
            Ok(())
        })
    })
}

fn connect<F>(url: &str, patience: Duration, prepare: F) -> Result<AnyPool, StoreError>
where
    for<'c> F: Fn(&'c mut AnyConnection, PoolConnectionMetadata) -> BoxFuture<'c, Result<(), sqlx::Error>>
        + Send
        + Sync
        + 'static,
{
    install_default_drivers();
    let options = AnyConnectOptions::from_str(url).map_err(|_| StoreError::MalformedUrl)?;
    let pool = AnyPoolOptions::new()
        .max_connections(MOST_CONNECTIONS)
        .acquire_timeout(patience)
        .after_connect(prepare)
        .connect_lazy_with(options.disable_statement_logging());
    Ok(pool)
}

/// Makes the file for its owner only, and its URL. SQLite gives its companions the same permissions.
fn sqlite_url(path: &Path) -> Result<String, StoreError> {
    let failed = |source| StoreError::File { path: path.display().to_string(), source };
    let path = std::path::absolute(path).map_err(failed)?;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed)?;
    let mut url = "sqlite://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                url.push(char::from(*byte))
            }
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    Ok(url)
}

#[cfg(test)]
pub(crate) mod tests;
