//! The keeper of a system container: process 1 of the container's pid namespace, and the process that the engine knows. Init
//! is process 1 of another pid namespace below it, so that it can end by reboot(2) and begin anew while the container stays.
//!
//! ```text
//!   vzrun create ── keeper (user, pid, network, ipc, uts and cgroup namespace; the template of the mounts)
//!                     └─ init, boot after boot (pid and mount namespace)
//! ```
//!
//! The first init speaks with vzrun as that of any container. The later ones speak with the keeper, in the same words.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::birth::{Birth, Outside};
use super::channel::{self, ChildEnd, ParentEnd, Request};
use super::clocks::Clocks;
use super::init::{self, Boot};
use super::parent::unexpected;
use super::power;
use super::readiness::Readiness;
use super::sysinfo::Desk;
use super::template::Template;
use crate::cgroup::Cgroup;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hooks::Point;
use crate::setup::namespaces::{Stage, kind};
use crate::sys::fork::{self, Child, Fork};
use crate::sys::fs::{self, OFlags};
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::process::{self, Exit};
use crate::sys::{namespace, prctl, signal, text};
use crate::view::{self, Sources};

/// What it is called while init runs (comm of proc_pid_comm(5)).
const NAME: &std::ffi::CStr = c"vzrun-keeper";

/// The keeper's life; gives the exit code of the container.
pub(super) fn live(
    birth: &Birth<'_>,
    mut outside: Outside,
    channel: &ChildEnd,
    stage: Option<Stage>,
) -> i32 {
    let keeper = init::enter_namespaces(birth, &mut outside, channel, stage)
        .and_then(|()| Keeper::prepare(birth, outside, channel));
    match keeper {
        Ok(keeper) => keeper.keep(channel),
        Err(error) => {
            init::report(channel, &error.wrap("error during container init"));
            1
        }
    }
}

struct Keeper<'b, 'a> {
    birth: &'b Birth<'a>,
    template: Template,
    cgroup: Option<Cgroup>,
    /// `None`: they are the host's, or as the config has them.
    clocks: Option<Clocks>,
    /// What the container sees of its resources; `None`: the host's.
    view: RefCell<Option<view::Server>>,
    /// `None`: the kernel answers sysinfo(2), with the host's numbers.
    sysinfo: RefCell<Option<Desk<'b>>>,
    /// `None`: init tells somebody else, or nobody, that it is ready.
    readiness: Option<Readiness<'b>>,
    signals: OwnedFd,
}

impl<'b, 'a> Keeper<'b, 'a> {
    fn prepare(
        birth: &'b Birth<'a>,
        mut outside: Outside,
        channel: &ChildEnd,
    ) -> Result<Keeper<'b, 'a>> {
        let cgroup = cgroup(birth, channel)?;
        let view = match birth.host.euid {
            0 => outside.view.take(),
            // Nobody else has the rights: those over the container's user namespace.
            _ => view::Server::mount(birth.plan.sysinfo)?,
        };
        let (view, tree) = view.unzip();
        let (template, notify) = Template::build(birth, outside, tree, channel)
            .context(|| "keeping what each boot is made of")?;
        // Should vzrun die from here on, init sees it at the socket, and ends; and so does its keeper.
        prctl::set_parent_death_signal(0)?;
        let clocks = match birth.plan.has_clocks_per_boot() {
            true => Clocks::prepare(birth.procfs)?,
            false => None,
        };
        let desk = birth.notes.sysinfo.as_ref().map(Desk::open).transpose();
        Ok(Keeper {
            birth,
            template,
            cgroup,
            clocks,
            view: RefCell::new(view),
            sysinfo: RefCell::new(desk.context(|| "preparing to answer sysinfo(2)")?),
            readiness: notify
                .zip(birth.notes.ready.as_ref())
                .map(|(socket, note)| Readiness::new(socket, note)),
            signals: signal::all_by_descriptor().context(|| "taking the signals for init")?,
        })
    }

    /// From the first boot to the end of the last init.
    fn keep(self, channel: &ChildEnd) -> i32 {
        let mut channel = Some(channel);
        loop {
            let exit = match channel.take() {
                Some(channel) => self.boot_first(channel),
                None => self.boot_again(),
            };
            match exit {
                // reboot(2): SIGHUP for a restart, SIGINT for halt and power off.
                Ok(Exit::Signal(libc::SIGHUP)) => {}
                Ok(Exit::Signal(libc::SIGINT)) => return 0,
                Ok(exit) => return exit.status(),
                Err(error) => {
                    // The container's stderr is all there is.
                    let text = format!("vzrun: keeper: {error}\n");
                    let _ = rustix::io::write(std::io::stderr(), text.as_bytes());
                    return 1;
                }
            }
        }
    }

    fn boot_first(&self, channel: &ChildEnd) -> Result<Exit> {
        let (running, child) = match self.make_first(channel) {
            Ok(made) => made,
            Err(error) => {
                init::report(channel, &error.wrap("error during container init"));
                return Ok(Exit::Code(1));
            }
        };
        let plan = self.birth.plan;
        if plan.hooks.has(Point::CreateContainer) && !plan.reboot_hooks.has(Point::CreateContainer)
        {
            self.template.forget_host()?;
        }
        let view = self.view.borrow();
        let kept = [
            Some(running.as_fd()),
            Some(child.pidfd.as_fd()),
            Some(self.signals.as_fd()),
            Some(self.template.as_fd()),
            Some(self.birth.procfs.as_fd()),
            self.cgroup.as_ref().map(Cgroup::as_fd),
            self.template.slave(),
            view.as_ref().and_then(view::Server::device),
            self.birth.notes.reboots.as_ref().map(AsFd::as_fd),
            self.birth.notes.ready.as_ref().map(AsFd::as_fd),
            self.readiness.as_ref().map(AsFd::as_fd),
        ];
        let again = plan
            .hooks
            .output()
            .filter(|_| !plan.reboot_hooks.is_empty());
        let mut kept: Vec<BorrowedFd<'_>> = kept.into_iter().flatten().chain(again).collect();
        let desk = self.sysinfo.borrow();
        kept.extend(desk.iter().flat_map(Desk::fds));
        // The socket goes, too: its end tells vzrun that the program runs. What is closed here has no owner that would close it again: this process ends by _exit(2).
        self.birth.passed_fds.close_others(&kept)?;
        drop((view, desk));
        self.wait_for([running.as_fd()])?;
        // Not closed again where something new may have its number.
        std::mem::forget(running);
        self.watch(&child)
    }

    /// Init, and a pipe that ends when its program runs.
    fn make_first(&self, channel: &ChildEnd) -> Result<(OwnedFd, Child)> {
        let (running, hold) = poll::pipe().context(|| "making init")?;
        match self.fork()? {
            Fork::Parent(child) => Ok((running, child)),
            Fork::Child => self.become_init(channel, Boot::First(&hold)),
        }
    }

    fn boot_again(&self) -> Result<Exit> {
        if let Some(desk) = self.sysinfo.borrow_mut().as_mut() {
            desk.forget();
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup.clear_cells()?;
        }
        if let Some(reboots) = &self.birth.notes.reboots {
            fs::write_once(reboots, b".")?;
        }
        self.template.enter()?;
        let (ours, theirs) = channel::pair()?;
        let child = match self.fork()? {
            Fork::Parent(child) => child,
            Fork::Child => {
                drop(ours);
                self.become_init(&theirs, Boot::Again)
            }
        };
        drop(theirs);
        if let Some(program) = self.birth.seccomp().compile()? {
            ours.program(&program)?;
        }
        self.serve(&ours).inspect_err(|_| child.end())?;
        self.watch(&child)
    }

    /// What vzrun does for the first init, for one of a later boot: until its program runs, or it has ended without a word.
    fn serve(&self, init: &ParentEnd) -> Result<()> {
        loop {
            self.wait_for([init.as_fd()])?;
            match init.receive() {
                Ok(Some((Request::Ready, _))) => init.go(&[])?,
                Ok(Some((Request::Failed(text), _))) => {
                    return Err(Error::new(ErrorKind::Process, text));
                }
                Ok(Some((request, _))) => return Err(unexpected(&request)),
                Ok(None) => return Ok(()),
                Err(error) if error.errno() == Some(Errno::CONNRESET) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sleeps until one of these can be read, and says which. Meanwhile the view is served, which init needs to get ready and
    /// everybody in the container may read at any time, and what init has to say is heard: it waits for a full socket.
    fn wait_for<const N: usize>(&self, fds: [BorrowedFd<'_>; N]) -> Result<[bool; N]> {
        let mut view = self.view.borrow_mut();
        let mut desk = self.sysinfo.borrow_mut();
        loop {
            let device = view.as_ref().and_then(view::Server::device);
            let socket = self.readiness.as_ref().map(AsFd::as_fd);
            let questions = desk.as_ref().map(AsFd::as_fd);
            let mut polled: Vec<PollFd<'_>> = fds
                .iter()
                .chain(&device)
                .chain(&socket)
                .chain(&questions)
                .map(|fd| PollFd::new(fd, PollFlags::IN))
                .collect();
            poll::poll(&mut polled, None)?;
            let ready = |index: usize| polled.get(index).is_some_and(|fd| !fd.revents().is_empty());
            let found = std::array::from_fn(ready);
            let asked = device.is_some() && ready(N);
            let told = socket.is_some() && ready(N + usize::from(device.is_some()));
            let behind = usize::from(device.is_some()) + usize::from(socket.is_some());
            let questioned = questions.is_some() && ready(N + behind);
            drop(polled);
            if let Some(readiness) = self.readiness.as_ref().filter(|_| told) {
                readiness.hear()?;
            }
            if let Some(view) = view.as_mut().filter(|_| asked) {
                view.serve(&self.sources());
            }
            if let Some((desk, view)) = desk.as_mut().zip(view.as_mut()).filter(|_| questioned) {
                desk.serve(view, &self.sources())?;
            }
            if found.contains(&true) {
                return Ok(found);
            }
        }
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            procfs: self.birth.procfs,
            cgroup: self.cgroup.as_ref(),
        }
    }

    fn fork(&self) -> Result<Fork> {
        let cell = self.cgroup.as_ref().map(Cgroup::cell_of_init).transpose()?;
        let cell = cell.as_ref().map(AsFd::as_fd);
        if let Some(clocks) = &self.clocks {
            clocks.begin_anew(self.birth.procfs)?;
        }
        if let Some(view) = self.view.borrow_mut().as_mut() {
            view.begin(&self.sources(), self.clocks.is_some());
        }
        if let Some(readiness) = &self.readiness {
            readiness.begin()?;
        }
        fork::clone3(kind::PID | kind::MOUNT, cell, false).context(|| "making init")
    }

    fn become_init(&self, channel: &ChildEnd, boot: Boot<'_>) -> ! {
        // Held by the keeper alone: with its end whatever waits for an answer is let go. Init itself would wait for ever, and
        // not even a signal ends that.
        drop((self.view.take(), self.sysinfo.take()));
        fork::exit_after(
            || match init::boot(self.birth, &self.template, channel, boot) {
                Ok(()) => 0,
                Err(error) => {
                    init::report(channel, &error);
                    1
                }
            },
        )
    }

    /// While init runs: passes signals on until it ends.
    fn watch(&self, init: &Child) -> Result<Exit> {
        // Engines look into the container by its keeper. An init that has ended already cannot be joined, which is seen next.
        // (Nothing is logged here: the log is closed with all else that is the host's.)
        let _ = namespace::setns(&init.pidfd, kind::MOUNT);
        prctl::set_name(NAME)?;
        if let Ok(maps) = self.birth.procfs.read_self("maps") {
            text::forget(&maps);
        }
        loop {
            let [ended, _] = self.wait_for([init.pidfd.as_fd(), self.signals.as_fd()])?;
            while let Some(number) = signal::next(&self.signals)? {
                if number != libc::SIGCHLD && !ended {
                    power::signal(&init.pidfd, number);
                }
            }
            if ended {
                return process::wait(&init.pidfd);
            }
        }
    }
}

/// Makes the container's cgroup the root of what is seen inside, and moves this process to one of its own below it.
fn cgroup(birth: &Birth<'_>, channel: &ChildEnd) -> Result<Option<Cgroup>> {
    let mut path = birth.cgroup_view.path.clone();
    if birth.cgroup_later {
        use std::os::unix::ffi::OsStringExt;
        let told = channel.call(&Request::Cgroup)?;
        path = Some(std::ffi::OsString::from_vec(told).into());
    }
    namespace::unshare(kind::CGROUP).context(|| "making the cgroup namespace")?;
    let Some(path) = path else {
        return Ok(None);
    };
    channel.call(&Request::Cells)?;
    let below = path.strip_prefix("/").unwrap_or(&path);
    let directory = fs::open(
        birth.cgroup_view.mount.join(below),
        OFlags::PATH | OFlags::DIRECTORY,
    );
    let directory = directory.context(|| "opening the container's cgroup")?;
    Ok(Some(Cgroup::of(directory, &path)))
}
