//! A Redis server of its own for one test: Debian's package, nothing on disk, reached over a socket in a folder that is thrown
//! away, so that no port is taken.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::SharedLimits;

/// Looks for the first answer: 30 s on a busy machine.
const ATTEMPTS: u32 = 300;

pub(crate) struct RedisServer {
    folder: PathBuf,
    process: Child,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let folder = crate::store::tests::temporary_folder("redis");
        let process = run(&folder);
        Self { folder, process }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.folder.join("socket").display())
    }

    /// Returns once it answers.
    pub(crate) async fn wait_for_answer(&self, limits: &SharedLimits) {
        for _ in 0..ATTEMPTS {
            if limits.held(0, "nothing").await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("Redis never answered");
    }

    pub(crate) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, empty.
    pub(crate) fn start_again(&mut self) {
        self.process = run(&self.folder);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.stop();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn run(folder: &PathBuf) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server", "--port", "0", "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(folder)
        .arg("--unixsocket")
        .arg(folder.join("socket"))
        .stdout(Stdio::null())
        .spawn()
        .expect("Redis is not installed; `scripts/install test` does it")
}
