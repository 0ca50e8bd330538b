//! Where and with what it was measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// A description of the machine and the versions, for the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The processor's own name for itself.
    pub processor: String,
    /// Processors the system sees.
    pub processors: usize,
    /// Main memory in GiB.
    pub memory_gib: u64,
    /// Kernel.
    pub system: String,
    /// Load averages over 1, 5 and 15 minutes before the start.
    pub load_before: String,
    /// Version of the gateway.
    pub gateway: String,
    /// Version of the compiler.
    pub compiler: String,
    /// Commit of the source, with a note if there are changes on top.
    pub commit: String,
}

impl Machine {
    /// Looks at this machine. What cannot be found out is said to be unknown.
    #[must_use]
    pub fn look(gateway: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        let changes = output(Command::new("git").args(["status", "--porcelain", "--untracked-files=no"]));
        let commit = output(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]));
        let note =
            if changes.is_some_and(|changes| !changes.is_empty()) { " with uncommitted changes" } else { "" };
        let load = read("/proc/loadavg");
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: field(&read("/proc/meminfo"), "MemTotal")
                .trim_end_matches(" kB")
                .parse::<u64>()
                .map_or(0, |kilobytes| kilobytes.div_ceil(1 << 20)),
            system: format!("{} {}", std::env::consts::OS, known(kernel.trim())),
            load_before: load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            gateway: output(Command::new(gateway).arg("--version")).unwrap_or_else(unknown),
            compiler: output(Command::new("rustc").arg("--version")).unwrap_or_else(unknown),
            commit: commit.map_or_else(unknown, |commit| commit + note),
        }
    }

    /// For the record.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "processor": self.processor, "processors": self.processors, "memory_gib": self.memory_gib,
            "system": self.system, "load_before": self.load_before, "gateway": self.gateway,
            "compiler": self.compiler, "commit": self.commit,
        })
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn known(text: &str) -> String {
    if text.is_empty() { unknown() } else { text.to_owned() }
}

/// The first value of a `name: value` line.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    known(line.map_or("", |rest| rest.trim_start_matches([' ', '\t', ':']).trim_end()))
}

/// What a program prints, on one line; nothing if it fails.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_kernel_are_found_and_missing_ones_are_unknown() {
        let text = "processor\t: 0\nmodel name\t: A Fast One\nMemTotal:       1024 kB\n";
        assert_eq!(field(text, "model name"), "A Fast One");
        assert_eq!(field(text, "MemTotal"), "1024 kB");
        assert_eq!(field(text, "cache size"), "unknown");
    }
}
