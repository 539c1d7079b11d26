//! One container's life with nothing around it.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open, umask};
use rustix::system::sethostname;
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, remove_capability_from_bounding_set, set_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::kernel::{self, Fork};
use crate::rootfs;
use crate::steps::Steps;
use crate::wait::{End, wait};

const TRUE: [&CStr; 1] = [c"/bin/true"];
const SLEEP: [&CStr; 2] = [c"/bin/sleep", c"1000000"];

const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

const SYSCTLS: [(&CStr, &[u8]); 2] = [
    (c"/proc/sys/net/ipv4/ip_unprivileged_port_start", b"0"),
    (c"/proc/sys/net/ipv4/ping_group_range", b"0 2147483647"),
];

/// Docker's fourteen.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// All that Linux has, up to CAP_CHECKPOINT_RESTORE.
const ALL_CAPABILITIES: CapabilitySet = CapabilitySet::from_bits_retain((1 << 41) - 1);

const ENVIRONMENT: [&CStr; 2] = [
    c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    c"HOME=/root",
];

/// Runs /bin/true in a new container of `bundle`, in the new cgroup `cgroup`, under the seccomp program `filter`.
pub(crate) fn run(
    bundle: &CStr,
    cgroup: &CStr,
    filter: Option<&[u8]>,
    steps: &mut Steps,
) -> io::Result<End> {
    mkdirat(CWD, cgroup, Mode::from_raw_mode(0o755))?;
    let group = rootfs::directory(cgroup)?;
    steps.done("cgroup mkdir");
    let end = in_child(NAMESPACES, group.as_fd(), steps, |steps| {
        init(bundle, filter, &TRUE, steps)
    })?;
    rootfs::remove_directory(cgroup)?;
    steps.done("cgroup rmdir");
    Ok(end)
}

/// Starts a sleeper in a new container, and gives its pid once it has been executed.
pub(crate) fn start(bundle: &CStr, cgroup: &CStr) -> io::Result<i32> {
    mkdirat(CWD, cgroup, Mode::from_raw_mode(0o755))?;
    let group = rootfs::directory(cgroup)?;
    let (out, input) = pipe_with(PipeFlags::CLOEXEC)?;
    match kernel::fork_into(NAMESPACES, group.as_fd())? {
        Fork::Child => {
            let error = init(bundle, None, &SLEEP, &mut Steps::new(false));
            let _ = write!(File::from(input), "{error}");
            kernel::leave(1)
        }
        Fork::Parent(pid) => {
            drop(input);
            let mut error = String::new();
            File::from(out).read_to_string(&mut error)?;
            if error.is_empty() {
                Ok(pid)
            } else {
                Err(io::Error::other(error))
            }
        }
    }
}

/// Runs /bin/true in the namespaces of `pid` and in `cgroup`, which are there already.
pub(crate) fn exec(pid: i32, cgroup: &CStr, steps: &mut Steps) -> io::Result<End> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    let group = rootfs::directory(cgroup)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    kernel::set_namespaces(process.as_fd(), NAMESPACES | libc::CLONE_NEWCGROUP)?;
    steps.done("setns");
    in_child(0, group.as_fd(), steps, |steps| {
        become_process(None, &TRUE, steps)
    })
}

/// Forks into `cgroup`, does `work` there (which returns only when it fails), waits for the end.
fn in_child(
    flags: i32,
    cgroup: BorrowedFd<'_>,
    steps: &mut Steps,
    work: impl Fn(&mut Steps) -> io::Error,
) -> io::Result<End> {
    let (mut out, input) = if steps.wanted() {
        let (out, input) = pipe_with(PipeFlags::CLOEXEC)?;
        (Some(File::from(out)), Some(File::from(input)))
    } else {
        (None, None)
    };
    match kernel::fork_into(flags, cgroup)? {
        Fork::Child => {
            let mut own = Steps::with_pipe(input);
            own.done("clone3");
            let error = work(&mut own);
            // Nothing can be done if that fails, too; the exit code tells.
            let _ = writeln!(io::stderr(), "floor: in the container: {error}");
            kernel::leave(1)
        }
        Fork::Parent(pid) => {
            drop(input);
            if let Some(out) = &mut out {
                // The pipe ends at exec.
                let mut text = String::new();
                out.read_to_string(&mut text)?;
                steps.add_text(&text);
                steps.done("execve");
            }
            let (_, end) = wait(pid)?;
            steps.done("true, exit, wait");
            Ok(end)
        }
    }
}

fn init(bundle: &CStr, filter: Option<&[u8]>, args: &[&CStr], steps: &mut Steps) -> io::Error {
    match prepare(bundle, steps) {
        Ok(()) => become_process(filter, args, steps),
        Err(error) => error,
    }
}

fn prepare(bundle: &CStr, steps: &mut Steps) -> io::Result<()> {
    kernel::unshare(libc::CLONE_NEWCGROUP)?;
    steps.done("cgroup namespace");
    kernel::join_session_keyring(c"_ses.floor")?;
    steps.done("session keyring");
    rustix::process::setsid()?;
    umask(Mode::empty());
    kernel::loopback_up()?;
    steps.done("loopback up");
    let bundle = rootfs::directory(bundle)?;
    rootfs::enter(bundle.as_fd(), steps)?;
    sethostname(b"floor")?;
    steps.done("hostname");
    for (path, value) in SYSCTLS {
        write(path, value)?;
    }
    steps.done("2 sysctls");
    rootfs::protect(rootfs::directory(c"/")?.as_fd(), steps)?;
    write(c"/proc/self/oom_score_adj", b"0")?;
    steps.done("oom_score_adj");
    Ok(())
}

/// The process's own properties, then exec.
fn become_process(filter: Option<&[u8]>, args: &[&CStr], steps: &mut Steps) -> io::Error {
    match properties(filter, steps) {
        Ok(()) => kernel::exec(CWD, args[0], args, &ENVIRONMENT),
        Err(error) => error,
    }
}

fn properties(filter: Option<&[u8]>, steps: &mut Steps) -> io::Result<()> {
    umask(Mode::from_raw_mode(0o022));
    if let Some(program) = filter {
        // While there is CAP_SYS_ADMIN: Docker's default is without no_new_privs.
        kernel::set_filter(program)?;
        steps.done("seccomp filter");
    }
    for capability in ALL_CAPABILITIES.difference(CAPABILITIES).iter() {
        remove_capability_from_bounding_set(capability)?;
    }
    set_thread_groups(&[Gid::ROOT, Gid::from_raw(10)])?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    let sets = CapabilitySets {
        effective: CAPABILITIES,
        permitted: CAPABILITIES,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)?;
    rustix::process::chdir(c"/")?;
    kernel::close_at_exec()?;
    steps.done("capabilities, ids");
    steps.send()
}

fn write(path: &CStr, value: &[u8]) -> io::Result<()> {
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value)?;
    Ok(())
}

/// This program once more, from a mount of it that nobody can write through.
pub(crate) fn again_read_only(args: &[CString]) -> io::Error {
    match read_only_self() {
        Ok(tree) => {
            let args: Vec<&CStr> = args.iter().map(CString::as_c_str).collect();
            kernel::exec(tree.as_fd(), c"", &args, &ENVIRONMENT)
        }
        Err(error) => error,
    }
}

fn read_only_self() -> io::Result<rustix::fd::OwnedFd> {
    use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, c"/proc/self/exe", flags)?;
    kernel::set_mount_attributes(
        tree.as_fd(),
        c"",
        false,
        MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(),
        0,
    )?;
    Ok(tree)
}
