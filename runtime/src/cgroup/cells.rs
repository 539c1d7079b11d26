//! The two cgroups below that of a system container: its keeper's, and the one that its init is born into. The container's own
//! holds no process, so that init can hand controllers down from it (cgroups(7), "no internal processes").

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;

use super::{Cgroup, Delegation, FIRST_PAUSE, LONGEST_PAUSE, PATIENCE};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs::{self, OFlags};

/// The keeper's.
const KEEPER: &str = "vzrun.keeper";
/// Init's. systemd takes what is above a cgroup of this name for the whole of its hierarchy.
const INIT: &str = "init.scope";

impl Cgroup {
    /// Makes both, gives init's away with the container's, and moves the keeper to its own.
    pub(crate) fn make_cells(&self, keeper: i32, given: Option<Delegation>) -> Result<()> {
        let words = || format!("making cgroups below {:?}", self.path);
        make(self, KEEPER).context(words)?;
        let init = Cgroup {
            directory: make(self, INIT).context(words)?,
            path: self.path.join(INIT),
        };
        if let Some(given) = given {
            given.apply(&init)?;
        }
        let own = format!("{KEEPER}/cgroup.procs");
        fs::write_at(&self.directory, own, keeper.to_string()).context(words)
    }

    /// A directory's.
    pub(crate) fn of(directory: OwnedFd, path: &std::path::Path) -> Cgroup {
        Cgroup {
            directory,
            path: path.to_owned(),
        }
    }

    /// Where systemd as process 1 has moved itself to, if it has; else this one. systemd then hands controllers down from this one, for
    /// which no process may be in it, and does without their limits for as long as one is: an exec in the course of its boot.
    pub(crate) fn beside_manager(self) -> Cgroup {
        self.child(INIT.as_ref()).unwrap_or(self)
    }

    /// Init's, made anew if it is not there.
    pub(crate) fn cell_of_init(&self) -> Result<OwnedFd> {
        make(self, INIT).context(|| "making the cgroup of init")
    }

    /// Stops everything in it, the keeper last: who waits for a file that the keeper serves cannot stand still before it has been
    /// answered. Undone when that does not come about.
    pub(crate) fn freeze_cells(&self) -> Result<()> {
        let here = fs::openat(&self.directory, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
        let mut stopped = Vec::new();
        let mut stop = || {
            for name in fs::directories(&here)? {
                if name == KEEPER {
                    continue;
                }
                let cell = self.child(name.as_ref())?;
                // What has been frozen from inside stays so.
                if !cell.is_frozen()? {
                    cell.freeze()?;
                    stopped.push(cell);
                }
            }
            self.freeze()
        };
        let frozen = stop();
        // From here on it is one freezer that holds them all, as for any container.
        let thawed = stopped.iter().map(Cgroup::thaw).fold(Ok(()), Result::and);
        frozen.and(thawed)
    }

    /// Removes all below it but the keeper's, after the end of init, and with it of all that could be in them.
    pub(crate) fn clear_cells(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            self.remove_children()?;
            let here = fs::openat(&self.directory, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0);
            let left = here
                .and_then(fs::directories)
                .context(|| format!("looking for cgroups below {:?}", self.path))?;
            if left.iter().all(|name| name == KEEPER) {
                return Ok(());
            }
            if Instant::now() > until {
                let text = format!("cgroups below {:?} are still in use: {left:?}", self.path);
                return Err(Error::new(ErrorKind::Process, text));
            }
            // Processes that have ended leave their cgroup a moment later, which nothing announces (see `remove`).
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn make(cgroup: &Cgroup, name: &str) -> Result<OwnedFd> {
    match fs::mkdirat(&cgroup.directory, name, 0o755) {
        Err(error) if error.errno() != Some(Errno::EXIST) => return Err(error),
        _ => {}
    }
    fs::open_beneath(&cgroup.directory, name, OFlags::PATH | OFlags::DIRECTORY)
}
