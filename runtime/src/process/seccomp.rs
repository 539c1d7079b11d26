//! When a process gets its seccomp filter, and how the filter's listener gets out.
//!
//! With no_new_privs the filter comes last, right before execve(2), and need not allow what the runtime does itself.
//! Without, it takes CAP_SYS_ADMIN and so comes before the user changes: what is done after that has to be allowed, and
//! is what runc does there, too. Hooks of the container run under the filter. A filter with an agent comes while the
//! parent is there to find the agent.
//!
//! The filter is compiled by the parent while the child works, and comes over the channel as soon as it is there.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::channel::{ChildEnd, Request};
use super::parent::Duties;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::plan::ProcessPlan;
use crate::seccomp::{Call, Filter, passes};
use crate::sys::fork::{self, Fork};
use crate::sys::seccomp::{self, SockFilter};
use crate::sys::{pidfd, prctl, signal, socket};

/// A process's filter, and when it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seccomp<'a> {
    filter: Option<&'a Filter>,
    late: bool,
}

impl<'a> Seccomp<'a> {
    pub(super) fn of(filter: Option<&'a Filter>, process: &ProcessPlan) -> Seccomp<'a> {
        let late = process.no_new_privileges;
        Seccomp { filter, late }
    }

    /// There is one, and with an agent.
    pub(super) fn notifies(&self) -> bool {
        self.filter.is_some_and(|filter| filter.notify)
    }

    /// And it comes after Ready.
    pub(super) fn notifies_late(&self) -> bool {
        self.late && self.notifies()
    }

    /// In the parent: the program in bytes.
    pub(super) fn compile(&self) -> Result<Option<Vec<u8>>> {
        let program = self.filter.map(Filter::compile).transpose()?;
        Ok(program.map(|program| SockFilter::to_bytes(&program.instructions)))
    }

    /// In the child: whether it can make these calls under the filter as well. Not said of one with an agent, which would
    /// have to be there.
    pub(super) fn lets_pass(&self, channel: &ChildEnd, calls: &[Call]) -> Result<bool> {
        match self.filter {
            None => Ok(true),
            Some(filter) if filter.notify => Ok(false),
            Some(_) => channel.look_at_program(|bytes| {
                let program = SockFilter::from_bytes(bytes);
                calls.iter().all(|call| passes(&program, call))
            }),
        }
    }

    /// It comes after the user has changed.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// In the child before its user changes: where the filter needs the rights that it has till then.
    pub(super) fn install_early(&self, channel: &ChildEnd) -> Result<()> {
        match self.filter {
            Some(filter) if !self.late => install(filter, channel),
            _ => Ok(()),
        }
    }

    /// In the child, when it is ready: what is left for later.
    pub(super) fn rest(&self) -> Rest<'a> {
        Rest(self.filter.filter(|_| self.late))
    }
}

/// A filter that is still to come.
#[derive(Debug)]
pub(super) struct Rest<'a>(Option<&'a Filter>);

impl Rest<'_> {
    pub(super) fn notifies(&self) -> bool {
        self.0.is_some_and(|filter| filter.notify)
    }

    /// From here on the filter holds. Once it does, this does nothing.
    pub(super) fn install(&mut self, channel: &ChildEnd) -> Result<()> {
        match self.0.take() {
            Some(filter) => install(filter, channel),
            None => Ok(()),
        }
    }
}

fn install(filter: &Filter, channel: &ChildEnd) -> Result<()> {
    let program = SockFilter::from_bytes(&channel.program()?);
    let courier = filter.notify.then(|| Courier::start(channel)).transpose()?;
    let listener = seccomp::set_filter(&program, filter.flags)?;
    match (courier, listener) {
        (Some(courier), Some(listener)) => courier.carry(&listener, channel),
        _ => Ok(()),
    }
}

/// A process beside this one, without the filter but with the same descriptors, that sends the listener to the parent:
/// the filter may hold back the calls that this takes until the agent has answered, which has no listener yet. All that
/// is left to this process is one write(2), for which runc takes no agent either.
///
/// (The parent could take the listener out of this process by pidfd_getfd(2), but without privileges only out of one
/// that others may look into, too.)
struct Courier {
    /// The way to tell it which descriptor is the listener.
    tell: OwnedFd,
    /// Its end of that, which is as much this process's.
    _told: OwnedFd,
    pidfd: OwnedFd,
}

impl Courier {
    fn start(channel: &ChildEnd) -> Result<Courier> {
        let (tell, told) = socket::seqpacket_pair()?;
        // It may be a child of the container's process 1, to whose program it must not be left to be waited for. The
        // execve(2) puts an end to this.
        signal::discard_children();
        match fork::clone3(fork::SAME_DESCRIPTORS, None, false)? {
            Fork::Parent(child) => Ok(Courier {
                tell,
                _told: told,
                pidfd: child.pidfd,
            }),
            Fork::Child => fork::exit_after(|| match deliver(told.as_fd(), channel) {
                Ok(()) => 0,
                Err(error) => {
                    super::init::report(channel, &error);
                    1
                }
            }),
        }
    }

    /// Comes back when the agent has the listener and the courier is gone.
    fn carry(self, listener: &OwnedFd, channel: &ChildEnd) -> Result<()> {
        let numbers = [listener.as_raw_fd(), self.pidfd.as_raw_fd()];
        let message = numbers.map(RawFd::to_ne_bytes);
        rustix::io::retry_on_intr(|| rustix::io::write(&self.tell, message.as_flattened()))
            .call(|| "write(courier)")?;
        channel.wait_go().map(drop)
    }
}

/// The courier's life.
fn deliver(told: BorrowedFd<'_>, channel: &ChildEnd) -> Result<()> {
    // It has all descriptors open that would show the end of the other.
    prctl::set_parent_death_signal(libc::SIGKILL)?;
    let mut message = [[0; 4]; 2];
    let (length, _) = socket::receive(told, message.as_flattened_mut())?;
    if length != size_of_val(&message) {
        return Err(Error::new(ErrorKind::Process, "no listener to pass on"));
    }
    let [listener, pidfd] = message.map(RawFd::from_ne_bytes);
    fork::with_shared(&[listener, pidfd], |fds| {
        channel.say(&Request::Listener, fds)
    })
}

impl Duties<'_> {
    pub(super) fn seccomp(&self) -> Seccomp<'_> {
        match self {
            Duties::Init(birth) => birth.seccomp(),
            Duties::Exec(join) => join.seccomp(),
        }
    }

    /// In the parent: the listener goes to the agent of the process `pid`, and the courier is out of the way when this
    /// comes back.
    pub(super) fn pass_listener(&self, fds: &[OwnedFd], pid: i32) -> Result<()> {
        let (Some(filter), [listener, courier]) = (self.seccomp().filter, fds) else {
            let text = "the child sent no listener";
            return Err(Error::new(ErrorKind::Process, text));
        };
        match self {
            Duties::Init(birth) => {
                let state = birth.state.now("creating", pid);
                filter.send_listener(listener.as_fd(), &state, pid)?;
            }
            Duties::Exec(join) => filter.send_listener(listener.as_fd(), &join.state, pid)?,
        }
        pidfd::wait_exit(courier, None).map(drop)
    }
}
