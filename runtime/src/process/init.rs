//! The container's first process, from its birth to its program: one straight line. Each step says why it stands where
//! it does.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::io::Errno;

use super::birth::{Birth, Outside};
use super::channel::{ChildEnd, Request};
use super::template::Template;
use crate::error::{Context, Error, Result};
use crate::hooks::Point;
use crate::setup::console::{self, Console, Slave};
use crate::setup::environment::Environment;
use crate::setup::mounts::CgroupView;
use crate::setup::namespaces::{self, Stage, kind};
use crate::setup::net_devices::Moved;
use crate::setup::rootfs::Rootfs;
use crate::setup::sysctl::Part;
use crate::sys::{ids, namespace, netlink, prctl, process, signal};
use crate::view;

/// The name by which a container that is created and not yet started is known (comm of proc_pid_comm(5)).
pub(crate) const NAME: &std::ffi::CStr = c"vzrun:[2:INIT]";

/// Which boot of the container this is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Boot<'a> {
    /// There is only one.
    Only,
    /// The first of a system container. The keeper waits for the end of this descriptor, at the program's start.
    First(&'a OwnedFd),
    /// One after that. Nobody starts it, and but for those that are to be run each time the hooks have been run.
    Again,
}

/// Init's life. Comes back only with an error: the program takes the process over.
pub(super) fn live(
    birth: &Birth<'_>,
    mut outside: Outside,
    channel: &ChildEnd,
    stage: Option<Stage>,
) -> Result<()> {
    let ready = enter_namespaces(birth, &mut outside, channel, stage)
        .and_then(|()| set_up(birth, outside, channel, Boot::Only, None));
    run(birth, channel, Boot::Only, ready)
}

/// The same below a keeper, which is in the namespaces.
pub(super) fn boot(
    birth: &Birth<'_>,
    template: &Template,
    channel: &ChildEnd,
    boot: Boot<'_>,
) -> Result<()> {
    let ready = begin(birth).and_then(|()| {
        let (outside, console) = (template.outside()?, template.console()?);
        if boot.runs(Point::CreateContainer, birth) {
            template.go_to_host()?;
        }
        set_up(birth, outside, channel, boot, console)
    });
    run(birth, channel, boot, ready)
}

/// The new process 1 of a system container.
fn begin(birth: &Birth<'_>) -> Result<()> {
    signal::reset();
    prctl::set_name(NAME)?;
    prctl::set_parent_death_signal(libc::SIGKILL)?;
    process::setsid().context(|| console::LEADING)?;
    // The last boot may have changed it.
    birth.plan.hostname.apply()
}

/// From readiness to the program.
fn run(
    birth: &Birth<'_>,
    channel: &ChildEnd,
    boot: Boot<'_>,
    ready: Result<(Environment, CString)>,
) -> Result<()> {
    let (environment, path) = ready.map_err(|error| match error.kind() {
        // The words that engines look for come first.
        crate::error::ErrorKind::Process if error.to_string().starts_with("exec") => error,
        _ => error.wrap("error during container init"),
    })?;

    // The parent's death no longer kills this process, so that it can leave a created container behind. Until it has
    // answered, its end is still seen at the socket.
    prctl::set_parent_death_signal(0)?;
    match birth.goes_ahead() {
        true => channel.tell(&Request::Ready)?,
        false => drop(channel.call(&Request::Ready)?),
    }
    let mut filter = birth.seccomp().rest();
    if filter.notifies() {
        // While the parent is there, which knows the agent.
        filter.install(channel)?;
    }

    if let Some(fifo) = birth.fifo.as_ref().filter(|_| !boot.is_again()) {
        wait_for_start(fifo)?;
    }
    let plan = birth.plan;
    if boot.runs(Point::StartContainer, birth) {
        // What they run is the container's.
        filter.install(channel)?;
        signal::keep_children();
        let state = birth.state.json("created", own_pid());
        plan.hooks
            .run(Point::StartContainer, &state, Some(&environment.variables))?;
    }
    plan.process.execute(
        (&path, &environment),
        birth.passed_fds,
        boot.held().as_slice(),
        channel,
        filter,
    )
}

/// For hooks in the container's namespaces: the pid as seen there (runtime-spec, "State").
fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

impl<'a> Boot<'a> {
    /// What is open until the program runs. To the very end: before that, the keeper could not join this process's mount
    /// namespace.
    fn held(self) -> Option<BorrowedFd<'a>> {
        match self {
            Boot::First(hold) => Some(hold.as_fd()),
            _ => None,
        }
    }

    fn is_again(self) -> bool {
        matches!(self, Boot::Again)
    }

    /// Whether there are hooks to be run at this point of it.
    fn runs(self, point: Point, birth: &Birth<'_>) -> bool {
        let plan = birth.plan;
        plan.hooks.has(point) && (!self.is_again() || plan.reboot_hooks.has(point))
    }
}

/// What is once for a container: its namespaces, and what is in them beside file systems.
pub(super) fn enter_namespaces(
    birth: &Birth<'_>,
    outside: &mut Outside,
    channel: &ChildEnd,
    stage: Option<Stage>,
) -> Result<()> {
    let plan = birth.plan;
    let procfs = birth.procfs;
    // A parent that waits in the foreground has blocked all signals.
    signal::reset();
    prctl::set_name(NAME)?;
    // Should vzrun be killed, a half-made container goes with it.
    prctl::set_parent_death_signal(libc::SIGKILL)?;
    // The modes of what is made below are meant literally.
    process::umask(0);

    // The user namespace comes first: all rights in the others follow from it.
    let own_user = plan.namespaces.has(kind::USER);
    match stage {
        // The stage has joined what is joined, and its user namespace is this process's, unless it has cloned a new one.
        Some(stage) if stage.clone & kind::USER == 0 => {}
        _ if plan.namespaces.is_new(kind::USER) => {
            channel.call(&Request::MapIds)?;
            become_root()?;
        }
        _ => {
            if !outside.namespaces.is_empty() {
                // What is joined has processes in it that could look into this one.
                prctl::set_dumpable(false)?;
                if own_user {
                    plan.process.rlimits.raise(None)?;
                }
            }
            namespaces::join(&std::mem::take(&mut outside.namespaces))?;
            if own_user {
                become_root()?;
            }
        }
    }
    // Until its program runs, this process holds descriptors of the host. A created container can be entered by exec,
    // and a hook out of the image runs below it: neither may look in here.
    prctl::set_dumpable(false)?;
    if !own_user {
        // With full rights over the host's limits; in a user namespace the parent has done it.
        plan.process.rlimits.raise(None)?;
    }
    process::setsid().context(|| console::LEADING)?;
    // New keys carry the label, so the label comes before the keyring.
    plan.process.lsm.apply_to_keys(procfs)?;
    plan.keyring.apply()?;
    if plan.namespaces.is_new(kind::NETWORK) {
        netlink::loopback_up()?;
    }
    if !plan.net_devices.is_empty() {
        let moved = channel.call(&Request::NetDevices)?;
        Moved::from_bytes(&moved)?.configure()?;
    }
    plan.hostname.apply()?;
    // In the container's namespaces, but through the host's procfs: nothing of the container can be in its place.
    let part = match plan.mapped && plan.namespaces.is_joined(kind::NETWORK) {
        true => Part::ButNetwork,
        false => Part::All,
    };
    // What an engine has said of all groups, it has said of the host's.
    let has = |gid: &u32| !plan.mapped || plan.mappings.host_gid(*gid).is_some();
    plan.sysctl.apply(procfs, part, |gid| Some(gid).filter(has))
}

/// What each boot finds made, up to readiness.
fn set_up(
    birth: &Birth<'_>,
    mut outside: Outside,
    channel: &ChildEnd,
    boot: Boot<'_>,
    terminal: Option<(Slave, OwnedFd)>,
) -> Result<(Environment, CString)> {
    let plan = birth.plan;
    let procfs = birth.procfs;
    // The file system. All paths below the root are resolved in it; nothing is visible to others yet.
    let tree = outside.take_rootfs(plan)?;
    let rootfs = plan
        .rootfs
        .attach(tree)
        .context(|| "mounting the root filesystem")?;
    if plan.keeps_whole_procfs() {
        let place = rootfs.directory(Path::new("/proc"))?;
        view::keep_whole(place)?;
    }
    let mut place = Place {
        birth,
        channel,
        // The keeper is in it, and in a cgroup namespace of its own.
        found: plan.system.then(|| birth.cgroup_view.clone()),
    };
    let finish = plan
        .mounts
        .apply(&rootfs, outside.mounts, &mut || place.settle())?;
    // The hooks need it, and what they start is to be in it.
    place.settle()?;
    if let Some(devices) = &plan.devices {
        devices.apply(&rootfs).context(|| "filling /dev")?;
    }
    if let Some(files) = &plan.run_host {
        let notify = outside.notify.take();
        files
            .apply(&rootfs, notify)
            .context(|| "filling /run/host")?;
    }
    // The hooks see the mounts, and may still change the root: it is made read-only after them.
    // The answer also says that this cgroup has all its limits, for the createContainer hooks are in it.
    if (birth.has_hooks() || plan.mounts.may_open_devices()) && !boot.is_again() {
        channel.call(&Request::RuntimeHooks)?;
    }
    if boot.runs(Point::CreateContainer, birth) {
        let state = birth.state.json("creating", own_pid());
        plan.hooks.run(Point::CreateContainer, &state, None)?;
    }
    let console = match terminal {
        Some((slave, tree)) => {
            console::mount_on_dev_console(tree, rootfs.as_fd())?;
            Some(slave)
        }
        None => console(birth, &rootfs, channel)?,
    };
    finish.apply()?;
    // Before what is protected, for that may be one of these files.
    outside.viewed.apply(&rootfs)?;
    plan.protected_paths.apply(&rootfs)?;
    plan.rootfs
        .enter(&rootfs)
        .context(|| "entering the root filesystem")?;

    // From here on `/` is the container's. The program is looked for as its user will see it.
    plan.personality.apply()?;
    plan.memory_policy.apply()?;
    match console {
        Some(console) => console.take()?,
        None => console::take_own_null(rootfs.as_fd(), procfs)?,
    }
    let environment = plan.process.full_environment(&rootfs)?;
    // A missing working directory is made, so the root becomes read-only only after that.
    plan.process.make_cwd(&rootfs);
    plan.rootfs.apply_readonly(&rootfs)?;
    drop(rootfs);
    if let Some(publish) = birth.publish.filter(|_| birth.goes_ahead()) {
        // The container is closed around this process, and it still may write outside.
        channel.wait_go()?;
        publish()?;
    }
    plan.process.become_user(procfs, || {
        // A created container may stay for long, and be entered by those who may look into any process: what it holds
        // of the host is closed now. Nothing that is closed here has an owner who would close it again.
        let mut kept = vec![channel.as_fd()];
        kept.extend(birth.fifo.as_ref().map(AsFd::as_fd));
        kept.extend(plan.hooks.output());
        kept.extend(boot.held());
        birth.passed_fds.close_others(&kept)?;
        process::forget_environment();
        birth.seccomp().install_early(channel)
    })?;
    let path = plan.process.find_executable(&environment)?;
    Ok((environment, path))
}

/// The container's cgroup, as late as it goes: where it is not made by vzrun, the wait for it is over by then.
struct Place<'a> {
    birth: &'a Birth<'a>,
    channel: &'a ChildEnd,
    found: Option<CgroupView>,
}

impl Place<'_> {
    /// Waits until this process is in its cgroup, and makes that the root of its cgroup namespace.
    fn settle(&mut self) -> Result<CgroupView> {
        if let Some(view) = &self.found {
            return Ok(view.clone());
        }
        let mut view = self.birth.cgroup_view.clone();
        if self.birth.cgroup_later {
            let path = self.channel.call(&Request::Cgroup)?;
            view.path = Some(OsString::from_vec(path).into());
        }
        if self.birth.plan.namespaces.is_new(kind::CGROUP) {
            namespace::unshare(kind::CGROUP).context(|| "making the cgroup namespace")?;
        }
        Ok(self.found.insert(view).clone())
    }
}

/// In a new or joined user namespace: its root.
pub(super) fn become_root() -> Result<()> {
    let words = || "becoming root of the user namespace";
    match ids::set_groups(&[]) {
        // Denied where an ordinary user has made the namespace (user_namespaces(7)).
        Err(error) if error.errno() != Some(Errno::PERM) => return Err(error.wrap(words())),
        _ => {}
    }
    ids::set_gid(0).context(words)?;
    ids::set_uid(0).context(words)?;
    // A change of ids clears it.
    prctl::set_parent_death_signal(libc::SIGKILL)
}

/// Makes the terminal in the container's own devpts and hands its master to the parent.
fn console(birth: &Birth<'_>, rootfs: &Rootfs, channel: &ChildEnd) -> Result<Option<Slave>> {
    let process = &birth.plan.process;
    if !process.terminal {
        return Ok(None);
    }
    let console = Console::open(rootfs.as_fd(), process.console_size)?;
    console::mount_on_dev_console(console.slave.tree()?, rootfs.as_fd())?;
    channel.say(&Request::Console, &[console.master.as_fd()])?;
    Ok(Some(console.slave))
}

/// Blocks until `start` writes a byte.
fn wait_for_start(fifo: &std::os::fd::OwnedFd) -> Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::read(fifo, &mut [0u8; 1]))
        .map(drop)
        .call(|| "read(exec.fifo)")
}

/// Tells the parent; once that has gone (after create), whoever reads the container's stderr: nobody else is left, and
/// the log is closed.
pub(super) fn report(channel: &ChildEnd, error: &Error) {
    if channel.failed(error).is_err() {
        let _ = rustix::io::write(std::io::stderr(), format!("{error}\n").as_bytes());
    }
}
