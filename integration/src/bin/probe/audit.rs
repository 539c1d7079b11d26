//! `probe audit FILE`: the report, and what this process could reach if it wanted to: which devices, settings and files of the
//! kernel open, what it gets of process 1, which calls it may make. Nothing is changed that outlives the process, but for
//! a node that is made and removed.

use crate::{kernel, names, report, system};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat};
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// All of it. Of "files" only what opens for writing, and what does not for reading.
pub(crate) fn all() -> Value {
    // First, for its list of descriptors.
    let mut audit = report::all();
    let more = json!({
        "devices": devices(),
        "made_devices": made_devices(),
        "files": files(),
        "keys": keys(),
        "process_1": process(1),
        "calls": calls(),
        "status": status(),
        "prctl": prctl(),
        "own": own(),
        "places": places(),
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut audit, more) {
        all.extend(more);
    }
    audit
}

/// "ok", or the name of the error.
fn word<T>(result: Result<T, rustix::io::Errno>) -> String {
    result.map_or_else(names::errno, |_| "ok".to_string())
}

/// How a file opens; never as a controlling terminal, never waiting.
fn opens(path: &Path, flags: OFlags) -> String {
    let flags = flags | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    word(rustix::fs::open(path, flags, Mode::empty()))
}

/// Each node below /dev: how it opens for reading, and for writing.
fn devices() -> Value {
    let mut found = Map::new();
    walk(Path::new("/dev"), 2, &mut |path, kind| {
        if !kind.is_file() && !kind.is_symlink() {
            let words = [OFlags::RDONLY, OFlags::WRONLY].map(|flags| opens(path, flags));
            found.insert(path.display().to_string(), json!(words.join(" ")));
        }
    });
    Value::Object(found)
}

const NODES: [(&str, FileType, u32, u32); 14] = [
    ("null", FileType::CharacterDevice, 1, 3),
    ("mem", FileType::CharacterDevice, 1, 1),
    ("port", FileType::CharacterDevice, 1, 4),
    ("full", FileType::CharacterDevice, 1, 7),
    ("kmsg", FileType::CharacterDevice, 1, 11),
    ("tty", FileType::CharacterDevice, 5, 0),
    ("console", FileType::CharacterDevice, 5, 1),
    ("ptmx", FileType::CharacterDevice, 5, 2),
    ("tun", FileType::CharacterDevice, 10, 200),
    ("fuse", FileType::CharacterDevice, 10, 229),
    ("loop-control", FileType::CharacterDevice, 10, 237),
    ("pts", FileType::CharacterDevice, 136, 0),
    ("loop", FileType::BlockDevice, 7, 0),
    ("sda", FileType::BlockDevice, 8, 0),
];

/// Whether a node can be made, and how it opens then.
fn made_devices() -> Value {
    let path = Path::new("/dev/audited");
    let rows = NODES.map(|(name, kind, major, minor)| {
        let mode = Mode::from_raw_mode(0o600);
        let made = mknodat(CWD, path, kind, mode, makedev(major, minor));
        let mut words = vec![word(made)];
        if made.is_ok() {
            words.extend([OFlags::RDONLY, OFlags::WRONLY].map(|flags| opens(path, flags)));
            let _ = rustix::fs::unlink(path);
        }
        (name.to_string(), json!(words.join(" ")))
    });
    Value::Object(rows.into_iter().collect())
}

/// Where the kernel has files of its own, and how deep it is looked. Not where every device and module of the machine has
/// a folder, which come and go.
const TREES: [(&str, usize); 8] = [
    ("/proc", 1),
    ("/proc/bus", 3),
    ("/proc/irq", 2),
    ("/proc/sys", 8),
    ("/sys/kernel", 2),
    ("/sys/firmware", 3),
    ("/sys/power", 1),
    ("/sys/fs/cgroup", 1),
];

/// Of the kernel's files: those that open for writing, those that do not for reading, what is not a file where others
/// are, and how many there are.
fn files() -> Value {
    let mut trees = Map::new();
    for (root, depth) in TREES {
        let mut odd = Map::new();
        let mut count = 0;
        walk(Path::new(root), depth, &mut |path, kind| {
            if kind.is_symlink() || kind.is_dir() {
                return;
            }
            count += 1;
            let [read, write] = [OFlags::RDONLY, OFlags::WRONLY].map(|flags| opens(path, flags));
            // Most of them can be read, and not be written.
            if read != "ok" || write == "ok" || !kind.is_file() {
                let kind = if kind.is_file() { "" } else { " (no file)" };
                let name = path.display().to_string();
                odd.insert(name, json!(format!("{read} {write}{kind}")));
            }
        });
        // Only where the runtime decides on it.
        if root == "/sys/firmware" {
            odd.insert("count".to_string(), json!(count));
        }
        if root == "/sys/fs/cgroup" {
            let made = Path::new(root).join("audited");
            odd.insert(
                "mkdir".to_string(),
                json!(word(rustix::fs::mkdir(&made, Mode::RWXU))),
            );
            let _ = rustix::fs::rmdir(&made);
        }
        trees.insert(root.to_string(), Value::Object(odd));
    }
    Value::Object(trees)
}

/// Calls `visit` for all that is below a directory; the numbers in /proc, and what others than the runtime put into a
/// cgroup, are left out.
fn walk(dir: &Path, depth: usize, visit: &mut impl FnMut(&Path, fs::FileType)) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().map_or(&[][..], |name| name.as_bytes());
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if dir == Path::new("/proc") && name[0].is_ascii_digit() {
            continue;
        }
        visit(&path, meta.file_type());
        if meta.is_dir() && depth > 1 {
            walk(&path, depth - 1, visit);
        }
    }
}

/// What /proc/keys shows: whether there is anything, and the session's keyring.
fn keys() -> Value {
    match fs::read_to_string("/proc/keys") {
        Err(error) => json!(error.kind().to_string()),
        Ok(text) if text.is_empty() => json!("nothing"),
        Ok(text) => json!({"session": text.lines().any(|line| line.contains("_ses."))}),
    }
}

/// What can be had of another process.
fn process(pid: i32) -> Value {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let text = |name: &str| match fs::read(dir.join(name)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).replace('\0', " "),
        Err(error) => word::<()>(Err(
            rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
        )),
    };
    let link = |name: &str| match rustix::fs::readlink(dir.join(name), Vec::new()) {
        Ok(target) => target.to_string_lossy().into_owned(),
        Err(error) => names::errno(error),
    };
    let status = text("status");
    let field = |name: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| Some(line.strip_prefix(name)?.trim_start_matches(':').trim()))
    };
    let kcmp = kernel::raw_syscall(libc::SYS_kcmp, [pid.into(), pid.into(), 1, 0, 0, 0]);
    json!({
        "environ": text("environ").trim_end(),
        "cmdline": text("cmdline").trim_end(),
        "comm": text("comm").trim_end(),
        "mem": opens(&dir.join("mem"), OFlags::RDWR),
        "maps": opens(&dir.join("maps"), OFlags::RDONLY),
        "fd": word(fs::read_dir(dir.join("fd")).map_err(|_| rustix::io::Errno::ACCESS)),
        "exe": link("exe"),
        "root": link("root"),
        "cwd": link("cwd"),
        "kcmp": word(kcmp),
        "signal": word(kernel::raw_syscall(libc::SYS_kill, [pid.into(), 0, 0, 0, 0, 0])),
        "seccomp": field("Seccomp"),
        "no_new_privs": field("NoNewPrivs"),
        "uid": field("Uid"),
        "effective": field("CapEff"),
        "permitted": field("CapPrm"),
        "bounding": field("CapBnd"),
    })
}

/// Calls that confinement is about, with arguments by which nothing comes of them. Each in a child.
fn calls() -> Value {
    let root = c"/".as_ptr() as i64;
    let tmpfs = c"tmpfs".as_ptr() as i64;
    let here = i64::from(libc::AT_FDCWD);
    let list: &[(&str, i64, &[i64])] = &[
        ("unshare user", libc::SYS_unshare, &[0x1000_0000]),
        ("unshare mount", libc::SYS_unshare, &[0x2_0000]),
        ("unshare net", libc::SYS_unshare, &[0x4000_0000]),
        ("unshare cgroup", libc::SYS_unshare, &[0x200_0000]),
        ("clone3", libc::SYS_clone3, &[0, 0]),
        ("setns", libc::SYS_setns, &[-1, 0]),
        ("fsopen", libc::SYS_fsopen, &[tmpfs, 0]),
        ("open_tree", libc::SYS_open_tree, &[here, root, 1]),
        ("mount", libc::SYS_mount, &[0, 0, 0, 0, 0]),
        ("chroot", libc::SYS_chroot, &[root]),
        ("bpf", libc::SYS_bpf, &[0, 0, 0]),
        (
            "perf_event_open",
            libc::SYS_perf_event_open,
            &[0, 0, -1, -1, 0],
        ),
        ("keyctl session", libc::SYS_keyctl, &[0, -3, 0]),
        ("keyctl user", libc::SYS_keyctl, &[0, -4, 0]),
        ("keyctl user session", libc::SYS_keyctl, &[0, -5, 0]),
        ("add_key", libc::SYS_add_key, &[0, 0, 0, 0, -3]),
        ("ptrace", libc::SYS_ptrace, &[0, 0, 0, 0]),
        ("kexec_load", libc::SYS_kexec_load, &[0, 0, 0, -1]),
        ("init_module", libc::SYS_init_module, &[0, 0, 0]),
        ("finit_module", libc::SYS_finit_module, &[-1, root, 0]),
        ("reboot", libc::SYS_reboot, &[0, 0, 0, 0]),
        ("swapon", libc::SYS_swapon, &[0, 0]),
        ("settimeofday", libc::SYS_settimeofday, &[0, 0]),
        ("syslog", libc::SYS_syslog, &[10, 0, 0]),
        (
            "open_by_handle_at",
            libc::SYS_open_by_handle_at,
            &[-1, 0, 0],
        ),
        ("io_uring_setup", libc::SYS_io_uring_setup, &[0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, &[0]),
        ("fanotify_init", libc::SYS_fanotify_init, &[0, 0]),
        ("personality", libc::SYS_personality, &[0x4_0000]),
        ("sethostname", libc::SYS_sethostname, &[0, -1]),
        ("setuid", libc::SYS_setuid, &[1]),
        ("setgid", libc::SYS_setgid, &[1]),
        ("setgroups", libc::SYS_setgroups, &[0, 0]),
        ("setpriority", libc::SYS_setpriority, &[0, 0, -5]),
        ("mlockall", libc::SYS_mlockall, &[1]),
        (
            "landlock_create_ruleset",
            libc::SYS_landlock_create_ruleset,
            &[0, 0, 1],
        ),
        ("socket packet", libc::SYS_socket, &[17, 3, 0]),
        ("socket raw", libc::SYS_socket, &[2, 3, 1]),
        ("socket audit", libc::SYS_socket, &[16, 3, 9]),
        ("socket alg", libc::SYS_socket, &[38, 5, 0]),
        ("socket vsock", libc::SYS_socket, &[40, 1, 0]),
    ];
    let rows = list.iter().map(|(name, number, rest)| {
        let mut args = [0; 6];
        args[..rest.len()].copy_from_slice(rest);
        let (text, signal) = kernel::in_child(|| word(kernel::raw_syscall(*number, args)));
        let answer = signal.map_or(text, |signal| format!("signal {signal}"));
        (name.to_string(), json!(answer))
    });
    Value::Object(rows.collect())
}

/// What /proc/self/status has beside what is in the report.
fn status() -> Value {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let wanted = [
        "CoreDumping",
        "THP_enabled",
        "Speculation_Store_Bypass",
        "SpeculationIndirectBranch",
    ];
    let rows = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        wanted
            .contains(&name)
            .then(|| (name.to_string(), json!(value.trim())))
    });
    Value::Object(rows.collect())
}

/// What prctl(2) gives as a number.
fn prctl() -> Value {
    let rows = [
        ("PR_GET_KEEPCAPS", 7),
        ("PR_GET_TIMING", 13),
        ("PR_GET_TIMERSLACK", 30),
        ("PR_GET_THP_DISABLE", 42),
        ("PR_GET_MDWE", 66),
    ];
    let rows = rows.map(|(name, number)| {
        let value = kernel::raw_syscall(libc::SYS_prctl, [number, 0, 0, 0, 0, 0]);
        let value = value.map_or_else(names::errno, |value| value.to_string());
        (name.to_string(), json!(value))
    });
    Value::Object(rows.into_iter().collect())
}

/// Further files that say how this process is kept.
fn own() -> Value {
    let wanted = ["coredump_filter", "loginuid", "sessionid"];
    let rows = wanted.map(|name| {
        let text = fs::read_to_string(format!("/proc/self/{name}")).ok();
        (
            name.to_string(),
            json!(text.map(|text| text.trim().to_string())),
        )
    });
    Value::Object(rows.into_iter().collect())
}

/// Type, mode and owner of the directories that a runtime makes or mounts on, and whether a file can be made in them.
fn places() -> Value {
    let rows = [
        "/",
        "/dev",
        "/dev/shm",
        "/dev/mqueue",
        "/proc",
        "/sys",
        "/tmp",
        "/run",
        "/etc",
    ];
    let rows = rows.map(|path| {
        let mut value = system::stat(path).unwrap_or(Value::Null);
        let file = Path::new(path).join("audited");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let made = rustix::fs::open(&file, flags, Mode::RUSR);
        let _ = rustix::fs::unlink(&file);
        value["makes"] = json!(word(made));
        (path.to_string(), value)
    });
    Value::Object(rows.into_iter().collect())
}
