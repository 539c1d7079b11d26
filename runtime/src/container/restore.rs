//! `restore`: a container's processes come back from files, by CRIU.
//!
//! CRIU is born in the container's cgroup, with its limits, and in a mount namespace of its own, where the root
//! filesystem is mounted on a directory beside the state: CRIU wants it to be a mount point. The container's init becomes a child
//! of this process. The record is there before init is let go; a restore that fails, or whose vzrun is killed, leaves no
//! process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use super::attendance::{Boundaries, arrive, scope_properties};
use super::checkpoint::explain;
use super::create::{self, Survey, survey};
use super::criu_root::{lend, mount_root};
use super::made::{Made, record_of};
use super::record::Driver;
use super::restored::Restored;
use super::status::Lock;
use super::{CgroupDriver, CreateOptions, Root, delete, pid_file};
use crate::cgroup::Tree;
use crate::cgroup::systemd::Systemd;
use crate::checkpoint::client::{Criu, FIRST_FD, Launch};
use crate::checkpoint::images::Images;
use crate::checkpoint::rpc::{CgroupRoot, InheritFd, JoinNamespace, Kind, Options, Request};
use crate::checkpoint::{CriuOptions, external, streams};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hooks::Point;
use crate::plan::Plan;
use crate::process::aside::Aside;
use crate::process::foreground::Foreground;
use crate::seccomp;
use crate::setup::namespaces::kind;
use crate::spec::{Config, Spec};
use crate::sys::fork::Child;
use crate::sys::fs::{self, OFlags};
use crate::sys::process::Exit;
use crate::sys::{pidfd, process};

const LOG: &str = "restore.log";
/// Where the root filesystem is mounted, below the state directory.
const ROOT_PLACE: &str = "criu-root";

/// What `restore` wants to know.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Of the container that it becomes; descriptors to keep and keyrings have no part in a restore.
    pub create: CreateOptions,
    /// What the checkpoint was told, too.
    pub criu: CriuOptions,
    /// Return when it runs, and leave it running.
    pub detach: bool,
    /// Leave orphans of the container to others.
    pub no_subreaper: bool,
    /// TCP connections come back closed.
    pub tcp_close: bool,
    /// `type:label` of an LSM for the processes, instead of those at the checkpoint.
    pub lsm_profile: Option<String>,
    /// The SELinux context of the mounts.
    pub lsm_mount_context: Option<String>,
}

/// Makes a container from a checkpoint; in the foreground until it ends, and then deletes it.
///
/// # Errors
/// `criu failed: ...`, with the reason that its log tells. Nothing of the container is left behind then.
pub fn restore(root: &Root, options: &RestoreOptions) -> Result<Exit> {
    let work = options.criu.work_path.as_deref();
    // Before anything is made.
    let images = Images::open(&options.criu.image_path, work)?;
    let names = images.read_descriptors()?;
    let tree: Option<Tree> = images.read_cgroups()?;
    drop(images);
    let Survey {
        bundle,
        config: Config { spec, text },
        host,
        procfs,
        plan,
        ..
    } = survey(&options.create, |_| Ok(()))?;
    if plan.system {
        return Err(Error::unsupported(
            "a system container cannot be restored yet (io.vzrun.system)",
        ));
    }
    let properties = match options.create.cgroup_driver {
        CgroupDriver::Systemd => scope_properties(&spec, &plan, &host)?,
        _ => Vec::new(),
    };
    let console_socket = create::console_socket(&plan, &options.create, !options.detach)?;

    let directory = root.create_container(&options.create.id)?;
    let lock = Lock::take(&directory).inspect_err(|_| {
        let _ = delete::remove_bare_directory(root, &options.create.id, &directory);
    })?;
    let record = record_of(&options.create, &bundle, &plan, &spec, text);
    let mut made = Made::new(root, &directory, record);
    let linux = spec.linux().as_ref();
    let cgroups_path = linux.and_then(|linux| linux.cgroups_path().as_deref());
    made.prepare(&options.create, cgroups_path, &plan.limits, &host, &procfs)?;
    plan.mounts.make_places(&plan.rootfs.on_host()?)?;
    fs::mkdirat(&directory, ROOT_PLACE, 0o755)?;
    let place = root.container_path(&options.create.id).join(ROOT_PLACE);
    let waiting = (!options.detach)
        .then(|| Foreground::prepare(!options.no_subreaper))
        .transpose()?;

    let systemd = match &made.record.cgroup_driver {
        Driver::Systemd(unit) => Some(Systemd::connect(unit)?),
        _ => None,
    };
    let (mut inherited, mut handed) = inherit_namespaces(&spec)?;
    let null = (FIRST_FD..).zip(&handed).count();
    let null = FIRST_FD + RawFd::try_from(null).unwrap_or(0);
    handed.push(fs::open("/dev/null", OFlags::RDWR)?);
    inherited.extend(streams::inherited(&names, null, has_position)?);
    let handed: Vec<BorrowedFd<'_>> = handed.iter().map(AsFd::as_fd).collect();
    let launch = Launch {
        cgroup: made.cgroup.as_ref().map(AsFd::as_fd),
        fds: &handed,
        shares_session: options.criu.shell_job,
    };
    let aside = Aside::step()?;
    mount_root(&plan.rootfs, &place)?;
    let mut images = Images::open(&options.criu.image_path, work)?;
    if let (true, Some((_, group))) = (plan.namespaces.is_new(kind::USER), plan.mappings.root()) {
        lend(&mut images, group, &procfs, &host)?;
    }
    let mut criu = Criu::start(&launch)?;
    aside.back()?;
    let boundaries = Boundaries {
        plan: &plan,
        host: &host,
        cgroup: None,
    };
    match (systemd, &made.cgroup) {
        (Some(systemd), _) => {
            let pid = criu.pid().unsigned_abs();
            let starting = systemd.start(&made.record.id, pid, &properties)?;
            arrive(&mut made, &procfs, starting, criu.pid(), &boundaries)?;
        }
        (None, Some(cgroup)) => boundaries.set_all(cgroup)?,
        (None, None) => {}
    }
    made.limit_cache(&plan, criu.child.pid)?;

    let mut request = restore_request(options, &images, &spec, &criu)?;
    request.root = Some(place.to_string_lossy().into_owned());
    request.inherit_fd = inherited;
    let mut waiting_room = None;
    if let Some(cgroup) = &made.cgroup {
        request.cg_root = cgroup_roots(&procfs.read(&format!("{}/cgroup", criu.pid()))?);
        if let (Some(tree), true) = (&tree, options.criu.manage_cgroups.makes_cgroups()) {
            // A cgroup with a process in it hands no controllers down. CRIU makes init in it nevertheless, as that is the root
            // of the cgroup namespace, so this is for later.
            if tree.hands_down() {
                waiting_room = Some(cgroup.set_aside(criu.pid())?);
            }
            cgroup.lay_out(tree)?;
        }
    }
    request.ext_mnt = external::mounts_for(&spec, &bundle, &made.cgroup_mount, &procfs)?;
    let request = Request {
        kind: Kind::Restore.into(),
        options: Some(request),
        ..Request::default()
    };
    let mut restored = Restored {
        plan: &plan,
        procfs: &procfs,
        made: &mut made,
        tree: tree.filter(|_| options.criu.manage_cgroups.makes_cgroups()),
        console_socket,
        init: None,
        master: None,
    };
    let done = criu.serve(&request, &mut restored);
    let (init, master) = (restored.init.take(), restored.master.take());
    done.and_then(|()| criu.finish())
        .map_err(|error| explain(error, &images, LOG))?;
    if let Some(room) = waiting_room {
        room.remove();
    }
    fs::rmdirat(&directory, ROOT_PLACE)?;
    let init = init.ok_or_else(|| Error::new(ErrorKind::Process, "criu has named no init"))?;
    drop(lock);

    match watch(options, &plan, &made, &init, waiting, master) {
        Ok(exit) if options.detach => {
            made.keep();
            Ok(exit)
        }
        Ok(exit) => made.finish().map(|()| exit),
        Err(error) => {
            // A container that did not come up as it was meant to does not stay. It may have ended by itself.
            let _ = pidfd::send_signal(&init.pidfd, libc::SIGKILL);
            let _ = process::wait(&init.pidfd);
            Err(error)
        }
    }
}

/// The container runs: what remains to be told and done, and the wait for its end.
fn watch(
    options: &RestoreOptions,
    plan: &Plan,
    made: &Made<'_>,
    init: &Child,
    waiting: Option<Foreground>,
    master: Option<OwnedFd>,
) -> Result<Exit> {
    if let Some(path) = &options.create.pid_file {
        pid_file::write(path, made.record.pid)?;
    }
    if plan.hooks.has(Point::Poststart) {
        let state = made.record.hook_state().json("running", made.record.pid);
        plan.hooks.run(Point::Poststart, &state, None)?;
    }
    let Some(mut waiting) = waiting else {
        return Ok(Exit::Code(0));
    };
    if let Some(master) = master {
        waiting.attach(master)?;
    }
    waiting.wait(init)
}

fn restore_request(
    options: &RestoreOptions,
    images: &Images,
    spec: &Spec,
    criu: &Criu,
) -> Result<Options> {
    for (flag, value) in [
        ("--lsm-profile", &options.lsm_profile),
        ("--lsm-mount-context", &options.lsm_mount_context),
    ] {
        if value.is_some() {
            criu.at_least(3, 16, flag)?;
        }
    }
    let annotations = spec.annotations().as_ref();
    let annotation = annotations.and_then(|all| all.get("org.criu.config"));
    let common = options
        .criu
        .request(images, LOG, annotation.map(String::as_str));
    let migratable = seccomp::is_migratable(annotations)?;
    Ok(Options {
        file_locks: Some(options.criu.file_locks || migratable),
        evasive_devices: Some(true),
        rst_sibling: Some(true),
        tcp_close: Some(options.tcp_close),
        lsm_profile: options.lsm_profile.clone(),
        lsm_mount_context: options.lsm_mount_context.clone(),
        join_ns: join_namespaces(spec)?,
        ..common
    })
}

/// Whether this standard stream of ours is something that lseek(2) is for.
fn has_position(number: RawFd) -> bool {
    match number {
        0 => rustix::fs::tell(std::io::stdin()).is_ok(),
        1 => rustix::fs::tell(std::io::stdout()).is_ok(),
        _ => rustix::fs::tell(std::io::stderr()).is_ok(),
    }
}

/// The namespaces that CRIU takes from outside: which descriptor is which, and the descriptors, in the order in which
/// CRIU gets them.
fn inherit_namespaces(spec: &Spec) -> Result<(Vec<InheritFd>, Vec<OwnedFd>)> {
    let mut inherited = Vec::new();
    let mut opened = Vec::new();
    for (fd, joined) in (FIRST_FD..).zip(external::joined(spec).filter(|it| !it.key.is_empty())) {
        let words = || format!("opening the {} namespace to join", joined.kind);
        opened.push(fs::open(joined.path, OFlags::RDONLY).context(words)?);
        inherited.push(InheritFd {
            key: joined.key.into(),
            fd,
        });
    }
    Ok((inherited, opened))
}

/// Those that it joins by path.
fn join_namespaces(spec: &Spec) -> Result<Vec<JoinNamespace>> {
    let mut list = Vec::new();
    for joined in external::joined(spec).filter(|it| it.key.is_empty()) {
        if joined.kind == "cgroup" {
            return Err(Error::unsupported(
                "linux.namespaces: CRIU cannot restore into a cgroup namespace that is there",
            ));
        }
        list.push(JoinNamespace {
            kind: joined.kind.into(),
            file: joined.path.to_string_lossy().into_owned(),
        });
    }
    Ok(list)
}

/// The container's cgroup takes the place of the one at the checkpoint: `text` is the proc_cgroup(5) of CRIU, which is in
/// it, with every controller.
fn cgroup_roots(text: &str) -> Vec<CgroupRoot> {
    let lines = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    });
    lines
        .flat_map(|(controllers, path)| {
            controllers.split(',').map(|controller| CgroupRoot {
                controller: Some(controller.into()),
                path: path.into(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_for_all_controllers() {
        let roots = cgroup_roots("12:cpu,cpuacct:/x\n1:name=systemd:/y:z\n0::/a\n");
        let roots: Vec<_> = roots
            .iter()
            .map(|root| {
                (
                    root.controller.as_deref().unwrap_or("-"),
                    root.path.as_str(),
                )
            })
            .collect();
        assert_eq!(
            roots,
            [
                ("cpu", "/x"),
                ("cpuacct", "/x"),
                ("name=systemd", "/y:z"),
                ("", "/a")
            ]
        );
    }
}
