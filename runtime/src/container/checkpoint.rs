//! `checkpoint`: the state of a container's processes goes to files, by CRIU.
//!
//! Nothing is lost by a checkpoint that fails. CRIU kills the processes only after its last notification has been
//! answered; until then an error, or the end of this process, makes it let them go on. CRIU itself may be killed: it may
//! have frozen the cgroup then, which is undone here.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::record::Record;
use super::{Container, Root, Status, delete, id};
use crate::cgroup::{Cgroup, Hierarchy};
use crate::checkpoint::client::{Criu, Launch, Notified};
use crate::checkpoint::images::Images;
use crate::checkpoint::rpc::{Kind, Options, PageServer, Request};
use crate::checkpoint::{CriuOptions, external, moment, preflight, reason, streams, watches};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::seccomp;
use crate::setup::id_mappings::IdMappings;
use crate::setup::namespaces::kind;
use crate::setup::notify_socket;
use crate::spec::Spec;
use crate::sys::pidfd;
use crate::sys::process::PassedFd;
use crate::sys::procfs::Procfs;
use crate::sys::{flock, fs};

const LOG: &str = "dump.log";
/// How often CRIU is asked, where it has come at a bad moment. It takes tens of milliseconds each time before it stops
/// the processes, which is enough for such a moment to pass.
const ATTEMPTS: u32 = 10;

/// What `checkpoint` wants to know.
#[derive(Debug, Clone, Default)]
pub struct CheckpointOptions {
    /// What a restore is told, too.
    pub criu: CriuOptions,
    /// The container goes on.
    pub leave_running: bool,
    /// Save memory only, and leave the container running: what has not changed since need not be saved again.
    pub pre_dump: bool,
    /// The directory of earlier images, relative to that of these.
    pub parent_path: Option<PathBuf>,
    /// Address and port to send memory to.
    pub page_server: Option<(String, u16)>,
    /// A descriptor of this process: gets a NUL byte when pages can be fetched.
    pub status_fd: Option<i32>,
    /// Connections that are not yet established are left out.
    pub tcp_skip_in_flight: bool,
    /// Files that are open and deleted get a name for the time being.
    pub link_remap: bool,
}

/// Saves a container, and deletes it unless it is to go on.
///
/// # Errors
/// `Container cannot be checkpointed in stopped state`; `criu failed: ...`, with the reason that its log tells. The
/// container goes on then.
pub fn checkpoint(root: &Root, name: &str, options: &CheckpointOptions) -> Result<()> {
    id::check(name)?;
    let directory = root.open_container(name)?;
    // Till the end: nobody deletes it meanwhile, and what is deleted here is what was saved.
    flock::exclusive(&directory)?;
    let record = Record::load(&directory).map_err(|error| match fs::is_missing(&error) {
        true => super::not_found(),
        false => error.wrap(format!("state of container {name}")),
    })?;
    let container = Container::locked(directory, record)?;
    let status = container.status_now()?;
    container.check_savable(status)?;
    let init = container.init()?;
    container.dump(options, status)?;
    if options.leave_running || options.pre_dump {
        return Ok(());
    }
    if !pidfd::wait_exit(&init, Some(delete::PATIENCE))? {
        let text = "container init still running after its checkpoint";
        return Err(Error::new(ErrorKind::InvalidState, text));
    }
    delete::destroy(root, &container.directory, &container.record)
}

impl Container {
    /// Whether there is something to save, and CRIU can be asked to.
    pub(super) fn check_savable(&self, status: Status) -> Result<()> {
        if self.record.system {
            return Err(Error::unsupported(
                "a system container cannot be checkpointed yet (io.vzrun.system)",
            ));
        }
        if !matches!(status, Status::Running | Status::Paused) {
            let text = format!("Container cannot be checkpointed in {status} state");
            return Err(Error::new(ErrorKind::InvalidState, text));
        }
        Ok(())
    }

    fn dump(&self, options: &CheckpointOptions, status: Status) -> Result<()> {
        let mut status_fd = options
            .status_fd
            .filter(|_| options.criu.lazy_pages)
            .map(PassedFd::take)
            .transpose()?;
        let work = options.criu.work_path.as_deref();
        // For root alone, or see `criu_root::lend`.
        let mode = match self.record.namespaces & kind::USER {
            0 => 0o700,
            _ => 0o750,
        };
        let images = Images::create(&options.criu.image_path, work, mode)?;
        if let Some(parent) = &options.parent_path {
            images.check_parent(parent)?;
        }
        let cgroup = self.cgroup()?;
        let mut attempts = match &options.page_server {
            None if !options.criu.lazy_pages => ATTEMPTS,
            // Who waits there has had its connection.
            _ => 1,
        };
        loop {
            attempts -= 1;
            let done = self.dump_once(options, &images, cgroup.as_ref(), &mut status_fd);
            if let (Err(_), Some(cgroup), Status::Running) = (&done, &cgroup, status) {
                cgroup.thaw()?;
            }
            match done.map_err(|error| explain(error, &images, LOG)) {
                // While it is frozen it does not pass.
                Err(error)
                    if attempts > 0 && status == Status::Running && reason::passes(&error) =>
                {
                    crate::log::debug(format_args!("{error}: once more"));
                }
                other => return other,
            }
        }
    }

    fn dump_once(
        &self,
        options: &CheckpointOptions,
        images: &Images,
        cgroup: Option<&Cgroup>,
        status_fd: &mut Option<PassedFd>,
    ) -> Result<()> {
        let mut criu = Criu::start(&Launch {
            shares_session: options.criu.shell_job,
            ..Launch::default()
        })?;
        check_features(&mut criu, options)?;
        let spec = self.record.spec()?;
        let request = self.dump_request(&spec, options, images, cgroup)?;
        let mut notified = Dump {
            status_fd,
            images,
            cgroup: cgroup.filter(|_| !options.pre_dump),
            mappings: mappings(&spec)?,
            spec: &spec,
            init: self.record.pid,
            procfs: &self.procfs,
        };
        criu.serve(&request, &mut notified)?;
        criu.finish()
    }

    fn dump_request(
        &self,
        spec: &Spec,
        options: &CheckpointOptions,
        images: &Images,
        cgroup: Option<&Cgroup>,
    ) -> Result<Request> {
        let pid = self.record.pid;
        let annotation = self.record.annotations.get("org.criu.config");
        let common = options
            .criu
            .request(images, LOG, annotation.map(String::as_str));
        let migratable = seccomp::is_migratable(spec.annotations().as_ref())?;
        let tracks = options.pre_dump || options.parent_path.is_some();
        let freezer = match cgroup {
            Some(cgroup) => {
                let below = cgroup.path.strip_prefix("/").unwrap_or(&cgroup.path);
                Some(Hierarchy::open()?.mount.join(below))
            }
            None => None,
        };
        let mut request = Options {
            pid: Some(pid),
            root: Some(self.record.rootfs.to_string_lossy().into_owned()),
            leave_running: Some(options.leave_running),
            tcp_skip_in_flight: Some(options.tcp_skip_in_flight),
            file_locks: Some(options.criu.file_locks || migratable),
            link_remap: Some(options.link_remap || migratable),
            enable_fs: EMPTY_ON_RETURN.map(str::to_owned).to_vec(),
            parent_img: options
                .parent_path
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned()),
            track_mem: tracks.then_some(true),
            page_server: options
                .page_server
                .as_ref()
                .map(|(address, port)| PageServer {
                    address: Some(address.clone()),
                    port: Some((*port).into()),
                }),
            // cgroup2, which has no name, and none of the others that a hybrid host has: there the container is where its
            // creator was, and CRIU would save all that is below.
            cgroup_dump_controller: vec![String::new()],
            ghost_limit: Some(preflight::GHOST_LIMIT),
            freeze_cgroup: freezer.map(|path| path.to_string_lossy().into_owned()),
            external: external::namespaces_of(spec, pid)?,
            irmap_scan_paths: watches::places(pid, &self.procfs)?
                .into_iter()
                .map(|path| path.to_string_lossy().into_owned())
                .collect(),
            ..common
        };
        let kind = match options.pre_dump {
            true => Kind::PreDump,
            false => Kind::Dump,
        };
        if !options.pre_dump {
            let also = [notify_socket::DESTINATION];
            request.ext_mnt = external::mounts_of(spec, pid, &self.procfs, &also)?;
            let (names, streams) = streams::of(pid, &self.procfs)?;
            images.write_descriptors(&names)?;
            request.external.extend(streams);
        }
        Ok(Request {
            kind: kind.into(),
            options: Some(request),
            ..Request::default()
        })
    }
}

/// Those of the container's own user namespace; empty without one.
fn mappings(spec: &Spec) -> Result<IdMappings> {
    let linux = spec.linux().as_ref();
    IdMappings::plan(
        linux.and_then(|linux| linux.uid_mappings().as_ref()),
        linux.and_then(|linux| linux.gid_mappings().as_ref()),
    )
}

/// Filesystems that CRIU does not know: what is in them is not saved. systemd mounts it wherever it may.
const EMPTY_ON_RETURN: [&str; 1] = ["hugetlbfs"];

/// What would end in an assertion of CRIU's, or in images that are of no use.
fn check_features(criu: &mut Criu, options: &CheckpointOptions) -> Result<()> {
    let tracks = options.pre_dump || options.parent_path.is_some();
    if options.criu.network_lock.is_some() {
        criu.at_least(3, 17, "--network-lock")?;
    }
    if !tracks && !options.criu.lazy_pages {
        return Ok(());
    }
    let features = criu.features()?;
    if tracks && features.mem_track != Some(true) {
        return Err(Error::unsupported(
            "CRIU is missing features: MemTrack: the kernel does not tell which memory has changed (CONFIG_MEM_SOFT_DIRTY), \
             which --pre-dump and --parent-path need: checkpoint without them",
        ));
    }
    if options.criu.lazy_pages && features.lazy_pages != Some(true) {
        return Err(Error::unsupported(
            "CRIU is missing features: LazyPages: the kernel has no userfaultfd for other processes, which --lazy-pages needs",
        ));
    }
    Ok(())
}

/// The error with what the log says, and where that is.
pub(super) fn explain(error: Error, images: &Images, name: &str) -> Error {
    let (log, path) = images.log(name);
    let path = path.display();
    let kind = error.kind();
    if !matches!(kind, ErrorKind::Process | ErrorKind::Died) {
        return error;
    }
    let reason = log.ok().and_then(reason::find);
    let text = match reason {
        Some(reason) => format!("{error}: {reason}; log file: {path}"),
        None => format!("{error}; log file: {path}"),
    };
    Error::new(kind, text)
}

/// What there is to do in the course of a dump.
struct Dump<'a> {
    status_fd: &'a mut Option<PassedFd>,
    images: &'a Images,
    /// Whose cgroups are written down.
    cgroup: Option<&'a Cgroup>,
    mappings: IdMappings,
    spec: &'a Spec,
    init: i32,
    procfs: &'a Procfs,
}

impl Notified for Dump<'_> {
    fn notified(&mut self, point: &str, _: Option<i32>, _: Vec<OwnedFd>) -> Result<()> {
        match point {
            // Whoever waits there fetches pages from now on, or hears from its end that nothing will come.
            "status-ready" => match self.status_fd.take() {
                Some(fd) => fd.write(b"\0").context(|| "--status-fd"),
                None => Ok(()),
            },
            // All processes stand still.
            "network-lock" => {
                moment::check(self.init, self.procfs)?;
                preflight::check_huge(self.spec, self.init, self.procfs)
            }
            // They are saved.
            "post-dump" => match self.cgroup {
                Some(cgroup) => {
                    let tree = cgroup.tree(|uid, gid| self.mappings.inner(uid, gid))?;
                    self.images.write_cgroups(&tree)
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
