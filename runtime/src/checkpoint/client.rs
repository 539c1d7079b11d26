//! CRIU as a child process that serves one connection (`criu swrk`): a request, then its notifications, each of which
//! waits for a word, and an answer at the end.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use prost::Message as _;
use rustix::io::Errno;
use rustix::process::Signal;

use super::rpc::{Features, Kind, Request, Response, Version};
use crate::error::{Context, Error, ErrorKind, Result, errno_text};
use crate::sys::fork::{self, Child, Fork};
use crate::sys::poll::{self, Moved, PollFd, PollFlags};
use crate::sys::{pidfd, process, signal, socket};

/// Where CRIU has its end of the connection.
const CONNECTION: RawFd = 3;
/// The first of the descriptors that are handed to it.
pub(crate) const FIRST_FD: RawFd = 4;
/// Above every number that a descriptor is to get in CRIU.
const OUT_OF_THE_WAY: RawFd = 200;
/// So many descriptors can be handed over.
const MOST_FDS: usize = 100;
/// The largest answer: names and numbers.
const LONGEST: usize = 64 << 10;
/// The freezer of cgroup v2, terminals without a master, time namespaces.
const OLDEST: Version = Version {
    major: 3,
    minor: 14,
};
/// Where programs are looked for without a PATH, as engines call.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How CRIU is to be started.
#[derive(Default)]
pub(crate) struct Launch<'a> {
    /// Where it is born; `None`: where the caller is.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// Descriptors for it, from [`FIRST_FD`] on. It has stdin, stdout and stderr of the caller.
    pub(crate) fds: &'a [BorrowedFd<'a>],
    /// It stays in the caller's session, which a terminal may belong to that is restored.
    pub(crate) shares_session: bool,
}

/// What comes between a request and its answer.
pub(crate) trait Notified {
    /// CRIU has come to a point and waits. `pid`: the container's init, where it has one; `fds` came along.
    fn notified(&mut self, point: &str, pid: Option<i32>, fds: Vec<OwnedFd>) -> Result<()>;
}

/// A CRIU that serves this process.
pub(crate) struct Criu {
    pub(crate) child: Child,
    connection: OwnedFd,
    version: Version,
    /// It is the leader of a process group, with its helpers in it.
    leads_group: bool,
    ended: bool,
}

impl Criu {
    /// Starts it and asks for its version.
    ///
    /// # Errors
    /// There is no criu, or it is too old.
    pub(crate) fn start(launch: &Launch<'_>) -> Result<Criu> {
        let (ours, theirs) = socket::seqpacket_pair()?;
        let (failure, fail) = poll::pipe()?;
        if launch.fds.len() > MOST_FDS {
            return Err(Error::unsupported("too many descriptors for criu"));
        }
        let program = find()?;
        let child = match fork::clone3(0, launch.cgroup, false)? {
            Fork::Parent(child) => child,
            Fork::Child => fork::exit_after(|| {
                // It must outlive the numbers that are given away.
                let Ok(fail) = high(fail.as_fd()) else {
                    return 127;
                };
                let text = match execute(&program, launch, &theirs, &fail) {
                    Ok(never) => match never {},
                    Err(error) => error.to_string(),
                };
                let _ = poll::write(&fail, text.as_bytes());
                127
            }),
        };
        drop((theirs, fail));
        let mut criu = Criu {
            child,
            connection: ours,
            version: Version::default(),
            leads_group: !launch.shares_session,
            ended: false,
        };
        let request = Request {
            kind: Kind::Version.into(),
            keep_open: Some(true),
            ..Request::default()
        };
        let answer = criu.call(&request);
        let mut text = [0; 4096];
        if let Moved::Bytes(length) = poll::read(&failure, &mut text)? {
            let text = String::from_utf8_lossy(&text[..length]);
            return Err(Error::new(ErrorKind::Process, text));
        }
        criu.version = answer?.version.unwrap_or_default();
        criu.at_least(OLDEST.major, OLDEST.minor, "a container")?;
        Ok(criu)
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> i32 {
        self.child.pid.as_raw_nonzero().get()
    }

    /// Checks that it is of this version or later, as `what` needs.
    pub(crate) fn at_least(&self, major: i32, minor: i32, what: &str) -> Result<()> {
        if (self.version.major, self.version.minor) >= (major, minor) {
            return Ok(());
        }
        let Version { major: m, minor: n } = self.version;
        Err(Error::unsupported(format!(
            "{what} needs CRIU {major}.{minor} or later, this is {m}.{n}"
        )))
    }

    /// What it and the kernel can do, of that which is asked for.
    pub(crate) fn features(&mut self) -> Result<Features> {
        let request = Request {
            kind: Kind::FeatureCheck.into(),
            keep_open: Some(true),
            features: Some(Features {
                mem_track: Some(true),
                lazy_pages: Some(true),
            }),
            ..Request::default()
        };
        let answer = self.call(&request).context(|| "CRIU feature check")?;
        Ok(answer.features.unwrap_or_default())
    }

    /// Makes a request and serves its notifications. If one of them fails, CRIU hears of it, undoes what it has done, and
    /// the error is that one.
    ///
    /// # Errors
    /// `criu failed: type DUMP errno 0` in the words of runc; [`ErrorKind::Died`] where CRIU has been killed.
    pub(crate) fn serve(&mut self, request: &Request, notified: &mut dyn Notified) -> Result<()> {
        self.send(request)?;
        let mut failed = None;
        loop {
            let (answer, fds) = match self.receive() {
                Err(error) => return Err(failed.unwrap_or(error)),
                Ok(received) => received,
            };
            if answer.success && answer.kind() == Kind::Notify {
                let notify = answer.notify.unwrap_or_default();
                let point = notify.script.unwrap_or_default();
                crate::log::debug(format_args!("criu: {point}"));
                let done = notified.notified(&point, notify.pid, fds);
                self.send(&Request {
                    kind: Kind::Notify.into(),
                    notify_success: Some(done.is_ok()),
                    ..Request::default()
                })
                .map_err(|error| failed.clone().unwrap_or(error))?;
                failed = failed.or(done.err());
                continue;
            }
            if let Some(failed) = failed {
                return Err(failed);
            }
            if !answer.success || answer.kind != request.kind {
                return Err(refused(request.kind(), &answer));
            }
            return Ok(());
        }
    }

    /// Waits until it has ended.
    pub(crate) fn finish(mut self) -> Result<()> {
        // A CRIU that could go on serving sees that there is nothing more to come.
        rustix::net::shutdown(&self.connection, rustix::net::Shutdown::Write)
            .call(|| "shutdown(criu, SHUT_WR)")?;
        self.reap().map(drop)
    }

    fn call(&mut self, request: &Request) -> Result<Response> {
        self.send(request)?;
        let (answer, _) = self.receive()?;
        match answer.success && answer.kind == request.kind {
            true => Ok(answer),
            false => Err(refused(request.kind(), &answer)),
        }
    }

    fn send(&mut self, request: &Request) -> Result<()> {
        match socket::send(&self.connection, &request.encode_to_vec(), &[]) {
            Err(error) if matches!(error.errno(), Some(Errno::PIPE | Errno::CONNRESET)) => {
                Err(self.died())
            }
            other => other,
        }
    }

    fn receive(&mut self) -> Result<(Response, Vec<OwnedFd>)> {
        self.wait_for_word()?;
        let mut buffer = vec![0; LONGEST];
        let (length, fds) = match socket::receive(&self.connection, &mut buffer) {
            Err(error) if error.errno() == Some(Errno::CONNRESET) => return Err(self.died()),
            other => other?,
        };
        if length == 0 {
            return Err(self.died());
        }
        let answer = Response::decode(&buffer[..length]).map_err(|error| {
            Error::new(ErrorKind::Process, format!("an answer of criu: {error}"))
        })?;
        Ok((answer, fds))
    }

    /// Helpers of a CRIU that was killed may hold its end of the connection for ever, so the end of the connection alone
    /// would be no sign.
    fn wait_for_word(&mut self) -> Result<()> {
        let mut fds = [
            PollFd::new(&self.connection, PollFlags::IN),
            PollFd::new(&self.child.pidfd, PollFlags::IN),
        ];
        poll::poll(&mut fds, None)?;
        match fds[0].revents().is_empty() {
            true => Err(self.died()),
            false => Ok(()),
        }
    }

    fn died(&mut self) -> Error {
        // Not reaped yet, its number is that of its group still: whoever is left there helps nobody any more.
        if pidfd::wait_exit(&self.child.pidfd, None).is_ok() && self.leads_group {
            let _ = rustix::process::kill_process_group(self.child.pid, Signal::KILL);
        }
        let how = match self.reap() {
            Ok(how) => how.to_string(),
            Err(error) => error.to_string(),
        };
        Error::new(ErrorKind::Died, format!("criu died ({how})"))
    }

    fn reap(&mut self) -> Result<process::Exit> {
        let exit = process::wait(&self.child.pidfd)?;
        self.ended = true;
        Ok(exit)
    }
}

/// The connection closes, at which CRIU undoes what it is in the middle of, and it is waited for.
impl Drop for Criu {
    fn drop(&mut self) {
        if !self.ended {
            let _ = rustix::net::shutdown(&self.connection, rustix::net::Shutdown::Both);
            let _ = process::wait(&self.child.pidfd);
        }
    }
}

pub(super) fn refused(kind: Kind, answer: &Response) -> Error {
    let name = match kind {
        Kind::Dump => "DUMP",
        Kind::Restore => "RESTORE",
        Kind::PreDump => "PRE_DUMP",
        Kind::FeatureCheck => "FEATURE_CHECK",
        Kind::Version => "VERSION",
        Kind::Notify | Kind::Empty => "NOTIFY",
    };
    let errno = answer.errno.unwrap_or(0);
    let mut text = format!("criu failed: type {name} errno {errno}");
    // Beyond these there is no error of Linux.
    if (1..=4095).contains(&errno) {
        let errno = Errno::from_raw_os_error(errno);
        text += &format!(" ({})", errno_text(errno));
    }
    Error::new(ErrorKind::Process, text)
}

/// The criu of $PATH.
fn find() -> Result<CString> {
    let path = std::env::var_os("PATH").filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| USUAL_PATH.into());
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("criu"))
        .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok());
    let Some(found) = found else {
        return Err(Error::unsupported(
            "there is no criu in $PATH: install CRIU 3.14 or later",
        ));
    };
    CString::new(found.into_os_string().into_vec())
        .map_err(|_| Error::config("$PATH has a NUL byte"))
}

/// The environment of this process, with a PATH: CRIU runs tar, iptables and nft.
fn environment() -> Vec<CString> {
    let mut all: Vec<CString> = std::env::vars_os()
        .filter_map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            CString::new(entry.into_vec()).ok()
        })
        .collect();
    if !all
        .iter()
        .any(|entry| entry.to_bytes().starts_with(b"PATH="))
    {
        all.extend(CString::new(format!("PATH={USUAL_PATH}")));
    }
    all
}

/// The same descriptor with a number that is not in the way.
fn high(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, OUT_OF_THE_WAY)
        .call(|| format!("fcntl({}, F_DUPFD_CLOEXEC)", fd.as_raw_fd()))
}

/// The child's part. Comes back only with what failed.
fn execute(
    program: &CString,
    launch: &Launch<'_>,
    connection: &OwnedFd,
    fail: &OwnedFd,
) -> Result<std::convert::Infallible> {
    signal::reset();
    if !launch.shares_session {
        process::setsid()?;
    }
    let connection = high(connection.as_fd())?;
    let handed = launch.fds.iter().map(|fd| high(*fd));
    let handed = handed.collect::<Result<Vec<_>>>()?;
    process::dup_to(&connection, CONNECTION)?;
    for (number, fd) in (FIRST_FD..).zip(&handed) {
        process::dup_to(fd, number)?;
    }
    let first = FIRST_FD.unsigned_abs() + u32::try_from(handed.len()).unwrap_or(0);
    process::close_from_but(first, &[fail.as_fd()])?;
    let words = ["criu", "swrk", "3"].map(|word| CString::new(word).unwrap_or_default());
    process::execve(program, &words, &environment()).map_err(|errno| {
        let path = OsStr::from_bytes(program.to_bytes());
        Error::os(format!("execve({path:?})"), errno)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_that_is_none_is_a_number() {
        for (errno, text) in [
            (None, "criu failed: type DUMP errno 0"),
            (
                Some(2),
                "criu failed: type DUMP errno 2 (no such file or directory)",
            ),
            (Some(4096), "criu failed: type DUMP errno 4096"),
            (Some(-1), "criu failed: type DUMP errno -1"),
            (Some(i32::MAX), "criu failed: type DUMP errno 2147483647"),
        ] {
            let answer = Response {
                errno,
                ..Response::default()
            };
            assert_eq!(refused(Kind::Dump, &answer).to_string(), text);
        }
    }
}
