//! The state directory: one directory per container below it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{deleted_meanwhile, id, not_found};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::Host;
use crate::sys::fs::{self, OFlags};

/// Where vzrun keeps what it has to remember (`--root`). Belongs on a tmpfs: it is worth nothing after a reboot.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// Takes this directory. It need not be there yet.
    ///
    /// # Errors
    /// `/` is refused: containers would be made among the directories of the system.
    pub fn new(path: impl Into<PathBuf>) -> Result<Root> {
        let path = std::path::absolute(path.into()).context(|| "--root")?;
        if path == Path::new("/") {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "the state directory cannot be /",
            ));
        }
        Ok(Root { path })
    }

    /// `/run/vzrun`; `$XDG_RUNTIME_DIR/vzrun` for an ordinary user, and in a user namespace where $USER is not root.
    pub fn default_path() -> PathBuf {
        let rootless = Host::look(None).is_ok_and(|host| {
            let user = std::env::var_os("USER");
            host.euid != 0 || host.in_user_namespace && user.is_none_or(|user| user != "root")
        });
        match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| rootless && !dir.is_empty()) {
            Some(runtime) => PathBuf::from(runtime).join("vzrun"),
            None => PathBuf::from("/run/vzrun"),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a container's directory, for what must be named by path.
    pub(super) fn container_path(&self, id: &str) -> PathBuf {
        self.path.join(id)
    }

    /// Opens the state directory itself; `None` where it is not there.
    pub(super) fn open(&self) -> Result<Option<OwnedFd>> {
        match fs::open(&self.path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if fs::is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a container's directory. (Not O_PATH: it is also what commands lock.)
    pub(super) fn open_container(&self, id: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match fs::openat(fs::CWD, self.path.join(id), flags, 0) {
            Err(error) if fs::is_missing(&error) => Err(not_found()),
            other => other,
        }
    }

    /// Makes a container's directory, and the state directory where that is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`]: `container with given ID already exists`.
    pub(super) fn create_container(&self, id: &str) -> Result<OwnedFd> {
        id::check(id)?;
        let path = self.path.join(id);
        let made = match fs::mkdirat(fs::CWD, &path, 0o700) {
            Err(error) if fs::is_missing(&error) => {
                self.create()?;
                fs::mkdirat(fs::CWD, &path, 0o700)
            }
            other => other,
        };
        match made {
            Err(error) if error.errno() == Some(Errno::EXIST) => Err(Error::new(
                ErrorKind::Exists,
                "container with given ID already exists",
            )),
            Err(error) => Err(error),
            Ok(()) => self.open_container(id).map_err(|error| match error.kind() {
                ErrorKind::NotFound => deleted_meanwhile(),
                _ => {
                    // Without a descriptor it cannot be told from another one of the same name; but that has something
                    // in it, or its creator sees that it is gone.
                    let _ = fs::rmdirat(fs::CWD, &path);
                    error
                }
            }),
        }
    }

    fn create(&self) -> Result<()> {
        let old = crate::sys::process::umask(0o077);
        let made = std::fs::create_dir_all(&self.path);
        crate::sys::process::umask(old);
        made.context(|| format!("creating the state directory {}", self.path.display()))?;
        if self.path == Root::default_path() && !self.path.starts_with("/run/vzrun") {
            // $XDG_RUNTIME_DIR may be cleaned of what is old; the sticky bit says: keep (XDG base directory spec).
            fs::fchmodat(fs::CWD, &self.path, 0o1700)?;
        }
        Ok(())
    }
}
