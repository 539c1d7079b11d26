//! The annotation io.vzrun.sysinfo: sysinfo(2) says in a system container what its files in /proc say.
//!
//! A filter of its own asks the keeper about this one call. The keeper has it itself, so each boot inherits it; a process that
//! joins brings its own, and hands the listener in at the door, a socket in the state directory. The answer has to be written
//! into memory that may be anything, and may keep who writes there waiting for as long as the container likes. So a child of the
//! keeper does that, one for each question, and not for longer than [`PATIENCE`]. Where it comes to nothing the kernel makes the
//! call: with the host's numbers, or with the error that it has for such an address.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::SocketType;

use crate::error::{Context, Error, Result};
use crate::seccomp::Filter;
use crate::sys::epoll::{Epoll, Found};
use crate::sys::fork::{self, Child, Fork};
use crate::sys::fs::{self, OFlags};
use crate::sys::mount::{FsContext, attr};
use crate::sys::process::{self, Exit};
use crate::sys::seccomp_listener::{self as listener, Asked};
use crate::sys::{datagram, memory, seccomp, signal, socket};
use crate::view::SysInfo;

/// The door's name in the state directory.
const DOOR: &str = "sysinfo";
/// Its number; all others are those of listeners and of questions.
const AT_THE_DOOR: u64 = 0;
/// Seconds that an answer may take to be written.
const PATIENCE: u32 = 1;
/// __AUDIT_ARCH_64BIT of linux/audit.h.
const WIDE: u32 = 0x8000_0000;

/// Binds the door, in the state directory.
pub(crate) fn make_door(directory: &OwnedFd) -> Result<OwnedFd> {
    let words = || "making the socket for questions about sysinfo(2)";
    let door = datagram::bind(directory.as_fd(), DOOR).context(words)?;
    fs::fchmodat(directory, DOOR, 0o600).context(words)?;
    Ok(door)
}

/// The way to the door, for a process that is going to join.
pub(crate) fn open_door(directory: &OwnedFd) -> Result<OwnedFd> {
    let place = fs::openat(directory, DOOR, OFlags::PATH | OFlags::NOFOLLOW, 0)?;
    socket::connect_held(&place, SocketType::DGRAM)
        .context(|| "reaching the keeper, which answers sysinfo(2)")
}

/// In a process that joins, as root of its namespaces: from here on it asks the keeper behind this door.
pub(super) fn join(door: BorrowedFd<'_>) -> Result<()> {
    let told = || socket::send(door, b"L", &[install()?.as_fd()]);
    told().context(|| "having the keeper answer sysinfo(2)")
}

/// From here on this process, and all that it makes, asks about sysinfo(2). Gives the listener.
fn install() -> Result<OwnedFd> {
    let filter = Filter::asking_about("sysinfo")?;
    let program = filter.compile()?;
    seccomp::set_filter(&program.instructions, filter.flags)
        .transpose()
        .unwrap_or_else(|| Err(Error::unsupported("seccomp(2) gave no listener")))
}

/// The keeper's side.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    door: &'a OwnedFd,
    /// Of the keeper's pid namespace.
    procfs: OwnedFd,
    /// The door, and the other two.
    events: Epoll,
    last: u64,
    listeners: BTreeMap<u64, OwnedFd>,
    answers: BTreeMap<u64, Answer>,
}

/// One that is being written.
#[derive(Debug)]
struct Answer {
    writer: Child,
    /// Of the question, with its number there.
    listener: OwnedFd,
    id: u64,
}

impl<'a> Desk<'a> {
    /// In the keeper, as root of its namespaces.
    pub(super) fn open(door: &'a OwnedFd) -> Result<Desk<'a>> {
        let context = FsContext::open("proc")?;
        context.create()?;
        let mut desk = Desk {
            door,
            procfs: context.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)?,
            events: Epoll::new()?,
            last: AT_THE_DOOR,
            listeners: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        desk.events.add(door, AT_THE_DOOR)?;
        desk.listen(install()?)?;
        Ok(desk)
    }

    /// What it holds before anybody has come in.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let own = [self.door.as_fd(), self.procfs.as_fd(), self.events.as_fd()];
        own.into_iter()
            .chain(self.listeners.values().map(AsFd::as_fd))
    }

    fn listen(&mut self, listener: OwnedFd) -> Result<()> {
        self.last += 1;
        self.events.add(&listener, self.last)?;
        self.listeners.insert(self.last, listener);
        Ok(())
    }

    /// Sees to what has come up. Does not wait.
    pub(super) fn serve(&mut self, mut info: impl FnMut() -> Result<SysInfo>) -> Result<()> {
        for found in self.events.ready()? {
            match found.number {
                AT_THE_DOOR => self.let_in(),
                number if self.answers.contains_key(&number) => self.put_away(number),
                _ => self.ask(found, &mut info),
            }
        }
        Ok(())
    }

    fn let_in(&mut self) {
        let mut byte = [0u8; 1];
        if let Ok((_, fds)) = socket::receive(self.door, &mut byte) {
            for listener in fds {
                // What cannot be listened to is closed: its calls fail with ENOSYS.
                let _ = self.listen(listener);
            }
        }
    }

    fn ask(&mut self, found: Found, info: &mut impl FnMut() -> Result<SysInfo>) {
        let Some(listener) = self.listeners.get(&found.number) else {
            return;
        };
        let asked = match found.readable {
            true => listener::receive(listener),
            // All that had the filter have ended.
            false => {
                let _ = self.events.remove(listener);
                self.listeners.remove(&found.number);
                return;
            }
        };
        let Ok(Some(asked)) = asked else { return };
        let answer = info().and_then(|info| self.answer(listener, asked, &info));
        match answer {
            Ok(answer) => {
                self.last += 1;
                // One that cannot be waited for is waited for now: it has its time.
                let watched = self.events.add(&answer.writer.pidfd, self.last);
                self.answers.insert(self.last, answer);
                if watched.is_err() {
                    self.put_away(self.last);
                }
            }
            Err(_) => drop(listener::go_on(listener, asked.id)),
        }
    }

    fn answer(&self, listener: &OwnedFd, asked: Asked, info: &SysInfo) -> Result<Answer> {
        let listener = listener
            .try_clone()
            .call(|| "fcntl(F_DUPFD_CLOEXEC, listener)")?;
        match fork::clone3(0, None, false)? {
            Fork::Parent(writer) => Ok(Answer {
                writer,
                listener,
                id: asked.id,
            }),
            Fork::Child => fork::exit_after(|| {
                signal::reset();
                signal::end_after(PATIENCE);
                match self.write(&listener, asked, info) {
                    Ok(()) => 0,
                    Err(_) => 1,
                }
            }),
        }
    }

    /// The life of a child.
    fn write(&self, listener: &OwnedFd, asked: Asked, info: &SysInfo) -> Result<()> {
        let memory = memory::open(&self.procfs, asked.thread)?;
        // It still was that thread's.
        if !listener::waits(listener, asked.id) {
            return Ok(());
        }
        let bytes = match asked.arch & WIDE {
            0 => info.narrow(),
            _ => info.wide(),
        };
        memory::write(memory, &bytes, asked.arguments[0])?;
        listener::succeed(listener, asked.id)
    }

    /// A child has ended.
    fn put_away(&mut self, number: u64) {
        let Some(answer) = self.answers.remove(&number) else {
            return;
        };
        if process::wait(&answer.writer.pidfd).ok() != Some(Exit::Code(0)) {
            // Who has asked may be gone as well.
            let _ = listener::go_on(&answer.listener, answer.id);
        }
    }
}

impl AsFd for Desk<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}
