//! `create` and `run`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::attendance::{Attendance, Boundaries, scope_properties};
use super::made::{Made, record_of};
use super::record::{Driver, Record};
use super::start::FIFO;
use super::status::Lock;
use super::{CgroupDriver, Root, RunOptions, delete, ids, pid_file, run, system_state};
use crate::cgroup::Cgroup;
use crate::cgroup::systemd::Systemd;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::Host;
use crate::plan::Plan;
use crate::process::birth::Birth;
use crate::process::foreground::Foreground;
use crate::process::parent;
use crate::setup::intel_rdt;
use crate::setup::listen_fds::PassedFds;
use crate::setup::mounts::CgroupView;
use crate::setup::notify_socket::{self, NotifySocket};
use crate::setup::pidfd_socket;
use crate::setup::system;
use crate::spec;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::process::Exit;
use crate::sys::procfs::Procfs;

/// runc's words for a container that does not come to life.
pub(super) const UNABLE: &str = "unable to start container process";

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
    /// Make a system container of it, unless its annotation io.vzrun.system says something else.
    pub system: bool,
}

/// Makes a container whose init waits for [`super::Container::start`].
///
/// # Errors
/// Nothing of the container is left behind.
pub fn create(root: &Root, options: &CreateOptions) -> Result<()> {
    bring_up(root, options, None).map(drop)
}

/// What `create` and `run` have in common.
pub(super) fn bring_up(
    root: &Root,
    options: &CreateOptions,
    run: Option<&RunOptions>,
) -> Result<Exit> {
    // Before anything else is opened: a descriptor of ours could be taken for one that the caller forgot to pass.
    let passed_fds = PassedFds::for_init(options.preserve_fds)?;
    let mut known = survey(options, |spec| {
        add_to_spec(root, options, &passed_fds, spec)
    })?;
    if let Some(run) = run {
        run.wait.check(&known.plan)?;
    }
    let properties = match options.cgroup_driver {
        CgroupDriver::Systemd => scope_properties(&known.config.spec, &known.plan, &known.host)?,
        _ => Vec::new(),
    };
    let foreground = run.filter(|run| !run.detach);
    let console_socket = console_socket(&known.plan, options, foreground.is_some())?;

    let directory = root.create_container(&options.id)?;
    let lock = Lock::take(&directory).inspect_err(|_| {
        let _ = delete::remove_bare_directory(root, &options.id, &directory);
    })?;
    let ids = ids::lease(root, options, &mut known).inspect_err(|_| {
        let _ = delete::remove_bare_directory(root, &options.id, &directory);
    })?;
    let Survey {
        bundle,
        config: spec::Config { spec, text },
        host,
        procfs,
        plan,
        ..
    } = known;
    let linux = spec.linux().as_ref();
    let cgroups_path = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let record = record_of(options, &bundle, &plan, &spec, text);
    let mut made = Made::new(root, &directory, record);
    made.record.ids = ids;
    made.prepare(options, cgroups_path, &plan.limits, &host, &procfs)?;
    let fifo = match run {
        Some(_) => None,
        None => Some(make_fifo(&directory, &plan)?),
    };

    // It answers while the child is born.
    let systemd = match &made.record.cgroup_driver {
        Driver::Systemd(unit) => Some(Systemd::connect(unit)?),
        _ => None,
    };
    let waiting = foreground
        .map(|run| Foreground::prepare(!run.no_subreaper))
        .transpose()?;
    let state = made.record.hook_state();
    let cgroup = made.cgroup.take();
    let publish = || Record::publish(&directory);
    let by_itself = run.is_some() && nothing_comes_between(root, options, &plan);
    let birth = Birth {
        plan: &plan,
        host: &host,
        procfs: &procfs,
        cgroup: cgroup.as_ref().map(Cgroup::as_fd),
        cgroup_later: systemd.is_some(),
        cgroup_view: CgroupView {
            mount: made.cgroup_mount.clone(),
            path: made.record.cgroup.clone(),
        },
        state: &state,
        fifo,
        passed_fds: &passed_fds,
        notes: system_state::notes(&directory, &plan)?,
        console_socket,
        publish: by_itself.then_some(&publish),
    };
    let by_itself = birth.goes_ahead();
    let mut newborn = birth.fork().context(|| UNABLE)?;
    let boundaries = Boundaries {
        plan: &plan,
        host: &host,
        cgroup: cgroup.as_ref(),
    };
    let served = newborn.serve(&mut Attendance::new(
        &mut made,
        &procfs,
        systemd,
        &properties,
        boundaries,
    ));
    served
        .map_err(|error| explain_death(error, cgroup.as_ref().or(made.cgroup.as_ref())))
        .context(|| UNABLE)?;
    // Hundreds of small things, which were not taken apart while nobody else was at work.
    drop(spec);
    if !by_itself {
        made.settle(&plan, &newborn.child)?;
    }
    if let Some(socket) = &options.pidfd_socket {
        pidfd_socket::send(
            socket,
            pidfd_socket::Which::Init,
            newborn.child.pidfd.as_fd(),
        )?;
    }
    if let Some(path) = &options.pid_file {
        pid_file::write(path, made.record.pid)?;
    }
    // The container can be worked on by others from here on. Before it goes on: should this process be killed in
    // between, init ends, while one that was let go would keep the lock for ever.
    drop(lock);
    // It may be nobody's pid any more.
    let without_pid_file = |_: &Error| pid_file::remove(options.pid_file.as_deref());
    let Some(run) = run else {
        newborn
            .go()
            .context(|| UNABLE)
            .inspect_err(without_pid_file)?;
        newborn.leave();
        made.keep();
        return Ok(Exit::Code(0));
    };

    let started = run::start_and_wait(root, &plan, newborn, (waiting, run.wait), &made);
    let exit = started.inspect_err(without_pid_file)?;
    if foreground.is_none() || run.keep {
        made.keep();
        return Ok(exit);
    }
    made.finish()?;
    Ok(exit)
}

/// What is known before anything is made.
pub(super) struct Survey {
    pub(super) bundle: PathBuf,
    pub(super) config: spec::Config,
    pub(super) host: Host,
    pub(super) procfs: Procfs,
    pub(super) plan: Plan,
    /// How many ids the container is to be given; the plan is made with some.
    pub(super) ids: Option<u32>,
}

/// Reads the config, with what is added to it, and makes a plan of it.
pub(super) fn survey(
    options: &CreateOptions,
    add: impl FnOnce(&mut spec::Spec) -> Result<()>,
) -> Result<Survey> {
    let bundle = std::path::absolute(&options.bundle).context(|| "--bundle")?;
    fs::stat(&bundle).map_err(|error| match error.errno() {
        Some(errno) => Error::os(format!("chdir {}", bundle.display()), errno),
        None => error,
    })?;
    if bundle.to_str().is_none() {
        // It is part of the state, which is JSON.
        return Err(Error::config(format!("--bundle: {bundle:?} is not UTF-8")));
    }
    let config_path = options.config.clone();
    let config_path = config_path.unwrap_or_else(|| bundle.join("config.json"));
    let mut config = spec::load(&config_path)?;
    let host = Host::look(options.rootless)?;
    let procfs = Procfs::open()?;
    add(&mut config.spec)?;
    let system = system::is_wanted(&config.spec, options.system)?;
    let mut ids = None;
    if system {
        ids = ids::prepare(&mut config.spec, &host)?;
        system::complete(&mut config.spec, &options.id, host.has_time_namespaces())?;
    }
    let plan_options = options.for_plan(&bundle, system, ids.is_some());
    let mut plan = Plan::new(&config.spec, &plan_options, &host)?;
    plan.hooks.open_output()?;
    if let Some(rdt) = &plan.intel_rdt {
        rdt.check(Path::new(intel_rdt::ROOT))?;
    }
    check_root(&plan)?;
    Ok(Survey {
        bundle,
        config,
        host,
        procfs,
        plan,
        ids,
    })
}

/// There is nothing that this process does between the readiness of the container's init and the program.
fn nothing_comes_between(root: &Root, options: &CreateOptions, plan: &Plan) -> bool {
    let notifies = NotifySocket::from_environment(&root.container_path(&options.id)).is_some();
    options.pid_file.is_none()
        && options.pidfd_socket.is_none()
        && plan.intel_rdt.is_none()
        && !notifies
}

/// A limit that is too low for init to get ready: whatever else went wrong came of that.
fn explain_death(error: Error, cgroup: Option<&Cgroup>) -> Error {
    match cgroup.is_some_and(Cgroup::has_been_out_of_memory) {
        true => error.wrap("container init was OOM-killed (memory limit too low?)"),
        false => error,
    }
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

pub(super) fn console_socket(
    plan: &Plan,
    options: &CreateOptions,
    foreground: bool,
) -> Result<Option<OwnedFd>> {
    let refuse = |text: &str| Err(Error::new(ErrorKind::InvalidArgument, text));
    match (&options.console_socket, plan.process.terminal) {
        (Some(path), true) => parent::connect_console(path).map(Some),
        (Some(_), false) => {
            refuse("cannot use console socket if runc will not detach or allocate tty")
        }
        (None, true) if !foreground => {
            refuse("cannot allocate tty if runc will detach without setting console socket")
        }
        (None, _) => Ok(None),
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
    // For reading and writing: init waits in a read(2) for the byte that `start` writes, and never sees an end.
    fs::openat(directory, FIFO, OFlags::RDWR | OFlags::NOFOLLOW, 0)
}
