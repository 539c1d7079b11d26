//! The parent's side of a birth: serves the child until it is ready.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::Pid;

use super::birth::Birth;
use super::channel::{ParentEnd, Request};
use super::exec::Join;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hooks::Point;
use crate::setup::console;
use crate::setup::namespaces::kind;
use crate::sys::exe;
use crate::sys::fork::Child;
use crate::sys::fs::{self, OFlags};
use crate::sys::pidfd;
use crate::sys::process;

/// Whose child it is, and so what it may ask for.
pub(super) enum Duties<'a> {
    /// A container's first process.
    Init(Birth<'a>),
    /// One that joins a container.
    Exec(Join<'a>),
}

/// What the caller has to do for a birth, while the child is busy with its own.
pub(crate) trait Caller {
    /// The process is there, and has not asked for anything yet.
    fn born(&mut self, _child: &Child) -> Result<()> {
        Ok(())
    }

    /// The process goes no further before it is in its cgroup: waits for that, and tells where it is. Only called where
    /// [`Birth::cgroup_later`] is set.
    fn cgroup(&mut self) -> Result<PathBuf> {
        Err(Error::new(ErrorKind::Process, "the child has its cgroup"))
    }

    /// The process leaves the container's cgroup for one below it. Only called for the keeper of a system container.
    fn cells(&mut self, _keeper: &Child) -> Result<()> {
        Err(Error::new(ErrorKind::Process, "the child is no keeper"))
    }

    /// The file systems are mounted, and hooks come next. Only called where there are hooks, or where
    /// [`crate::setup::mounts::Mounts::may_open_devices`].
    fn mounted(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A caller that has nothing to do.
impl Caller for () {}

/// A child that lives and may have questions.
pub(crate) struct Newborn<'a> {
    duties: Duties<'a>,
    /// The container's init; before that is there, the stage.
    pub(crate) child: Child,
    channel: ParentEnd,
    /// The master of the terminal, where the caller serves it.
    pub(crate) master: Option<OwnedFd>,
    /// A stage has been born, and the process proper not yet.
    staged: bool,
    /// The stage that is done, until it has been reaped.
    stage: Option<Child>,
    /// Set once the child is on its own: until then it does not outlive this value.
    released: bool,
    /// The child has been told its seccomp filter, if it is to have one.
    filtered: bool,
}

impl<'a> Newborn<'a> {
    pub(super) fn new(
        duties: Duties<'a>,
        child: Child,
        channel: ParentEnd,
        staged: bool,
    ) -> Newborn<'a> {
        Newborn {
            duties,
            child,
            channel,
            master: None,
            staged,
            stage: None,
            released: false,
            filtered: false,
        }
    }

    /// Serves the child's requests until it says that it is ready.
    ///
    /// # Errors
    /// What the child reports, or how it died; it is gone and reaped then.
    pub(crate) fn serve(&mut self, caller: &mut dyn Caller) -> Result<()> {
        if !self.staged {
            self.prepare(caller)?;
        }
        // A child without ids, or one that is to be moved, comes first.
        let mut waits = match &self.duties {
            Duties::Init(birth) => birth.plan.namespaces.is_new(kind::USER),
            Duties::Exec(_) => false,
        };
        loop {
            if !waits && !self.filtered && (!self.staged || self.is_exec()) {
                // The child is busy with its own.
                if let Some(program) = self.duties.seccomp().compile()? {
                    self.channel.program(&program)?;
                }
                self.filtered = true;
                if self.goes_ahead() {
                    self.channel.go_beforehand()?;
                }
            }
            let (request, fds) = match self.receive() {
                Ok(Some(received)) => received,
                Err(error) if error.errno() != Some(Errno::CONNRESET) => return Err(error),
                _ => return Err(self.died()),
            };
            match (request, &self.duties) {
                (Request::Failed(text), _) => {
                    if self.is_staged_exec() {
                        self.hear_of_proper();
                    }
                    return Err(Error::new(ErrorKind::Process, text));
                }
                (Request::Stage(pid), _) if self.staged => {
                    process::wait(&self.adopt(pid)?.pidfd)?;
                    self.prepare(caller)?;
                }
                (Request::Proper(pid), Duties::Exec(_)) if self.staged => {
                    self.stage = Some(self.adopt(pid)?);
                    return self.prepare(caller);
                }
                (
                    Request::MapIds,
                    Duties::Init(Birth {
                        plan, procfs, host, ..
                    }),
                ) => {
                    plan.mappings.apply(procfs, self.child.pid, host)?;
                    self.answer(&[])?;
                    waits = false;
                }
                (Request::NetDevices, Duties::Init(birth)) => {
                    self.answer(&self.move_net_devices(birth)?)?;
                }
                (Request::Cgroup, Duties::Init(birth)) if birth.cgroup_later => {
                    let path = caller.cgroup()?;
                    self.answer(path.as_os_str().as_bytes())?;
                }
                (Request::Cells, Duties::Init(birth)) if birth.plan.system => {
                    caller.cells(&self.child)?;
                    self.answer(&[])?;
                }
                (Request::RuntimeHooks, Duties::Init(birth)) => {
                    caller.mounted()?;
                    self.run_hooks(birth)?;
                    self.answer(&[])?;
                }
                (Request::Console, _) => self.console(fds)?,
                (Request::Listener, _) => self.listener(&fds)?,
                (Request::Ready, _) if !self.staged => return Ok(()),
                (request, _) => return Err(unexpected(&request)),
            }
        }
    }

    /// Lets the child go on to its program, or to wait for `start`.
    pub(crate) fn go(&self) -> Result<()> {
        if self.goes_ahead() {
            return Ok(());
        }
        self.answer(&[])?;
        if !self.duties.seccomp().notifies_late() {
            return Ok(());
        }
        match self.channel.receive()? {
            Some((Request::Listener, fds)) => self.listener(&fds),
            Some((Request::Failed(text), _)) => Err(Error::new(ErrorKind::Process, text)),
            Some((request, _)) => Err(unexpected(&request)),
            None => Err(self.died()),
        }
    }

    fn is_exec(&self) -> bool {
        matches!(self.duties, Duties::Exec(_))
    }

    fn goes_ahead(&self) -> bool {
        match &self.duties {
            Duties::Init(birth) => birth.goes_ahead(),
            Duties::Exec(join) => join.goes_ahead(),
        }
    }

    /// The filter is there: its listener goes to the agent before the child makes another call, which may need the agent.
    fn listener(&self, fds: &[OwnedFd]) -> Result<()> {
        let pid = self.child.pid.as_raw_nonzero().get();
        self.duties.pass_listener(fds, pid)?;
        self.answer(&[])
    }

    fn answer(&self, payload: &[u8]) -> Result<()> {
        self.channel
            .go(payload)
            .map_err(|error| match error.errno() {
                Some(Errno::PIPE | Errno::CONNRESET) => self.died(),
                _ => error,
            })
    }

    /// The child is on its own from here on.
    pub(crate) fn leave(&mut self) {
        self.released = true;
    }

    /// Waits until the program runs: the child's end of the socket is closed by its execve(2).
    ///
    /// # Errors
    /// What the child reports when the program cannot be run.
    pub(crate) fn wait_for_exec(&mut self) -> Result<()> {
        match self.channel.receive() {
            Ok(None) => {
                if let Some(stage) = self.stage.take() {
                    // It has nothing left to do.
                    process::wait(&stage.pidfd)?;
                }
                Ok(())
            }
            Ok(Some((Request::Failed(text), _))) => Err(Error::new(ErrorKind::Process, text)),
            Ok(Some((request, _))) => Err(unexpected(&request)),
            Err(error) if error.errno() == Some(Errno::CONNRESET) => Err(self.died()),
            Err(error) => Err(error),
        }
    }

    /// What only the parent may do to the process, done while that is busy with its own.
    fn prepare(&self, caller: &mut dyn Caller) -> Result<()> {
        let (process, procfs, raise) = match &self.duties {
            // In its user namespace it cannot raise a limit of the host any more.
            Duties::Init(birth) => (
                &birth.plan.process,
                birth.procfs,
                birth.plan.namespaces.is_new(kind::USER),
            ),
            Duties::Exec(join) => (join.process, join.procfs, false),
        };
        if raise {
            process.rlimits.raise(Some(self.child.pid))?;
        }
        let by_itself = matches!(&self.duties, Duties::Exec(join) if join.sees_to_its_score());
        if !by_itself {
            process.oom_score_adj.apply(procfs, self.child.pid)?;
        }
        caller.born(&self.child)?;
        exe::release();
        Ok(())
    }

    /// The stage, which is given back, has made the process proper, as our child, and ends.
    ///
    /// The one may be in the sight of the container, and its end of the socket with it: what it says is not just believed.
    fn adopt(&mut self, pid: i32) -> Result<Child> {
        let words = || "taking over the container's process";
        let wrong = || {
            Error::new(
                ErrorKind::Process,
                "the stage named no process of its making",
            )
        };
        let pid = Pid::from_raw(pid).filter(|pid| *pid != self.child.pid);
        let pid = pid.ok_or_else(wrong)?;
        let pidfd = pidfd::pidfd_open(pid).context(words)?;
        // A child is not reaped, so its number is still its own.
        if !process::is_child(&pidfd) {
            return Err(wrong());
        }
        self.staged = false;
        Ok(std::mem::replace(&mut self.child, Child { pid, pidfd }))
    }

    /// The next request. `None` as well when the stage of an exec has ended, or was killed, without having told of the process
    /// proper: if there is one, that waits for an answer and holds the socket.
    fn receive(&self) -> Result<Option<(Request, Vec<OwnedFd>)>> {
        match self.is_staged_exec() && !self.channel.is_heard_of_before_end(&self.child)? {
            true => Ok(None),
            false => self.channel.receive(),
        }
    }

    fn is_staged_exec(&self) -> bool {
        self.staged && self.is_exec()
    }

    /// The process proper of an exec may have failed before its stage came to tell of it; or it was the stage that failed. Whatever there
    /// is is to be reaped here: the container cannot end before, and nobody else may be there to do it.
    fn hear_of_proper(&mut self) {
        while let Ok(Some((request, _))) = self.receive() {
            if let Request::Proper(pid) = request {
                self.stage = self.adopt(pid).ok();
                return;
            }
        }
    }

    fn move_net_devices(&self, birth: &Birth<'_>) -> Result<Vec<u8>> {
        let path = format!("/proc/{}/ns/net", self.child.pid);
        let namespace = fs::open(path, OFlags::RDONLY)?;
        birth
            .plan
            .net_devices
            .collect_and_move(namespace.as_fd())?
            .to_bytes()
    }

    fn run_hooks(&self, birth: &Birth<'_>) -> Result<()> {
        let pid = self.child.pid.as_raw_nonzero().get();
        let state = birth.state.json("creating", pid);
        for point in [Point::Prestart, Point::CreateRuntime] {
            birth.plan.hooks.run(point, &state, None)?;
        }
        Ok(())
    }

    fn console(&mut self, mut fds: Vec<OwnedFd>) -> Result<()> {
        let master = fds
            .pop()
            .ok_or_else(|| Error::new(ErrorKind::Process, "the child sent no terminal"))?;
        let socket = match &self.duties {
            Duties::Init(birth) => &birth.console_socket,
            Duties::Exec(join) => &join.console_socket,
        };
        match socket {
            Some(socket) => console::send_console(socket.as_fd(), master.as_fd()),
            None => {
                self.master = Some(master);
                Ok(())
            }
        }
    }

    fn died(&self) -> Error {
        let how = match process::wait(&self.child.pidfd) {
            Ok(exit) => exit.to_string(),
            Err(error) => error.to_string(),
        };
        let text =
            format!("container process died before it was ready ({how}, possibly OOM-killed)");
        Error::new(ErrorKind::Died, text)
    }
}

pub(super) fn unexpected(request: &Request) -> Error {
    let text = format!("unexpected message from the child: {request:?}");
    Error::new(ErrorKind::Process, text)
}

/// A birth that fails leaves no process.
impl Drop for Newborn<'_> {
    fn drop(&mut self) {
        if let Some(stage) = &self.stage {
            stage.end();
        }
        if self.released {
            return;
        }
        // Should that fail, it ends with the socket, or with this process.
        self.child.end();
    }
}

/// Opens a console socket and connects to it, before the container is in sight.
pub(crate) fn connect_console(path: &std::path::Path) -> Result<OwnedFd> {
    crate::sys::socket::connect(path, rustix::net::SocketType::STREAM)
        .context(|| "connecting to the console socket")
}
