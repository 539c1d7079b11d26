//! What engines do around a runtime: they hand it files, they read its log and its pid files, and they are the ones who
//! reap a container's init.

use crate::{Bundle, DEADLINE, Runtime, wait_exit};
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A file for `--log` with `--log-format json`, read as the engines read it.
#[derive(Debug)]
pub struct EngineLog {
    path: PathBuf,
}

impl EngineLog {
    /// The file `name` in this directory; the runtime makes it.
    pub fn at(dir: &Path, name: &str) -> EngineLog {
        EngineLog {
            path: dir.join(name),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Whatever is in it, nothing when it was not made.
    pub fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// Its records: one JSON object a line, each with a level, a message and a time that Go's RFC 3339 parser takes.
    #[track_caller]
    pub fn records(&self) -> Vec<Value> {
        let text = self.text();
        let mut records = Vec::new();
        for line in text.lines() {
            let record: Value = serde_json::from_str(line)
                .unwrap_or_else(|e| panic!("{e} in the line {line:?} of the log:\n{text}"));
            assert!(
                record["level"].is_string() && record["msg"].is_string(),
                "{line}"
            );
            assert!(is_rfc3339(record["time"].as_str().unwrap()), "{line}");
            records.push(record);
        }
        records
    }

    /// The error as containerd's shim finds it: the last record of level error, blanks cut off.
    #[track_caller]
    pub fn last_error(&self) -> String {
        let records = self.records();
        let error = records.iter().rfind(|record| record["level"] == "error");
        let error = error.unwrap_or_else(|| panic!("no error in the log:\n{}", self.text()));
        error["msg"].as_str().unwrap().trim().to_string()
    }

    /// The error as Podman finds it: the whole file is one JSON value, or Podman turns to stderr.
    #[track_caller]
    pub fn only_error(&self) -> String {
        let text = self.text();
        let record: Value = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("more or less than one record ({e}):\n{text}"));
        assert_eq!(record["level"], "error", "{text}");
        record["msg"].as_str().unwrap().to_string()
    }
}

fn is_rfc3339(time: &str) -> bool {
    let form: String = time
        .chars()
        .take(19)
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    form == "0000-00-00T00:00:00"
        && (time.ends_with('Z') || time[19..].contains('+') || time[19..].contains('-'))
}

impl Bundle {
    /// `create --bundle DIR --pid-file FILE FLAGS ID`, which all engines have in this order.
    pub fn create_words(&self, pid_file: &Path, flags: &[&str]) -> Vec<String> {
        let dir = self.dir();
        let paths = [dir.to_str().unwrap(), pid_file.to_str().unwrap()];
        let words = ["create", "--bundle", paths[0], "--pid-file", paths[1]];
        let words = words.iter().chain(flags).copied().chain([self.id()]);
        words.map(str::to_string).collect()
    }

    /// A file for `exec --process`: the container's own process with other words.
    pub fn process_file(&self, args: &[&str], terminal: bool) -> String {
        let path = self.home().join("exec-process");
        let mut process = self.config()["process"].clone();
        process["args"] = json!(args);
        process["terminal"] = json!(terminal);
        fs::write(&path, process.to_string()).unwrap();
        path.to_str().unwrap().to_string()
    }
}

/// The pid in a pid file, as Go's strconv.Atoi takes it: digits and nothing else.
#[track_caller]
pub fn pid_in(file: &Path) -> i32 {
    let text = fs::read_to_string(file).unwrap();
    text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

/// Makes this process the parent of what its descendants leave behind, as conmon, the shim and
/// Buildah do. It holds for the whole test binary, so each test there reaps its inits ([`reap`]).
pub fn become_subreaper() {
    set_child_subreaper(Some(getpid())).unwrap();
}

/// The parent of a process.
#[track_caller]
pub fn parent_of(pid: i32) -> i32 {
    let file = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("PPid:"));
    lines.next().unwrap().trim().parse().unwrap()
}

/// Waits for a process that has become ours, and gives its exit code, or 128 and its signal.
#[track_caller]
pub fn reap(pid: i32) -> i32 {
    assert!(
        wait_exit(pid, DEADLINE),
        "{pid} of {} is still there",
        Runtime::get().name()
    );
    let (_, status) = waitpid(Pid::from_raw(pid), WaitOptions::empty())
        .unwrap()
        .unwrap();
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    signal.unwrap_or_else(|| status.exit_status().unwrap())
}
