//! The container's cgroup in the cgroup2 hierarchy (cgroups(7), Documentation/admin-guide/cgroup-v2.rst).
//!
//! A cgroup is reached by a path only once; from then on through its directory's descriptor. Paths cannot leave the
//! hierarchy: they are resolved beneath its mount point.

mod cells;
mod controllers;
mod delegation;
mod devices;
#[cfg(feature = "fuzz")]
pub mod doors;
mod freezer;
pub(crate) mod limits;
mod path;
pub(crate) mod stats;
pub(crate) mod systemd;
mod tree;
mod watch;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;

pub(crate) use delegation::Delegation;
pub(crate) use devices::DeviceRules;
pub(crate) use limits::Limits;
pub(crate) use path::{of_process, resolve};
pub(crate) use tree::Tree;
pub(crate) use watch::{Change, Watch};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs::{self, OFlags};
use crate::sys::poll::{self, PollFd, PollFlags};

/// CGROUP2_SUPER_MAGIC of linux/magic.h.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
/// How long to wait for a freezer or for killed processes to go, as runc does with its retries.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long processes that have been killed already may take to leave a cgroup.
const AFTERMATH: Duration = Duration::from_secs(1);
/// Between looks at something that nothing announces.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// The mounted cgroup2 hierarchy of the host.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    root: OwnedFd,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
}

impl Hierarchy {
    /// `/sys/fs/cgroup` on a host with cgroup v2 only, `/sys/fs/cgroup/unified` on a hybrid one.
    pub(crate) fn open() -> Result<Hierarchy> {
        const WORDS: &str = "looking for the cgroup v2 hierarchy";
        for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let root = match fs::open(mount, OFlags::PATH | OFlags::DIRECTORY) {
                Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NOTDIR)) => {
                    continue;
                }
                other => other.context(|| WORDS)?,
            };
            if fs::file_system(&root).context(|| WORDS)? == CGROUP2_SUPER_MAGIC {
                return Ok(Hierarchy {
                    root,
                    mount: mount.into(),
                });
            }
        }
        Err(Error::unsupported(
            "no cgroup v2 hierarchy at /sys/fs/cgroup or /sys/fs/cgroup/unified: boot with systemd.unified_cgroup_hierarchy=1",
        ))
    }

    /// The cgroup at `path` (below the root of the hierarchy, without `..`), made with those above it.
    ///
    /// # Errors
    /// As runc where it is there already with processes in it, or frozen.
    pub(crate) fn create(&self, path: &Path) -> Result<Cgroup> {
        let mut directory = fs::open_beneath(&self.root, ".", OFlags::PATH | OFlags::DIRECTORY)?;
        let mut existed = true;
        for name in path.iter().filter(|name| *name != "/") {
            existed = match fs::mkdirat(&directory, name, 0o755) {
                Ok(()) => false,
                Err(error) if error.errno() == Some(Errno::EXIST) => true,
                Err(error) => return Err(uncreatable(error, path)),
            };
            directory = fs::open_beneath(&directory, name, OFlags::PATH | OFlags::DIRECTORY)?;
        }
        let cgroup = Cgroup {
            directory,
            path: path.to_owned(),
        };
        if existed {
            cgroup.check_reusable()?;
        }
        Ok(cgroup)
    }

    /// The cgroup at `path`, `None` where there is none (any more).
    pub(crate) fn find(&self, path: &Path) -> Result<Option<Cgroup>> {
        let below = path.strip_prefix("/").unwrap_or(path);
        match fs::open_beneath(&self.root, below, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(directory) => Ok(Some(Cgroup {
                directory,
                path: path.to_owned(),
            })),
            Err(error) if fs::is_missing(&error) => Ok(None),
            Err(error) => Err(error.wrap(format!("opening the cgroup {path:?}"))),
        }
    }

    /// Checks that there is no cgroup at `path`, or one that [`Hierarchy::create`] would take.
    pub(crate) fn check_free(&self, path: &Path) -> Result<()> {
        match self.find(path)? {
            Some(cgroup) => cgroup.check_reusable(),
            None => Ok(()),
        }
    }

    /// Removes the cgroup at `path` if nothing is in it. `false`: something is.
    fn remove_empty(&self, path: &Path) -> Result<bool> {
        let below = path.strip_prefix("/").unwrap_or(path);
        if below.components().any(|part| part == Component::ParentDir) {
            return Err(Error::config(format!("the cgroup {path:?} has a .. in it")));
        }
        match fs::rmdirat(&self.root, below) {
            Ok(()) => Ok(true),
            Err(error) if fs::is_missing(&error) => Ok(true),
            Err(error) if is_busy(&error) => Ok(false),
            // On a read-only hierarchy that is said before anybody looks whether there is something to remove.
            Err(error) => match self.find(path)? {
                Some(_) => Err(error.wrap(format!("removing the cgroup {path:?}"))),
                None => Ok(true),
            },
        }
    }

    /// Removes the cgroup at `path` with all below it. With `kill`, processes that are still in it are killed: those that
    /// have outlived init in a shared pid namespace. Without, they are waited for: they are about to end, or somebody
    /// else's.
    pub(crate) fn remove(&self, path: &Path, kill: bool) -> Result<()> {
        let until = Instant::now() + if kill { PATIENCE } else { AFTERMATH };
        let mut pause = FIRST_PAUSE;
        while !self.remove_empty(path)? {
            let Some(cgroup) = self.find(path)? else {
                return Ok(());
            };
            if kill && !cgroup.processes()?.is_empty() {
                cgroup.kill()?;
            }
            cgroup.wait_for("populated 0", until, || Ok(()))?;
            cgroup.remove_children()?;
            if self.remove_empty(path)? {
                return Ok(());
            }
            if Instant::now() > until {
                let text = format!("the cgroup {path:?} is still in use");
                return Err(Error::new(ErrorKind::Process, text));
            }
            // The kernel says EBUSY for a moment longer than it says that processes are there: an ended process leaves
            // the lists of its cgroup only after its last turn on a CPU. There is nothing that could be waited on for
            // that, and no rmdir(2) that waits.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }
}

/// The processes in a cgroup itself.
fn processes_of(cgroup: &OwnedFd) -> Result<Vec<i32>> {
    match fs::read_at(cgroup, "cgroup.procs") {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        // A threaded cgroup has no list of processes of its own, and one may vanish while it is read.
        Err(error)
            if matches!(
                error.errno(),
                Some(Errno::OPNOTSUPP | Errno::NODEV | Errno::NOENT)
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn uncreatable(error: Error, path: &Path) -> Error {
    let error = match error.errno() {
        Some(Errno::ROFS) => error.wrap("mount it writable, or use --cgroup-manager=disabled"),
        _ => error,
    };
    error.wrap(format!("creating the cgroup {path:?}"))
}

/// It has processes, or groups below it.
fn is_busy(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::BUSY | Errno::NOTEMPTY))
}

/// One cgroup.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directory: OwnedFd,
    /// Its path below the root of the hierarchy.
    pub(crate) path: PathBuf,
}

impl From<Cgroup> for OwnedFd {
    fn from(cgroup: Cgroup) -> OwnedFd {
        cgroup.directory
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Cgroup {
    fn check_reusable(&self) -> Result<()> {
        let count = processes_of(&self.directory)?.len();
        if count > 0 {
            let text = format!("container's cgroup is not empty: {count} process(es) found");
            return Err(Error::new(ErrorKind::InvalidState, text));
        }
        if self.is_frozen()? {
            let text = "container's cgroup unexpectedly frozen";
            return Err(Error::new(ErrorKind::InvalidState, text));
        }
        Ok(())
    }

    /// A cgroup below this one, for `exec --cgroup`. It must be there.
    pub(crate) fn child(&self, path: &Path) -> Result<Cgroup> {
        let below = path.strip_prefix("/").unwrap_or(path);
        let below = if below.as_os_str().is_empty() {
            Path::new(".")
        } else {
            below
        };
        let directory = fs::open_beneath(&self.directory, below, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|error| error.wrap(format!("bad sub cgroup path {path:?}")))?;
        Ok(Cgroup {
            directory,
            path: self.path.join(below),
        })
    }

    /// The processes in it and below it, as the caller's pid namespace sees them.
    pub(crate) fn processes(&self) -> Result<Vec<i32>> {
        let mut pids = processes_of(&self.directory)?;
        let enter = |cgroup: &OwnedFd| {
            pids.extend(processes_of(cgroup)?);
            Ok(())
        };
        self.walk(enter, |_, _| Ok(()))?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    fn remove_children(&self) -> Result<()> {
        let leave = |parent: &OwnedFd, name: &OsStr| match fs::rmdirat(parent, name) {
            // Whoever wants it gone tries again.
            Err(error) if !fs::is_missing(&error) && !is_busy(&error) => Err(error),
            _ => Ok(()),
        };
        self.walk(|_| Ok(()), leave)
    }

    /// Goes through all cgroups below this one: `enter` is called on the way down, `leave` with the parent and the name on
    /// the way up. A container can make very many, very deep ones with long names, so neither a path nor a descriptor per
    /// level is held: the way up is `..`.
    fn walk(
        &self,
        mut enter: impl FnMut(&OwnedFd) -> Result<()>,
        mut leave: impl FnMut(&OwnedFd, &OsStr) -> Result<()>,
    ) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let words = || format!("looking for cgroups below {:?}", self.path);
        let mut here = match fs::openat(&self.directory, ".", flags, 0) {
            Err(error) if fs::is_missing(&error) => return Ok(()),
            other => other.context(words)?,
        };
        let mut open = vec![(OsString::new(), fs::directories(&here).context(words)?)];
        while let Some((_, left)) = open.last_mut() {
            if let Some(name) = left.pop() {
                match fs::openat(&here, &name, flags, 0) {
                    Err(error) if fs::is_missing(&error) => {}
                    other => {
                        here = other?;
                        enter(&here)?;
                        open.push((name, fs::directories(&here).context(words)?));
                    }
                }
                continue;
            }
            let done = open.pop();
            if let (Some((name, _)), false) = (done, open.is_empty()) {
                here = fs::openat(&here, "..", flags, 0)?;
                leave(&here, &name)?;
            }
        }
        Ok(())
    }

    /// Kills every process in it and below it (cgroup.kill, Linux 5.14; before that one by one while frozen).
    pub(crate) fn kill(&self) -> Result<()> {
        match fs::write_at(&self.directory, "cgroup.kill", "1") {
            Err(error) if fs::is_missing(&error) => self.kill_one_by_one(),
            Err(error) if error.errno() == Some(Errno::NODEV) => Ok(()),
            other => other,
        }
    }

    fn kill_one_by_one(&self) -> Result<()> {
        // Frozen, nothing can fork away from the list.
        let frozen = self.freeze();
        for pid in self.processes()? {
            let Some(pid) = rustix::process::Pid::from_raw(pid) else {
                continue;
            };
            if let Ok(pidfd) = crate::sys::pidfd::pidfd_open(pid) {
                let _ = crate::sys::pidfd::send_signal(pidfd, libc::SIGKILL);
            }
        }
        frozen.and_then(|()| self.thaw())
    }

    /// Waits until cgroup.events has this line. The kernel wakes a poll(2) for POLLPRI at each change, but not when the
    /// cgroup is removed, nor when `go_on` would find a reason to give up: so these are looked at now and then.
    /// `false`: it is removed.
    fn wait_for(&self, line: &str, until: Instant, go_on: impl Fn() -> Result<()>) -> Result<bool> {
        let events = match fs::openat(&self.directory, "cgroup.events", OFlags::RDONLY, 0) {
            Err(error) if fs::is_missing(&error) => return Ok(false),
            other => other?,
        };
        loop {
            let mut text = [0u8; 256];
            let length = match rustix::io::pread(&events, &mut text, 0) {
                Err(Errno::NODEV) => return Ok(false),
                other => {
                    other.call(|| format!("pread({:?}, \"cgroup.events\")", fs::shown(&events)))?
                }
            };
            if String::from_utf8_lossy(&text[..length])
                .lines()
                .any(|have| have == line)
            {
                return Ok(true);
            }
            go_on()?;
            let now = Instant::now();
            if now > until {
                let text = format!("timed out: {:?} did not become {line:?}", self.path);
                return Err(Error::new(ErrorKind::Process, text));
            }
            let mut fds = [PollFd::new(&events, PollFlags::PRI)];
            poll::poll(&mut fds, Some(until.min(now + LONGEST_PAUSE)))
                .context(|| format!("waiting for {line:?} of the cgroup {:?}", self.path))?;
        }
    }
}
