//! `exec`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::Timespec;

use super::{Container, Status, create, pid_file};
use crate::cgroup::{self, Cgroup, Hierarchy};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::Host;
use crate::log;
use crate::plan::{ProcessPlan, plan_seccomp};
use crate::process::exec::Join;
use crate::process::foreground::Foreground;
use crate::process::{parent, sysinfo};
use crate::setup::capabilities;
use crate::setup::keyring::Keyring;
use crate::setup::listen_fds::PassedFds;
use crate::setup::memory_policy::MemoryPolicy;
use crate::setup::namespaces::kind;
use crate::setup::personality::Personality;
use crate::setup::system;
use crate::setup::user::Mappings;
use crate::setup::{pidfd_socket, user_database};
use crate::spec;
use crate::sys::pidfd;
use crate::sys::process::Exit;

/// What `exec` wants to know.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// A process.json; without it the process of config.json is changed by what follows.
    pub process: Option<PathBuf>,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Give it a terminal.
    pub tty: bool,
    /// Its working directory.
    pub cwd: Option<String>,
    /// More environment variables, `NAME=value`.
    pub env: Vec<String>,
    /// `uid[:gid]`.
    pub user: Option<String>,
    /// More groups.
    pub additional_gids: Vec<u32>,
    /// An SELinux label.
    pub process_label: Option<String>,
    /// An AppArmor profile.
    pub apparmor: Option<String>,
    /// Set no_new_privs.
    pub no_new_privs: bool,
    /// More capabilities, by name.
    pub caps: Vec<String>,
    /// Return when the program runs.
    pub detach: bool,
    /// Where to write its pid.
    pub pid_file: Option<PathBuf>,
    /// A listening unix socket that gets the master of its terminal.
    pub console_socket: Option<PathBuf>,
    /// A listening unix socket that gets its pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on it keeps.
    pub preserve_fds: u32,
    /// A cgroup below the container's: one path. `controllers:path` is cgroup v1's, and an error.
    pub cgroup: Vec<String>,
    /// Run it in a paused container, where it waits for the resume.
    pub ignore_paused: bool,
    /// Leave its orphans to others.
    pub no_subreaper: bool,
}

const A_MOMENT: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

impl Container {
    /// Runs one more process in the container: until it ends, or detached.
    ///
    /// # Errors
    /// `cannot exec in a stopped container`, `cannot exec in a paused container (use --ignore-paused to override)`.
    pub fn exec(&self, options: &ExecOptions) -> Result<Exit> {
        // Before anything else is opened, see `create`.
        let passed_fds = PassedFds::for_exec(options.preserve_fds)?;
        match self.status()? {
            Status::Stopped => return Err(stopped()),
            Status::Paused if !options.ignore_paused => {
                let text = "cannot exec in a paused container (use --ignore-paused to override)";
                return Err(Error::new(ErrorKind::InvalidState, text));
            }
            _ => {}
        }
        let host = Host::look(None)?;
        let mut spec = self.record.spec()?;
        let mut process = process_of(&spec, options)?;
        let user_namespace = self.record.namespaces & kind::USER != 0;
        if self.record.system {
            system::complete_process(&mut spec, &mut process, user_namespace)?;
        }
        let linux = spec.linux().as_ref();
        let maps = |new_user: bool| {
            linux.filter(|_| new_user).map(|linux| Mappings {
                uids: linux.uid_mappings().as_deref().unwrap_or_default(),
                gids: linux.gid_mappings().as_deref().unwrap_or_default(),
            })
        };
        let own_maps = linux.is_some_and(|linux| linux.uid_mappings().is_some());
        let mappings = maps(user_namespace && own_maps);
        let mut plan = ProcessPlan::plan(&process, mappings, host.rootless, &spec)?;
        for name in &options.caps {
            match capabilities::number(name) {
                Some(number) => plan.capabilities.add(number),
                // As one of config.json that is not known.
                None => log::warn(format_args!(
                    "ignoring unknown or unavailable capabilities: {:?}",
                    [name]
                )),
            }
        }
        let seccomp = plan_seccomp(&spec)?;
        let console_socket = match (&options.console_socket, plan.terminal) {
            (Some(path), true) => Some(parent::connect_console(path)?),
            (Some(_), false) => {
                return Err(refuse(
                    "cannot use console socket if runc will not detach or allocate tty",
                ));
            }
            (None, true) if options.detach => {
                return Err(refuse(
                    "cannot allocate tty if runc will detach without setting console socket",
                ));
            }
            (None, _) => None,
        };
        let init = self.init().map_err(|error| match error.kind() {
            ErrorKind::NotRunning => stopped(),
            _ => error,
        })?;
        let because = |error| self.why(error, &init);
        let keeper = rustix::io::fcntl_dupfd_cloexec(&init, 3).call(|| "fcntl(F_DUPFD_CLOEXEC)")?;
        let (inner, pid) = self.inner(keeper)?;
        let cgroup = match self.record.system && options.cgroup.is_empty() {
            // None of its processes are in the container's own.
            true => None,
            false => self.exec_cgroup(options)?.map(OwnedFd::from),
        };
        let cgroup = match cgroup {
            None if self.record.system && self.record.cgroup.is_some() => {
                self.cgroup_of(pid, options)?
            }
            other => other,
        };
        let mut waiting = (!options.detach)
            .then(|| Foreground::prepare(!options.no_subreaper))
            .transpose()?;
        let join = Join {
            process: &plan,
            host: &host,
            procfs: &self.procfs,
            init: inner.as_fd(),
            kinds: self.record.namespaces,
            cgroup: cgroup.as_ref().map(AsFd::as_fd),
            cgroup_of_init: &|| self.cgroup_of(pid, options),
            keyring: Keyring::plan(&self.record.id, !self.record.no_new_keyring)?,
            personality: Personality::plan(linux.and_then(|linux| linux.personality().as_ref())),
            memory_policy: MemoryPolicy::plan(linux.and_then(|l| l.memory_policy().as_ref()))?,
            passed_fds: &passed_fds,
            console_socket,
            seccomp: seccomp.as_ref(),
            sysinfo: match self.record.system && system::has_sysinfo(spec.annotations().as_ref())? {
                true => Some(sysinfo::open_door(&self.directory).map_err(because)?),
                false => None,
            },
            state: self.record.hook_state().now("running", self.record.pid),
            is_awaited: options.pidfd_socket.is_some(),
        };
        let mut newborn = join.fork().map_err(because)?;
        newborn.serve(&mut ()).map_err(because)?;
        if let Some(socket) = &options.pidfd_socket {
            pidfd_socket::send(
                socket,
                pidfd_socket::Which::Exec,
                newborn.child.pidfd.as_fd(),
            )?;
        }
        if let (Some(waiting), Some(master)) = (&mut waiting, newborn.master.take()) {
            waiting.attach(master)?;
        }
        newborn
            .go()
            .and_then(|()| newborn.wait_for_exec())
            .map_err(because)?;
        if let Some(path) = &options.pid_file {
            // Only now: an exec that fails leaves no pid file.
            pid_file::write(path, newborn.child.pid.as_raw_nonzero().get())?;
        }
        // One that can no longer be waited for does not stay behind.
        let exit = match waiting {
            Some(waiting) => waiting
                .wait(&newborn.child)
                .inspect_err(|_| pid_file::remove(options.pid_file.as_deref()))?,
            None => Exit::Code(0),
        };
        newborn.leave();
        Ok(exit)
    }

    /// Half-way in, the end of init shows in one of many ways; the plain word for all of them is said instead.
    fn why(&self, error: Error, init: &OwnedFd) -> Error {
        // Who is in its pid namespace is killed before it has ended altogether.
        let moment = match error.kind() {
            ErrorKind::Died => A_MOMENT,
            _ => NOW,
        };
        let ends = || {
            let process = self.procfs.look(self.record.pid);
            process.is_ok_and(|process| process.is_none_or(|process| process.exiting))
        };
        match pidfd::wait_exit(init, Some(moment)) {
            Ok(false) if !ends() => error.wrap(create::UNABLE),
            _ => stopped(),
        }
    }

    /// Where init is now: a system container moves it to a cgroup of its own below the container's.
    fn cgroup_of(&self, init: i32, options: &ExecOptions) -> Result<Option<OwnedFd>> {
        if !options.cgroup.is_empty() {
            return Ok(None);
        }
        let text = self.procfs.read(&format!("{init}/cgroup"))?;
        let found = Hierarchy::open()?.find(&cgroup::of_process(&text))?;
        Ok(found.map(OwnedFd::from))
    }

    /// Where the process is born: the container's cgroup, or one below it that the caller names or a service manager is in.
    fn exec_cgroup(&self, options: &ExecOptions) -> Result<Option<Cgroup>> {
        let own = self.cgroup()?;
        if own.is_none() && self.record.cgroup.is_some() {
            // It goes when the container is deleted.
            return Err(stopped());
        }
        let Some(path) = sub_cgroup(&options.cgroup)? else {
            return Ok(own.map(Cgroup::beside_manager));
        };
        match own {
            Some(own) => own.child(path.as_ref()).map(Some),
            None => Err(Error::unsupported(
                "--cgroup: the container has no cgroup of its own",
            )),
        }
    }
}

/// The cgroup that `--cgroup` names, as runc reads it: on cgroup v2 no controller has a path of its own.
fn sub_cgroup(given: &[String]) -> Result<Option<&str>> {
    let mut seen: Vec<&str> = Vec::new();
    for argument in given {
        let wrong = |why| {
            let text = format!("invalid --cgroup argument: {argument} ({why})");
            Err(refuse(&text))
        };
        let Some((controllers, _)) = argument.split_once(':') else {
            return match given.len() {
                1 => Ok(Some(argument)),
                _ => wrong("missing <controller>: prefix"),
            };
        };
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return wrong("empty <controller> prefix");
            }
            if seen.contains(&controller) {
                return Err(refuse(&format!(
                    "invalid --cgroup argument(s): controller {controller} specified multiple times"
                )));
            }
            seen.push(controller);
        }
    }
    match seen.first() {
        Some(controller) => Err(refuse(&format!(
            "--cgroup: unknown controller {controller}: with cgroup v2 a process is in one cgroup for all of them"
        ))),
        None => Ok(None),
    }
}

fn stopped() -> Error {
    let text = "cannot exec in a stopped container";
    Error::new(ErrorKind::NotRunning, text)
}

fn refuse(text: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, text)
}

/// The process to run: process.json, or config.json's with what the command line changes.
fn process_of(spec: &spec::Spec, options: &ExecOptions) -> Result<spec::Process> {
    if let Some(path) = &options.process {
        return spec::load_process(path);
    }
    if options.args.is_empty() {
        return Err(refuse("exec args cannot be empty"));
    }
    let mut process = spec
        .process()
        .clone()
        .ok_or_else(|| Error::config("config.json has no process"))?;
    process.set_args(Some(options.args.clone()));
    // The container's own terminal says nothing about this process's.
    process.set_terminal(Some(options.tty));
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.into());
    }
    if let Some(label) = &options.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    if let Some(profile) = &options.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if options.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    process
        .env_mut()
        .get_or_insert_default()
        .extend(options.env.iter().cloned());
    if let Some(user) = &options.user {
        let (uid, gid) = user_database::parse_user(user).context(|| "--user")?;
        process.user_mut().set_uid(uid);
        if let Some(gid) = gid {
            process.user_mut().set_gid(gid);
        }
    }
    let groups = process
        .user_mut()
        .additional_gids_mut()
        .get_or_insert_default();
    groups.extend(&options.additional_gids);
    Ok(process)
}
