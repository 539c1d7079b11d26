//! `create` and `run`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::record::Record;
use super::start::FIFO;
use super::status::Lock;
use super::{CgroupDriver, Root, clock, delete};
use crate::cgroup::{self, Cgroup, Hierarchy};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hooks::Point;
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::process::foreground::Foreground;
use crate::process::parent::{self, Birth, Newborn};
use crate::setup::intel_rdt::{self, Group};
use crate::setup::listen_fds::PassedFds;
use crate::setup::mounts::CgroupView;
use crate::setup::namespaces::kind;
use crate::setup::notify_socket::{self, NotifySocket};
use crate::setup::pidfd_socket;
use crate::spec;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::process::Exit;
use crate::sys::procfs::Procfs;

/// What `create` and `run` want to know.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// The id of the new container.
    pub id: String,
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// The config, instead of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// Where to write the pid of the container's init.
    pub pid_file: Option<PathBuf>,
    /// A listening unix socket that gets the master of the container's terminal.
    pub console_socket: Option<PathBuf>,
    /// A listening unix socket that gets the pidfd of the container's init.
    pub pidfd_socket: Option<PathBuf>,
    /// Use chroot(2) instead of pivot_root(2): for a root on a ramfs.
    pub no_pivot: bool,
    /// Stay in the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on (behind those of $LISTEN_FDS) the container's init keeps.
    pub preserve_fds: u32,
    /// Who makes the cgroup.
    pub cgroup_driver: CgroupDriver,
    /// Whether the caller has no power over the host; `None`: found out.
    pub rootless: Option<bool>,
}

/// What only `run` wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Return when the program runs, and leave it running.
    pub detach: bool,
    /// Do not delete the container when it has ended.
    pub keep: bool,
    /// Leave orphans of the container to others.
    pub no_subreaper: bool,
}

/// Makes a container whose init waits for [`super::Container::start`].
///
/// # Errors
/// Nothing of the container is left behind.
pub fn create(root: &Root, options: &CreateOptions) -> Result<()> {
    bring_up(root, options, None).map(drop)
}

/// Makes a container and runs its program; in the foreground until it ends, and then deletes the container.
///
/// # Errors
/// Nothing of the container is left behind.
pub fn run(root: &Root, options: &CreateOptions, run: &RunOptions) -> Result<Exit> {
    bring_up(root, options, Some(run))
}

fn bring_up(root: &Root, options: &CreateOptions, run: Option<&RunOptions>) -> Result<Exit> {
    // Before anything else is opened: a descriptor of ours could be taken for one that the caller forgot to pass.
    let passed_fds = PassedFds::for_init(options.preserve_fds)?;
    if options.cgroup_driver == CgroupDriver::Systemd {
        return Err(Error::unsupported(
            "the systemd cgroup driver is not supported by this version of vzrun",
        ));
    }
    let bundle = std::path::absolute(&options.bundle).context(|| "--bundle")?;
    let config_path = options
        .config
        .clone()
        .unwrap_or_else(|| bundle.join("config.json"));
    let mut config = spec::load(&config_path)?;
    let host = Host::look(options.rootless)?;
    let procfs = Procfs::open()?;
    add_to_spec(root, options, &passed_fds, &mut config.spec)?;
    let plan_options = plan::Options {
        id: &options.id,
        bundle: &bundle,
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
    };
    let mut plan = Plan::new(&config.spec, &plan_options, &host)?;
    plan.hooks.open_output()?;
    if let Some(rdt) = &plan.intel_rdt {
        rdt.check(Path::new(intel_rdt::ROOT))?;
    }
    check_root(&plan)?;
    let foreground = run.filter(|run| !run.detach);
    let console_socket = console_socket(&plan, options, foreground.is_some())?;

    let directory = root.create_container(&options.id)?;
    let lock = Lock::take(&directory)?;
    let cgroups_path = config
        .spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.cgroups_path().clone());
    let mut made = Made::new(root, &directory, record_of(options, &bundle, &plan, config));
    made.prepare(options, cgroups_path.as_deref(), &host, &procfs)?;
    let fifo = match run {
        Some(_) => None,
        None => Some(make_fifo(&directory, &plan)?),
    };

    let waiting = foreground
        .map(|run| Foreground::prepare(!run.no_subreaper))
        .transpose()?;
    let state = made.record.hook_state();
    let cgroup = made.cgroup.take();
    let birth = Birth {
        plan: &plan,
        host: &host,
        procfs: &procfs,
        cgroup: cgroup.as_ref().map(Cgroup::as_fd),
        cgroup_view: CgroupView {
            mount: made.cgroup_mount.clone(),
            path: made.record.cgroup.clone(),
        },
        state: &state,
        fifo,
        passed_fds: &passed_fds,
        console_socket,
    };
    let mut newborn = birth.fork()?;
    newborn.serve()?;
    made.settle(&plan, &newborn, &procfs)?;
    if let Some(socket) = &options.pidfd_socket {
        pidfd_socket::send(
            socket,
            pidfd_socket::Which::Init,
            newborn.child.pidfd.as_fd(),
        )?;
    }
    if let Some(path) = &options.pid_file {
        write_pid_file(path, made.record.pid)?;
    }
    let Some(run) = run else {
        newborn.go()?;
        newborn.leave();
        made.keep();
        return Ok(Exit::Code(0));
    };

    let exit = start_and_wait(root, &plan, newborn, waiting, &made)?;
    drop(lock);
    if foreground.is_none() || run.keep {
        made.keep();
        return Ok(exit);
    }
    made.finish()?;
    Ok(exit)
}

/// The second half of `run`: the program starts, and where that is wanted it is waited for.
fn start_and_wait(
    root: &Root,
    plan: &Plan,
    mut newborn: Newborn<'_>,
    mut waiting: Option<Foreground>,
    made: &Made<'_>,
) -> Result<Exit> {
    let notify = NotifySocket::from_environment(&root.container_path(&made.record.id));
    let notifier = notify.map(NotifySocket::bind).transpose()?.flatten();
    if let (Some(waiting), Some(master)) = (&mut waiting, newborn.master.take()) {
        waiting.attach(master)?;
    }
    newborn.go()?;
    newborn.wait_for_exec()?;
    // The container can be worked on by others from here on.
    fs::unlock(made.directory);
    if plan.hooks.has(Point::Poststart) {
        let state = made.record.hook_state().json("running", made.record.pid);
        plan.hooks.run(Point::Poststart, &state, None)?;
    }
    let Some(mut waiting) = waiting else {
        if let Some(notifier) = notifier {
            notifier.forward_ready(made.record.pid, newborn.child.pidfd.as_fd())?;
        }
        newborn.leave();
        return Ok(Exit::Code(0));
    };
    if let Some(notifier) = notifier {
        waiting.notify(notifier);
    }
    let exit = waiting.wait(&newborn.child)?;
    newborn.leave();
    Ok(exit)
}

/// What goes into the spec from the caller's side: descriptors of socket activation and the notify socket.
fn add_to_spec(
    root: &Root,
    options: &CreateOptions,
    passed: &PassedFds,
    spec: &mut spec::Spec,
) -> Result<()> {
    let mut variables = passed.environment();
    if let Some(socket) = NotifySocket::from_environment(&root.container_path(&options.id)) {
        variables.push(notify_socket::VARIABLE.to_owned());
        spec.mounts_mut()
            .get_or_insert_default()
            .push(socket.mount()?);
    }
    if let (false, Some(process)) = (variables.is_empty(), spec.process_mut()) {
        process.env_mut().get_or_insert_default().extend(variables);
    }
    Ok(())
}

/// The root must be a directory before anything is made for the container.
fn check_root(plan: &Plan) -> Result<()> {
    let path = &plan.rootfs.path;
    let stat = fs::stat(path).map_err(|error| match fs::is_missing(&error) {
        true => Error::config(format!("rootfs ({}) does not exist", path.display())),
        false => error,
    })?;
    match fs::file_type(&stat) {
        FileType::Directory => Ok(()),
        _ => Err(Error::config(format!(
            "rootfs ({}) is not a directory",
            path.display()
        ))),
    }
}

fn console_socket(
    plan: &Plan,
    options: &CreateOptions,
    foreground: bool,
) -> Result<Option<OwnedFd>> {
    let refuse = |text: &str| Err(Error::new(ErrorKind::InvalidArgument, text));
    match (&options.console_socket, plan.process.terminal) {
        (Some(path), true) => parent::connect_console(path).map(Some),
        (Some(_), false) => {
            refuse("cannot use console socket if vzrun will not detach or allocate tty")
        }
        (None, true) if !foreground => {
            refuse("cannot allocate tty if vzrun will detach without setting console socket")
        }
        (None, _) => Ok(None),
    }
}

fn record_of(options: &CreateOptions, bundle: &Path, plan: &Plan, config: spec::Config) -> Record {
    let annotations = config.spec.annotations().iter().flatten();
    Record {
        id: options.id.clone(),
        pid: 0,
        start_time: 0,
        created: clock::now(),
        bundle: bundle.to_owned(),
        rootfs: plan.rootfs.path.clone(),
        oci_version: config.spec.version().clone(),
        annotations: annotations
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        cgroup: None,
        namespaces: plan.namespaces.all(),
        own_pid_namespace: plan.namespaces.is_new(kind::PID),
        no_new_keyring: options.no_new_keyring,
        poststop_hooks: plan.hooks.has(Point::Poststop),
        poststart_hooks: plan.hooks.has(Point::Poststart),
        intel_rdt: None,
        config: config.text,
    }
}

/// exec.fifo, which the container's root may open for writing.
fn make_fifo(directory: &OwnedFd, plan: &Plan) -> Result<OwnedFd> {
    fs::mknodat(directory, FIFO, FileType::Fifo, 0o622, (0, 0))?;
    // Past the umask.
    fs::fchmodat(directory, FIFO, 0o622)?;
    if let Some((uid, gid)) = plan.mappings.root() {
        match fs::lchownat(directory, FIFO, uid, gid) {
            // An ordinary user cannot give it away, and need not: everybody may write to it.
            Err(error) if error.errno() != Some(rustix::io::Errno::PERM) => return Err(error),
            _ => {}
        }
    }
    fs::openat(directory, FIFO, OFlags::PATH | OFlags::NOFOLLOW, 0)
}

/// Written whole or not at all; a bare number, as engines read it.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| Error::config("--pid-file names no file"))?;
    let temporary = path.with_file_name(format!(".{}.{pid}", name.to_string_lossy()));
    std::fs::write(&temporary, pid.to_string())
        .and_then(|()| std::fs::rename(&temporary, path))
        .context(|| format!("writing the pid file {}", path.display()))
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

/// What has been made for the container so far. Undone when this is dropped, unless the container is to stay.
struct Made<'a> {
    root: &'a Root,
    directory: &'a OwnedFd,
    record: Record,
    cgroup: Option<Cgroup>,
    cgroup_mount: PathBuf,
    undo: bool,
}

impl<'a> Made<'a> {
    fn new(root: &'a Root, directory: &'a OwnedFd, record: Record) -> Made<'a> {
        let cgroup_mount = PathBuf::from("/sys/fs/cgroup");
        Made {
            root,
            directory,
            record,
            cgroup: None,
            cgroup_mount,
            undo: true,
        }
    }

    /// Cgroup and notify socket. The record is written first, so that what is made after it can be found and removed
    /// should vzrun be killed.
    fn prepare(
        &mut self,
        options: &CreateOptions,
        cgroups_path: Option<&Path>,
        host: &Host,
        procfs: &Procfs,
    ) -> Result<()> {
        let wanted = options.cgroup_driver != CgroupDriver::Disabled;
        let hierarchy = wanted.then(Hierarchy::open).transpose();
        let hierarchy = match hierarchy {
            Err(error) if host.rootless => {
                crate::log::debug(format_args!("no cgroup: {error}"));
                None
            }
            other => other?,
        };
        if let Some(hierarchy) = &hierarchy {
            self.record.cgroup = Some(cgroup::resolve(cgroups_path, &options.id, procfs)?);
            self.cgroup_mount.clone_from(&hierarchy.mount);
        }
        self.record.write(self.directory)?;
        Record::publish(self.directory)?;
        if let (Some(hierarchy), Some(path)) = (&hierarchy, &self.record.cgroup) {
            match hierarchy.create(path) {
                Ok(cgroup) => self.cgroup = Some(cgroup),
                // An ordinary user without a delegated cgroup: the container stays where its caller is.
                Err(error) if host.rootless && is_denied(&error) => {
                    crate::log::debug(format_args!("no cgroup of its own: {error}"));
                    self.record.cgroup = None;
                }
                Err(error) => {
                    // What is there belongs to somebody else.
                    self.record.cgroup = None;
                    return Err(error);
                }
            }
        }
        match NotifySocket::from_environment(&self.root.container_path(&self.record.id)) {
            Some(socket) => socket.make_directory(),
            None => Ok(()),
        }
    }

    /// The container's init is ready: the record is complete.
    fn settle(&mut self, plan: &Plan, newborn: &Newborn<'_>, procfs: &Procfs) -> Result<()> {
        let pid = newborn.child.pid;
        self.record.pid = pid.as_raw_nonzero().get();
        self.record.start_time = procfs
            .look(self.record.pid)?
            .map_or(0, |stat| stat.start_time);
        if let Some(rdt) = &plan.intel_rdt {
            let group: Group = rdt.apply(Path::new(intel_rdt::ROOT), pid)?;
            self.record.intel_rdt = Some(group);
        }
        self.record.write(self.directory)?;
        Record::publish(self.directory)
    }

    /// The container stays.
    fn keep(mut self) {
        self.undo = false;
    }

    /// The container has ended and goes, as by `delete`.
    fn finish(mut self) -> Result<()> {
        self.undo = false;
        let _lock = Lock::take(self.directory)?;
        delete::destroy(self.root, self.directory, &self.record)
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if !self.undo {
            return;
        }
        self.cgroup = None;
        if let Err(error) = delete::destroy(self.root, self.directory, &self.record) {
            crate::log::warn(format_args!("cleaning up after a failure: {error}"));
        }
    }
}

fn is_denied(error: &Error) -> bool {
    use rustix::io::Errno;
    matches!(
        error.errno(),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)
    )
}
