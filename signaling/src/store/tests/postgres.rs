//! A PostgreSQL server of its own for one test: Debian's package, a folder that is thrown away, reached over a socket in that
//! folder, so that no port is taken.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::{Store, StorePlace};
use super::temporary_folder;

/// PostgreSQL refuses to run as root; this user owns nothing.
const NOBODY: u32 = 65_534;

/// Looks for the first answer of a server: 30 s on a busy machine.
const ATTEMPTS: u32 = 300;

pub(crate) struct PostgresServer {
    folder: PathBuf,
    process: Child,
}

impl PostgresServer {
    /// Makes a cluster and starts it. It may not answer yet.
    pub(crate) fn start() -> Self {
        let folder = temporary_folder("postgres");
        if is_root() {
            std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let made = program("initdb")
            .args(["--auth=trust", "--username=voxgate", "--encoding=UTF8", "--locale=C"])
            .args(["--no-sync", "--no-instructions", "--pgdata"])
            .arg(folder.join("data"))
            .current_dir(&folder)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        let process = run(&folder);
        Self { folder, process }
    }

    /// Where it is reached.
    pub(crate) fn url(&self) -> String {
        format!("postgres://voxgate@localhost/postgres?host={}", self.folder.display())
    }

    /// The store of this server, once it answers.
    pub(crate) async fn first_answer(&self, place: &StorePlace) -> Store {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match Store::open(place).await {
                Ok(store) => return store,
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("PostgreSQL never answered: {last:?}");
    }

    /// Ends it at once, as a power cut does.
    pub(crate) fn stop(&mut self) {
        let quit = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        assert!(quit.unwrap().success());
        self.process.wait().unwrap();
    }

    /// Starts it again on the same data.
    pub(crate) fn start_again(&mut self) {
        self.process = run(&self.folder);
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.stop();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn run(folder: &Path) -> Child {
    program("postgres")
        .arg("-D")
        .arg(folder.join("data"))
        .arg("-k")
        .arg(folder)
        // Nothing of a test has to survive the machine, and few connections need little memory.
        .args(["-h", "", "-F", "-c", "max_connections=20", "-c", "shared_buffers=16MB"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A program of PostgreSQL that ends with this one, as a user it accepts.
fn program(name: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        let user = NOBODY.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    }
    command.arg(newest_installation().join(name));
    command
}

/// Debian keeps one folder a version.
fn newest_installation() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = folders.max_by_key(|folder| folder.file_name().to_string_lossy().parse::<u32>().ok());
    newest.expect("PostgreSQL is not installed; `scripts/install test` does it").path().join("bin")
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
