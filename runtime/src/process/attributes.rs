//! The last stretch before a program runs: what `process` asks for is done to this process. The same for a container's
//! first process and for one that joins.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::channel::ChildEnd;
use super::init;
use super::seccomp::Rest;
use crate::error::{Error, ErrorKind, Result, errno_text};
use crate::plan::ProcessPlan;
use crate::setup::console;
use crate::setup::environment::Environment;
use crate::setup::listen_fds::PassedFds;
use crate::setup::rootfs::Rootfs;
use crate::setup::user_database;
use crate::sys::fork;
use crate::sys::fs::{FileType, OFlags};
use crate::sys::procfs::Procfs;
use crate::sys::{ids, prctl, process};

impl ProcessPlan {
    /// What needs the privileges of before the user changes, `seal` as the last of it, then the user. From here on the
    /// process has no more rights than its program will have.
    pub(super) fn become_user(
        &self,
        procfs: &Procfs,
        seal: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.no_new_privileges {
            prctl::set_no_new_privs()?;
        }
        self.scheduler.apply()?;
        self.io_priority.apply()?;
        // The label takes effect at execve(2), but the file is out of reach for another user.
        self.lsm.apply(procfs)?;
        console::give_standard_streams(self.user.uid)?;
        // CAP_SETPCAP goes with the user, so the bounding set is cut first; the others are kept over the change.
        self.capabilities.apply_bounding()?;
        ids::keep_capabilities(true)?;
        // A directory that only root may enter can still be the working directory, and one that only the user may.
        // Where it could be entered it is looked at before the seal, which may refuse the call for that.
        let entered = self.enter_cwd().is_ok();
        if entered {
            self.check_cwd()?;
        }
        seal()?;
        self.user.apply()?;
        if !entered {
            self.enter_cwd()?;
            self.check_cwd()?;
        }
        self.capabilities.apply()?;
        ids::keep_capabilities(false)
    }

    /// A missing working directory is made, as runc does; where it cannot be, entering it says why.
    pub(crate) fn make_cwd(&self, rootfs: &Rootfs) {
        if let Err(error) = rootfs.directory(&self.cwd) {
            crate::log::debug(format_args!("making the working directory: {error}"));
        }
    }

    fn enter_cwd(&self) -> Result<()> {
        rustix::process::chdir(&self.cwd).map_err(|errno| {
            let cwd = self.cwd.display();
            Error::os(
                format!("chdir to cwd ({cwd:?}) set in config.json failed"),
                errno,
            )
        })
    }

    /// A working directory through a leaked descriptor of the host would lie outside the container's root
    /// (CVE-2024-21626); the kernel then has no path for it.
    fn check_cwd(&self) -> Result<()> {
        let here = rustix::process::getcwd(Vec::new());
        match here {
            Ok(here) if here.as_bytes().starts_with(b"/") => Ok(()),
            Ok(_) | Err(Errno::NOENT) => Err(Error::new(
                ErrorKind::InvalidConfig,
                "current working directory is outside of container mount namespace root -- possible container breakout detected",
            )),
            Err(errno) => Err(Error::os("looking where cwd leads: getcwd()", errno)),
        }
    }

    /// HOME, where the environment wants one and does not have it, from the container's /etc/passwd.
    pub(crate) fn full_environment(&self, rootfs: &Rootfs) -> Result<Environment> {
        let mut environment = self.environment.clone();
        if environment.lacks_home {
            let home = match rootfs.open("/etc/passwd", OFlags::RDONLY | OFlags::NONBLOCK) {
                Ok(passwd) => user_database::home_of(passwd, self.user.uid)?,
                // What the image is to blame for is as good as no entry.
                Err(error) if NO_DATABASE.contains(&error.errno().unwrap_or(Errno::IO)) => {
                    crate::log::debug(format_args!("no HOME from /etc/passwd: {error}"));
                    None
                }
                Err(error) => return Err(error.wrap("looking for HOME in /etc/passwd")),
            };
            environment.set("HOME", home.as_deref().unwrap_or("/"))?;
        }
        Ok(environment)
    }

    /// The file to execute, looked for as execvp(3) would, with the container's PATH and the user's rights.
    pub(crate) fn find_executable(&self, environment: &Environment) -> Result<CString> {
        let name = self
            .arguments
            .first()
            .map(CString::as_c_str)
            .unwrap_or_default();
        let shown = name.to_string_lossy();
        if name.to_bytes().contains(&b'/') {
            return match executable(name) {
                Ok(()) => Ok(name.to_owned()),
                Err(Errno::NOENT) => Err(not_executable(format!(
                    "exec: {shown:?}: stat {shown}: {}",
                    errno_text(Errno::NOENT)
                ))),
                Err(errno) => Err(not_executable(format!(
                    "exec: {shown:?}: {}",
                    errno_text(errno)
                ))),
            };
        }
        let path = environment.get("PATH").unwrap_or_default();
        for directory in path.split(|byte| *byte == b':') {
            let directory = if directory.is_empty() {
                b"."
            } else {
                directory
            };
            let file = CString::new([directory, b"/", name.to_bytes()].concat());
            let Ok(file) = file else { continue };
            if !name.is_empty() && executable(&file).is_ok() {
                return Ok(file);
            }
        }
        Err(not_executable(format!(
            "exec: {shown:?}: executable file not found in $PATH"
        )))
    }

    /// The last steps: no descriptor is left but those to be passed, and up to the program's start the channel and those to be `held`; the limits, which could be too tight
    /// for anything after them; the filter, if it is not there yet, so that it need not allow anything of the former; and
    /// the program.
    pub(super) fn execute(
        &self,
        (path, environment): (&CStr, &Environment),
        passed: &PassedFds,
        held: &[BorrowedFd<'_>],
        channel: &ChildEnd,
        mut filter: Rest<'_>,
    ) -> ! {
        let held: Vec<_> = held.iter().copied().chain([channel.as_fd()]).collect();
        let ready = passed
            .apply(&held)
            .and_then(|()| self.rlimits.apply())
            .and_then(|()| filter.install(channel));
        let error = match ready {
            Err(error) => error,
            Ok(()) => match process::execve(path, &self.arguments, &environment.variables) {
                Ok(never) => match never {},
                Err(errno) => not_executable(format!(
                    "exec {}: {}",
                    path.to_string_lossy(),
                    errno_text(errno)
                )),
            },
        };
        // Not by returning: the owners of what has been closed must not close it again.
        init::report(channel, &error);
        fork::exit(1)
    }
}

/// How an open fails where there is no file that could be a database.
const NO_DATABASE: [Errno; 6] = [
    Errno::NOENT,
    Errno::NOTDIR,
    Errno::LOOP,
    Errno::ACCESS,
    Errno::NXIO,
    Errno::NAMETOOLONG,
];

fn not_executable(text: String) -> Error {
    Error::new(ErrorKind::Process, text)
}

/// Whether the file can be executed: EISDIR for a directory and EACCES otherwise, as Go's LookPath tells it.
fn executable(path: &CStr) -> std::result::Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    let flags = rustix::fs::AtFlags::EACCESS;
    match rustix::fs::accessat(rustix::fs::CWD, path, rustix::fs::Access::EXEC_OK, flags) {
        // A kernel without faccessat2(2): the mode bits have to do, the kernel judges at execve(2) anyway.
        Err(Errno::NOSYS | Errno::PERM) if stat.st_mode & 0o111 != 0 => Ok(()),
        Err(Errno::NOSYS | Errno::PERM) => Err(Errno::ACCESS),
        other => other,
    }
}
