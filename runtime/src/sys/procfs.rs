//! The host's procfs by a held descriptor.
//!
//! Opened before anything of a container is in sight and checked to be a real procfs, it serves for the whole life of
//! the process, also after it has joined a container's mount namespace. Nothing below it is reached through a mount or
//! a symbolic link, so a write cannot be redirected (CVE-2025-52881).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::process::Pid;

use super::fs::{self, OFlags};
use crate::error::{Context, Error, ErrorKind, Result};

/// PROC_SUPER_MAGIC of linux/magic.h.
pub(crate) const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// The inode number of a procfs's root (PROC_ROOT_INO).
const PROC_ROOT_INO: u64 = 1;

/// A thread's number in the innermost of its pid namespaces, out of its `status` (NSpid of proc_pid_status(5)).
pub(crate) fn innermost_number(status: &str) -> Option<u32> {
    let mut lines = status.lines();
    let numbers = lines.find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().next_back()?.parse().ok()
}

/// A verified procfs.
#[derive(Debug)]
pub(crate) struct Procfs(OwnedFd);

impl Procfs {
    /// Opens `/proc` and checks that it is the root of a procfs.
    pub(crate) fn open() -> Result<Procfs> {
        let fd = fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY)?;
        let words = || "looking at /proc";
        let kind = fs::file_system(&fd).context(words)?;
        if kind != PROC_SUPER_MAGIC || fs::fstat(&fd).context(words)?.st_ino != PROC_ROOT_INO {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "/proc is not a procfs: mount one before running vzrun",
            ));
        }
        Ok(Procfs(fd))
    }

    /// Opens a file of the calling process.
    pub(crate) fn open_self(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let own = fs::readlinkat(&self.0, "self").context(|| "/proc")?;
        let own = own.to_string_lossy();
        fs::open_no_xdev(&self.0, format!("{own}/{path}"), flags)
            .context(|| format!("/proc/self/{path}"))
    }

    /// Reads a small file of the calling process.
    pub(crate) fn read_self(&self, path: &str) -> Result<String> {
        let bytes = fs::read_to_end(self.open_self(path, OFlags::RDONLY)?, 1 << 20)
            .context(|| format!("/proc/self/{path}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A namespace of the calling process, by its name in /proc/PID/ns. That is a link which leads out of procfs, so the directory is
    /// held first.
    pub(crate) fn own_namespace(&self, name: &str) -> Result<OwnedFd> {
        let directory = self.open_self("ns", OFlags::PATH | OFlags::DIRECTORY)?;
        fs::openat(directory, name, OFlags::RDONLY, 0).context(|| "/proc/self/ns")
    }

    /// Opens what an O_PATH descriptor refers to. Its entry is a link which leads out of procfs, so the directory is held first.
    pub(crate) fn reopen(&self, fd: impl AsFd, flags: OFlags) -> Result<OwnedFd> {
        let directory = self.open_self("fd", OFlags::PATH | OFlags::DIRECTORY)?;
        let name = fd.as_fd().as_raw_fd().to_string();
        fs::openat(directory, name, flags, 0).context(|| "/proc/self/fd")
    }

    /// Writes a file of the calling process.
    pub(crate) fn write_self(&self, path: &str, text: impl AsRef<[u8]>) -> Result<()> {
        let fd = self.open_self(path, OFlags::WRONLY)?;
        fs::write_once(fd, text.as_ref()).context(|| format!("/proc/self/{path}"))
    }

    /// Writes a file of another process.
    pub(crate) fn write_pid(&self, pid: Pid, path: &str, text: impl AsRef<[u8]>) -> Result<()> {
        let fd = fs::open_no_xdev(&self.0, format!("{pid}/{path}"), OFlags::WRONLY)
            .context(|| format!("/proc/{pid}/{path}"))?;
        fs::write_once(fd, text.as_ref()).context(|| format!("/proc/{pid}/{path}"))
    }

    /// Reads a small file of any process, or of the system (`path` below /proc).
    pub(crate) fn read(&self, path: &str) -> Result<String> {
        let fd =
            fs::open_no_xdev(&self.0, path, OFlags::RDONLY).context(|| format!("/proc/{path}"))?;
        let bytes = fs::read_to_end(fd, 1 << 20).context(|| format!("/proc/{path}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What the host shows at a path below /proc, through whatever it has mounted there (lxcfs, or a keeper of its own).
    pub(crate) fn read_shown(&self, path: &str) -> Result<String> {
        let fd =
            fs::openat(&self.0, path, OFlags::RDONLY, 0).context(|| format!("/proc/{path}"))?;
        let bytes = fs::read_to_end(fd, 16 << 20).context(|| format!("/proc/{path}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a file of any process that may be large: a list of connections, of mappings.
    pub(crate) fn read_list(&self, path: &str) -> Result<String> {
        let fd =
            fs::open_no_xdev(&self.0, path, OFlags::RDONLY).context(|| format!("/proc/{path}"))?;
        let bytes = fs::read_to_end(fd, 256 << 20).context(|| format!("/proc/{path}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The names in a directory of any process.
    pub(crate) fn names(&self, path: &str) -> Result<Vec<String>> {
        let fd = fs::open_no_xdev(&self.0, path, OFlags::RDONLY | OFlags::DIRECTORY)
            .context(|| format!("/proc/{path}"))?;
        let names = fs::names(&fd)?.into_iter();
        Ok(names
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }

    /// Where a link of any process leads, as the kernel prints it.
    pub(crate) fn link(&self, path: &str) -> Result<String> {
        let target = fs::readlinkat(&self.0, path).context(|| format!("/proc/{path}"))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// The file that such a link leads to.
    pub(crate) fn stat_behind(&self, path: &str) -> Result<fs::Stat> {
        let fd = fs::openat(&self.0, path, OFlags::PATH, 0).context(|| format!("/proc/{path}"))?;
        fs::fstat(fd)
    }

    /// Writes a setting below /proc/sys; `key` with `/` between its parts. The namespaces of the caller decide which.
    pub(crate) fn write_sys(&self, key: &str, value: &str) -> Result<()> {
        let fd = fs::open_no_xdev(&self.0, format!("sys/{key}"), OFlags::WRONLY)
            .context(|| format!("/proc/sys/{key}"))?;
        fs::write_once(fd, value.as_bytes()).context(|| format!("/proc/sys/{key}"))
    }

    /// What /proc/PID/stat tells of a process; `None` where there is no such process.
    pub(crate) fn look(&self, pid: i32) -> Result<Option<Stat>> {
        match self.read(&format!("{pid}/stat")) {
            Ok(stat) => Ok(parse_stat(&stat)),
            Err(error)
                if fs::is_missing(&error) || error.errno() == Some(rustix::io::Errno::SRCH) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// A part of proc_pid_stat(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Field 2: what the process calls itself.
    pub(crate) name: String,
    /// Field 3.
    pub(crate) state: char,
    /// It is on its way out (PF_EXITING in field 9), perhaps still waiting for its children's end.
    pub(crate) exiting: bool,
    /// Field 22, in clock ticks since boot. With the pid it names a process for ever.
    pub(crate) start_time: u64,
}

impl AsFd for Procfs {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// PF_EXITING of linux/sched.h.
const PF_EXITING: u64 = 0x4;

/// The name in field 2 may hold anything, parentheses and newlines too: the fields after it start at the last `)`.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (front, rest) = stat.rsplit_once(')')?;
    let name = front.split_once('(')?.1.to_owned();
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3, the flags are field 9, the start time is field 22.
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    let start_time = fields.nth(12)?.parse().ok()?;
    Some(Stat {
        name,
        state,
        exiting: flags & PF_EXITING != 0,
        start_time,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_a_hostile_name() {
        let stat = "7 (a) R 1 (b\n) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 9 9";
        let name = "a) R 1 (b\n".to_owned();
        assert_eq!(
            parse_stat(stat),
            Some(Stat {
                name,
                state: 'S',
                exiting: false,
                start_time: 12345
            })
        );
        let ending = stat.replace("4194560", "4194564");
        assert!(parse_stat(&ending).unwrap().exiting);
        assert_eq!(parse_stat(""), None);
        assert_eq!(parse_stat("1 (x) Z"), None);
    }

    #[test]
    fn own_process() {
        let procfs = Procfs::open().unwrap();
        let own = rustix::process::getpid().as_raw_nonzero().get();
        assert!(procfs.look(own).unwrap().is_some());
        assert_eq!(procfs.look(i32::MAX).unwrap(), None);
    }
}
