//! process.terminal: the container's side of a pseudo-terminal.
//!
//! The pair is made in the container's own devpts, so it lives and dies with the container. Everything is reached from
//! a descriptor of the container's root: the devpts is checked to be one before anything on it is opened, the slave
//! comes out of its master without a path, and `/dev/console` is never a symbolic link's target (CVE-2025-52565).

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::spec;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::procfs::Procfs;
use crate::sys::{mount, null, process, socket, tty};

/// DEVPTS_SUPER_MAGIC of linux/magic.h.
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
/// The device number of ptmx.
const PTMX: (u32, u32) = (5, 2);
/// What setsid(2) is for.
pub(crate) const LEADING: &str = "becoming a session leader";
const MOUNTING: &str = "mounting the terminal on /dev/console";

/// What comes with the master over a console socket: where runc has it from.
const NAME: &[u8] = b"/dev/ptmx";

/// Rows and columns.
pub(crate) type Size = (u16, u16);

/// process.consoleSize. As in runc, it counts only when neither side is 0.
pub(crate) fn plan_size(process: &spec::Process) -> Result<Option<Size>> {
    let Some(size) = process.console_size() else {
        return Ok(None);
    };
    let side = |name: &str, value: u64| {
        u16::try_from(value).map_err(|_| {
            let text = format!("process.consoleSize.{name}: {value} is more than 65535");
            Error::config(text)
        })
    };
    let rows = side("height", size.height())?;
    let columns = side("width", size.width())?;
    Ok((rows != 0 && columns != 0).then_some((rows, columns)))
}

/// A pseudo-terminal pair of a container.
#[derive(Debug)]
pub(crate) struct Console {
    /// To be sent to whoever serves the terminal.
    pub(crate) master: OwnedFd,
    pub(crate) slave: Slave,
}

/// The container's side of one.
#[derive(Debug)]
pub(crate) struct Slave(OwnedFd);

impl Console {
    /// A new pair on the devpts at `dev/pts` below `root`.
    pub(crate) fn open(root: BorrowedFd<'_>, size: Option<Size>) -> Result<Console> {
        Console::make(root, size).context(|| "making the container's terminal")
    }

    fn make(root: BorrowedFd<'_>, size: Option<Size>) -> Result<Console> {
        let pts = fs::open_in_root(root, "dev/pts", OFlags::PATH | OFlags::DIRECTORY)
            .context(|| "a terminal needs a devpts at /dev/pts")?;
        if fs::file_system(&pts)? != DEVPTS_SUPER_MAGIC {
            return Err(Error::config("/dev/pts is not a devpts"));
        }
        // On a real devpts this name is ptmx; what could be mounted over it is refused before it is opened.
        let master = fs::open_no_xdev(&pts, "ptmx", OFlags::RDWR | OFlags::NOCTTY)
            .context(|| "/dev/pts/ptmx")?;
        let stat = fs::fstat(&master)?;
        if fs::file_type(&stat) != FileType::CharacterDevice || fs::rdev(&stat) != PTMX {
            return Err(Error::config("/dev/pts/ptmx is not the ptmx device"));
        }
        tty::unlock(&master)?;
        let slave = Slave(tty::peer(&master)?);
        if let Some(size) = size {
            tty::set_size(&master, size)?;
        }
        Ok(Console { master, slave })
    }
}

impl AsFd for Slave {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Slave {
    /// One by its path.
    pub(crate) fn open(path: &CStr) -> Result<Slave> {
        let path = Path::new(OsStr::from_bytes(path.to_bytes()));
        fs::open(path, OFlags::RDWR | OFlags::NOCTTY).map(Slave)
    }

    /// Its detached mount, for [`mount_on_dev_console`].
    pub(crate) fn tree(&self) -> Result<OwnedFd> {
        mount::clone_tree(&self.0, "", false).context(|| MOUNTING)
    }

    /// Makes the slave the controlling terminal and stdin, stdout and stderr of this process, which must lead no group
    /// yet or a session.
    pub(crate) fn take(&self) -> Result<()> {
        match process::setsid() {
            // It leads a session already.
            Err(error) if error.errno() == Some(Errno::PERM) => {}
            other => other?,
        }
        tty::set_controlling(&self.0)?;
        self.take_streams()
    }

    /// Makes the slave stdin, stdout and stderr, for a process of another session: [`lead`].
    pub(crate) fn take_streams(&self) -> Result<()> {
        for number in 0..3 {
            process::dup_to(&self.0, number)?;
        }
        Ok(())
    }
}

/// Mounts a slave on `dev/console` below `root`. An ordinary file is made for it where nothing is there.
pub(crate) fn mount_on_dev_console(slave: OwnedFd, root: BorrowedFd<'_>) -> Result<()> {
    let words = || MOUNTING;
    let dev = fs::open_in_root(root, "dev", OFlags::PATH | OFlags::DIRECTORY).context(words)?;
    let place = console_place(&dev).context(words)?;
    mount::move_mount(slave, place).context(words)
}

/// Makes this process lead a session, with the terminal that is its stdin as the controlling one.
pub(crate) fn lead(terminal: bool) -> Result<()> {
    process::setsid().context(|| LEADING)?;
    match terminal {
        true => tty::set_controlling(std::io::stdin().as_fd()).context(|| LEADING),
        false => Ok(()),
    }
}

/// A devpts of its own.
pub(crate) fn mount_devpts(place: &OwnedFd) -> Result<()> {
    let context = mount::FsContext::open("devpts")?;
    context.string("mode", "0620")?;
    context.string("ptmxmode", "0666")?;
    context.create()?;
    let attributes = mount::attr::NOSUID | mount::attr::NOEXEC;
    mount::move_mount(context.mount(attributes)?, place)
}

/// The `console` in this directory, as a mount target: a file or device, made if it is missing.
fn console_place(dev: &OwnedFd) -> Result<OwnedFd> {
    let path = OFlags::PATH | OFlags::NOFOLLOW;
    let place = match fs::openat(dev, "console", path, 0) {
        Err(error) if fs::is_missing(&error) => {
            let create = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            fs::openat(dev, "console", create, 0o666)?
        }
        other => other?,
    };
    match fs::file_type(&fs::fstat(&place)?) {
        FileType::RegularFile | FileType::CharacterDevice => Ok(place),
        other => Err(Error::config(format!("/dev/console is a {other:?}"))),
    }
}

/// Where stdin, stdout or stderr is the null device, it is the host's, as the caller had it: the container's own takes its
/// place. Of a container that has none, one apart from both; an ordinary user cannot make that, and has no power over
/// the host's.
pub(crate) fn take_own_null(root: BorrowedFd<'_>, procfs: &Procfs) -> Result<()> {
    let words = || "taking the container's /dev/null for the host's";
    let mut own = None;
    for (number, stream) in (0..).zip(process::streams()) {
        if !null::is_open(stream).context(words)? {
            continue;
        }
        let own = match &own {
            Some(own) => own,
            None => match own_null(root, procfs).context(words)? {
                Some(found) => own.insert(found),
                None => return Ok(()),
            },
        };
        process::dup_to(own, number).context(words)?;
    }
    Ok(())
}

fn own_null(root: BorrowedFd<'_>, procfs: &Procfs) -> Result<Option<OwnedFd>> {
    let found = match fs::open_in_root(root, "dev/null", OFlags::PATH | OFlags::NOFOLLOW) {
        Ok(found) if null::is_open(&found)? => procfs.reopen(&found, OFlags::RDWR),
        Ok(_) => return apart(),
        other => other,
    };
    match found {
        Ok(found) => Ok(Some(found)),
        // Not there, or on a mount whose devices do not open.
        Err(error) if fs::is_missing(&error) || error.errno() == Some(Errno::ACCESS) => apart(),
        Err(error) => Err(error),
    }
}

fn apart() -> Result<Option<OwnedFd>> {
    match null::apart() {
        Err(error) if error.errno() == Some(Errno::PERM) => Ok(None),
        other => other.map(Some),
    }
}

/// Gives stdin, stdout and stderr to the container's user (as numbered in this process's user namespace), so that it
/// can open its own terminal or pipes again. The group stays: a devpts chooses it. What cannot be given is left as it
/// is: its owner is not in this user namespace, or it is on a read-only filesystem.
pub(crate) fn give_standard_streams(uid: u32) -> Result<()> {
    for stream in process::streams() {
        let stat = fs::fstat(stream).context(|| "giving stdin, stdout and stderr to the user")?;
        if stat.st_uid == uid || null::is_null(&stat) {
            continue;
        }
        match fs::fchown(stream, uid, stat.st_gid) {
            Err(error) if !cannot_be_given(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn cannot_be_given(error: &Error) -> bool {
    matches!(
        error.errno(),
        Some(Errno::INVAL | Errno::PERM | Errno::ROFS)
    )
}

/// Sends the master over a connected console socket: one message, one descriptor.
pub(crate) fn send_console(socket: BorrowedFd<'_>, master: BorrowedFd<'_>) -> Result<()> {
    socket::send(socket, NAME, &[master]).context(|| "sending the terminal to the console socket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_checked() {
        for (json, expected) in [
            ("{}", Ok(None)),
            (
                r#"{"consoleSize": {"height": 25, "width": 80}}"#,
                Ok(Some((25, 80))),
            ),
            (r#"{"consoleSize": {"height": 0, "width": 80}}"#, Ok(None)),
            (
                r#"{"consoleSize": {"height": 25, "width": 65536}}"#,
                Err("process.consoleSize.width: 65536 is more than 65535"),
            ),
        ] {
            let mut all: serde_json::Value =
                serde_json::from_str(r#"{"cwd": "/", "user": {"uid": 0, "gid": 0}}"#).unwrap();
            let more: serde_json::Value = serde_json::from_str(json).unwrap();
            let members = more.as_object().unwrap().clone();
            all.as_object_mut().unwrap().extend(members);
            let process: spec::Process = serde_json::from_value(all).unwrap();
            let size = plan_size(&process).map_err(|error| error.to_string());
            assert_eq!(size, expected.map_err(str::to_owned), "{json}");
        }
    }
}
