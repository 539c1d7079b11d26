//! How a call ended, and what a test may want of that.

use crate::{Kind, Runtime};
use serde_json::Value;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// How a call ended and what it printed.
#[derive(Clone, Debug)]
pub struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
    /// What it printed to stdout (bytes that are no UTF-8 replaced).
    pub stdout: String,
    /// What it printed to stderr.
    pub stderr: String,
    /// The file that holds its stdout, also what a container left behind prints later.
    pub out_path: PathBuf,
    /// How long it took.
    pub elapsed: Duration,
}

impl Output {
    /// Its exit code; none when a signal killed it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that killed it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Fails the test unless it exited 0.
    #[track_caller]
    pub fn ok(self) -> Output {
        self.exits(0)
    }

    /// Fails the test unless it exited with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Output {
        assert!(
            self.code() == Some(code),
            "wanted exit code {code} of\n{}",
            self.describe()
        );
        self
    }

    /// Fails the test unless it exited with a code other than 0 and said something on stderr.
    #[track_caller]
    pub fn fails(self) -> Output {
        let failed = matches!(self.code(), Some(1..));
        assert!(failed, "wanted a failure of\n{}", self.describe());
        assert!(
            !self.stderr.trim().is_empty(),
            "a failure without a word:\n{}",
            self.describe()
        );
        self
    }

    /// Fails the test unless its stderr has one of these texts, in whatever case.
    #[track_caller]
    pub fn says_any(self, texts: &[&str]) -> Output {
        // A log line in logrus' text format quotes the quotes in it.
        let stderr = self.stderr.replace("\\\"", "\"").to_lowercase();
        let found = texts
            .iter()
            .any(|text| stderr.contains(&text.to_lowercase()));
        assert!(
            found,
            "wanted one of {texts:?} in the stderr of\n{}",
            self.describe()
        );
        self
    }

    /// Fails the test unless its stderr has this text, in whatever case.
    #[track_caller]
    pub fn says(self, text: &str) -> Output {
        self.says_any(&[text])
    }

    /// Fails the test unless its stderr has runc's text, or on crun that one's.
    #[track_caller]
    pub fn says_or_crun(self, runc: &str, crun: &str) -> Output {
        self.says(if Runtime::get().kind() == Kind::Crun {
            crun
        } else {
            runc
        })
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("no JSON ({e}) from\n{}", self.describe()))
    }

    /// All that there is to say about it, for a failed test.
    pub fn describe(&self) -> String {
        format!(
            "{}\n{}\nstdout: {}\nstderr: {}",
            self.said, self.status, self.stdout, self.stderr
        )
    }
}
