//! state.json: the facts about a container that cannot be found out later. Its status is never among them.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Context, Error, Result};
use crate::setup::intel_rdt;
use crate::spec;
use crate::sys::fs::{self, OFlags};

const NAME: &str = "state.json";
const NEW_NAME: &str = "state.json.new";
/// Larger than any config.json that is accepted.
const LIMIT: u64 = 64 << 20;

/// The facts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) id: String,
    /// The container's init; 0 while there is none yet.
    pub(super) pid: i32,
    /// Its start time (field 22 of proc_pid_stat(5)): with the pid, its name for ever.
    pub(super) start_time: u64,
    /// RFC 3339, UTC.
    pub(super) created: String,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) oci_version: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    /// Its cgroup below the root of the hierarchy.
    pub(super) cgroup: Option<PathBuf>,
    /// CLONE_NEW* of the namespaces that it does not share with its creator.
    pub(super) namespaces: u64,
    /// It has a pid namespace of its own: with init, all of it ends.
    pub(super) own_pid_namespace: bool,
    /// It was made without a session keyring of its own.
    #[serde(default)]
    pub(super) no_new_keyring: bool,
    /// There are hooks for after its end.
    pub(super) poststop_hooks: bool,
    /// There are hooks for after its start.
    pub(super) poststart_hooks: bool,
    #[serde(default)]
    pub(super) intel_rdt: Option<intel_rdt::Group>,
    /// config.json as it was used.
    pub(super) config: Box<RawValue>,
}

impl Record {
    /// Reads the record in a container's directory.
    pub(super) fn load(directory: &OwnedFd) -> Result<Record> {
        let fd = fs::openat(directory, NAME, OFlags::RDONLY | OFlags::NOFOLLOW, 0)?;
        let bytes = fs::read_to_end(fd, LIMIT).context(|| NAME)?;
        serde_json::from_slice(&bytes).map_err(|error| Error::config(format!("{NAME}: {error}")))
    }

    /// Writes the record beside the present one, not yet in its place.
    pub(super) fn write(&self, directory: &OwnedFd) -> Result<()> {
        let text =
            serde_json::to_vec(self).map_err(|error| Error::config(format!("{NAME}: {error}")))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let file = fs::openat(directory, NEW_NAME, flags, 0o600)?;
        fs::write_once(file, &text)
    }

    /// Puts what [`Record::write`] has written into place; at every instant there is a whole record or none.
    pub(super) fn publish(directory: &OwnedFd) -> Result<()> {
        fs::renameat(directory, NEW_NAME, NAME)
    }

    /// The config that the container was made from.
    pub(super) fn spec(&self) -> Result<spec::Spec> {
        spec::parse_kept(&self.config)
    }

    /// What hooks are told.
    pub(super) fn hook_state(&self) -> spec::HookState {
        spec::HookState {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            status: "",
            pid: 0,
            bundle: self.bundle.display().to_string(),
            root: self.rootfs.display().to_string(),
            annotations: self.annotations.clone(),
        }
    }
}

/// Removes the container's files. The record goes last: as long as there is something left, there is a record of it.
pub(super) fn remove(directory: &OwnedFd) -> Result<()> {
    let listing = fs::openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let mut names = fs::names(&listing)?;
    names.sort_by_key(|name| name.to_bytes() == NAME.as_bytes());
    for name in names {
        let name = name.to_string_lossy();
        let removed = match fs::unlinkat(directory, &*name) {
            Err(error) if error.errno() == Some(rustix::io::Errno::ISDIR) => {
                remove_directory(directory.as_fd(), &name)
            }
            other => other,
        };
        match removed {
            Err(error) if !fs::is_missing(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The notify socket's directory, with the socket in it.
fn remove_directory(parent: std::os::fd::BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = fs::openat(parent, name, flags, 0)?;
    for inner in fs::names(&directory)? {
        fs::unlinkat(&directory, &*inner.to_string_lossy())?;
    }
    fs::rmdirat(parent, name)
}
