//! One set of tests, run against both databases.

mod audit;
mod budgets;
pub(crate) mod keys;
mod postgres;
mod revisions;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use postgres::PostgresServer;

use super::audit::Deed;
use super::*;

/// A store of its own for one test.
pub(crate) struct TestStore {
    store: Store,
    pub(crate) place: StorePlace,
    keeper: Keeper,
}

/// What goes away with the test.
enum Keeper {
    Folder(PathBuf),
    Server(PostgresServer),
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Self::Folder(folder) = self {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl TestStore {
    /// The server behind it.
    pub(crate) fn server(&mut self) -> &mut PostgresServer {
        match &mut self.keeper {
            Keeper::Server(server) => server,
            Keeper::Folder(_) => panic!("a file has no server"),
        }
    }

    /// Changes rows behind the back of the program.
    pub(crate) async fn tamper(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }
}

pub(crate) async fn sqlite() -> TestStore {
    let folder = temporary_folder("sqlite");
    // A name that a URL has to escape.
    let place = StorePlace::Sqlite(folder.join("a store 100% é?.db"));
    let store = Store::open(&place).await.unwrap();
    TestStore { store, place, keeper: Keeper::Folder(folder) }
}

pub(crate) async fn postgres() -> TestStore {
    let server = PostgresServer::start();
    let place = StorePlace::Postgres(server.url());
    let store = server.first_answer(&place).await;
    TestStore { store, place, keeper: Keeper::Server(server) }
}

pub(crate) fn temporary_folder(name: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("voxgate-{name}-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

pub(crate) fn deed(at_unix_ms: i64) -> Deed {
    Deed { actor: "cli".to_owned(), at_unix_ms, request: None }
}

/// Makes one test for each database of every function named.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::store::tests::sqlite().await).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::store::tests::postgres().await).await;
            })+
        }
    };
}
pub(crate) use on_both_stores;

on_both_stores!(a_store_that_is_opened_again_keeps_what_it_holds, tables_newer_than_the_program_are_refused);

async fn a_store_that_is_opened_again_keeps_what_it_holds(store: TestStore) {
    let organisation =
        tenants::Organisation { id: "org_1".to_owned(), name: "Ünïcode ' \"".to_owned(), created_at: 7 };
    store.add_organisation(&organisation, &deed(1)).await.unwrap();
    let again = Store::open(&store.place).await.unwrap();
    let found = again.organisations("", 10).await.unwrap();
    assert!(found.contains(&organisation), "{found:?}");
    assert_eq!(found.len(), 2, "the default one was there already");
}

async fn tables_newer_than_the_program_are_refused(store: TestStore) {
    store.tamper("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 3").await;
    let error = Store::open(&store.place).await.unwrap_err();
    assert!(matches!(error, StoreError::Migration(_)), "{error}");
}

#[tokio::test]
async fn the_file_is_for_its_owner_only_and_so_are_its_companions() {
    use std::os::unix::fs::PermissionsExt as _;
    let store = sqlite().await;
    store
        .add_organisation(
            &tenants::Organisation { id: "org_1".to_owned(), name: String::new(), created_at: 0 },
            &deed(1),
        )
        .await
        .unwrap();
    let StorePlace::Sqlite(path) = &store.place else { panic!("another store") };
    let files: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() > 1, "the write-ahead log lies beside it");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{file:?}");
    }
}

#[tokio::test]
async fn neither_a_place_nor_an_error_shows_the_password() {
    let place = StorePlace::Postgres("postgres://gate:swordfish@127.0.0.1:1/x".to_owned());
    assert!(!format!("{place:?}").contains("swordfish"));
    let error = Store::open(&place).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("swordfish"));
    let error = Store::open(&StorePlace::Postgres("swordfish".to_owned())).await.unwrap_err();
    assert!(matches!(error, StoreError::MalformedUrl));
}
