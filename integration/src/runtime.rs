//! The binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Whose binary it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// opencontainers/runc
    Runc,
    /// containers/crun
    Crun,
    /// ours
    Vzrun,
}

/// The binary under test and what it says of itself.
#[derive(Debug)]
pub struct Runtime {
    path: PathBuf,
    kind: Kind,
    version: (u32, u32),
}

impl Runtime {
    /// The runtime that `VZRUN_TEST_RUNTIME` names, or the release build of vzrun in `target/`.
    pub fn get() -> &'static Runtime {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        RUNTIME.get_or_init(|| match std::env::var_os("VZRUN_TEST_RUNTIME") {
            Some(name) => Runtime::open(&find_in_path(Path::new(&name))),
            None => Runtime::open(&built("vzrun")),
        })
    }

    /// Another one than that under test, if there is one at this path.
    pub fn at(path: impl AsRef<Path>) -> Option<&'static Runtime> {
        let path = path.as_ref();
        // As many as there are names in tests.
        path.is_file()
            .then(|| &*Box::leak(Box::new(Runtime::open(path))))
    }

    fn open(path: &Path) -> Runtime {
        let output = Command::new(path)
            .arg("--version")
            .env_remove("NOTIFY_SOCKET")
            .output()
            .unwrap_or_else(|e| panic!("VZRUN_TEST_RUNTIME: {}: {e}", path.display()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text.split_whitespace();
        let kind = match words.next() {
            Some("runc") => Kind::Runc,
            Some("crun") => Kind::Crun,
            Some("vzrun") => Kind::Vzrun,
            _ => panic!(
                "{} --version says {text:?}: not a runtime we know",
                path.display()
            ),
        };
        let numbers = words.nth(1).unwrap_or_default();
        let mut numbers = numbers
            .split(['.', '-', '+', '~'])
            .map(|n| n.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Runtime {
            path: path.to_path_buf(),
            kind,
            version,
        }
    }

    /// Where the binary lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its version: major, minor.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The word that it begins its `--version` with.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Runc => "runc",
            Kind::Crun => "crun",
            Kind::Vzrun => "vzrun",
        }
    }

    /// One line in the test's output for a difference that is known ([`crate::differs!`]).
    pub fn print_difference(&self, reason: &str) {
        let (major, minor) = self.version;
        eprintln!(
            "DIFFERS {} on {} {major}.{minor}: {reason}",
            crate::test_name(),
            self.name()
        );
    }
}

/// The release build of one of this workspace's binaries.
pub(crate) fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/static")
        .join(name)
}

fn find_in_path(name: &Path) -> PathBuf {
    if name.is_absolute() {
        return name.to_path_buf();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("VZRUN_TEST_RUNTIME={}: not in PATH", name.display()))
}
