//! The one door for OCI JSON: config.json, process.json, mounts and hooks come in here and nowhere else.
//!
//! The types are those of the `oci-spec` crate. In front of it stands a reader as tolerant as Go's, because bundles are
//! written by and for Go programs: unknown keys are passed over, `null` is as good as absent, the last of two equal
//! keys wins, and an unknown capability is left out with a warning. A wrong type or value is an error that names the
//! place in the JSON.

mod annotations;
mod reader;
mod resources;
mod seccomp;
mod state;

pub(crate) use annotations::{annotation, switch};
pub(crate) use oci_spec::runtime::*;
pub(crate) use resources::{merge_resources, parse_resources};
pub(crate) use state::HookState;

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs::{self, OFlags};

/// The newest runtime specification whose config.json is understood.
pub(crate) const VERSION: &str = "1.3.0";

/// The largest config.json that is read: 32 MiB. Real ones have some ten KiB.
const LIMIT: u64 = 32 << 20;

/// A config.json: what it says, and its text as it was given.
#[derive(Debug)]
pub(crate) struct Config {
    /// What it says.
    pub(crate) spec: Spec,
    /// The JSON it was read from, for the state: a whole document.
    pub(crate) text: std::boxed::Box<str>,
}

/// Reads a config.json.
///
/// # Errors
/// As runc where it is missing: `JSON specification file config.json not found`.
pub(crate) fn load(path: &Path) -> Result<Config> {
    let bytes = read_file(path).map_err(|error| {
        if fs::is_missing(&error) {
            // Engines look for these words; the directory is known to who called.
            let name = path
                .file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy();
            let text = format!("JSON specification file {name} not found");
            return Error::new(ErrorKind::InvalidConfig, text);
        }
        error
    })?;
    parse(bytes).context(|| path.display())
}

/// Reads a config.json from its bytes.
pub(crate) fn parse(bytes: Vec<u8>) -> Result<Config> {
    let mut spec = reader::read(&bytes)?;
    resources::settle_pids(&mut spec, &bytes);
    // A text that could be read is a document, unless it has something else in a string that nobody looked at.
    let text = String::from_utf8(bytes).map_err(|_| Error::config("not valid UTF-8"))?;
    let text = text.into_boxed_str();
    Ok(Config { spec, text })
}

/// Reads the text of a config.json that was kept in the state.
pub(crate) fn parse_kept(text: &str) -> Result<Spec> {
    let mut spec = reader::read(text.as_bytes())?;
    resources::settle_pids(&mut spec, text.as_bytes());
    Ok(spec)
}

/// What a config without `linux` asks for: nothing. (The type's own default is that of a whole example.)
pub(crate) fn empty_linux() -> Result<Linux> {
    reader::read(b"{}")
}

/// Reads a process.json (`exec --process`).
pub(crate) fn load_process(path: &Path) -> Result<Process> {
    let bytes = read_file(path)?;
    reader::read(&bytes).context(|| path.display())
}

/// Reads what stands in `linux.seccomp`.
pub(crate) fn parse_seccomp(bytes: &[u8]) -> Result<LinuxSeccomp> {
    reader::read_with(bytes, |profile| seccomp::complete(profile, ""))
}

/// Reads an OCI document of any kind from a file of the host.
fn read_file(path: &Path) -> Result<Vec<u8>> {
    let fd: OwnedFd = fs::open(path, OFlags::RDONLY)?;
    fs::read_to_end(fd, LIMIT).context(|| path.display())
}

/// A path of the config made absolute, with `.` and `..` taken out by their text, as runc does.
pub(crate) fn clean_path(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            _ => {}
        }
    }
    cleaned
}
