//! `probe report`: all that a process can see of what the runtime did for it. What cannot be read
//! (no /proc, say) is null.

use crate::kernel::{self, Address};
use crate::{names, system};
use rustix::process::{Resource, getrlimit};
use rustix::thread::ClockId;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// The whole report.
pub(crate) fn all() -> Value {
    // First, so that no fd of our own is among them.
    let fds = open_fds();
    let mut report = json!({
        "args": kernel::arguments(),
        "env": environment(),
        "cwd": cwd(),
        "exe": link("/proc/self/exe"),
        "fds": fds,
        "namespaces": namespaces(),
        "rlimits": rlimits(),
        "scheduler": scheduler(),
        "tty": tty(),
        "mounts": mounts(),
        "dev": dev(),
        "network": network(),
        "oom_score_adj": number("/proc/self/oom_score_adj"),
        "uid_map": map("/proc/self/uid_map"),
        "gid_map": map("/proc/self/gid_map"),
        "setgroups": text("/proc/self/setgroups"),
        "cgroup": cgroup(),
        "attr_current": text("/proc/self/attr/current"),
        "attr_exec": text("/proc/self/attr/exec"),
        "timens_offsets": text("/proc/self/timens_offsets"),
        "start_time": start_time(),
    });
    let object = report.as_object_mut().unwrap();
    object.extend(ids());
    object.extend(status());
    object.extend(rest());
    report
}

fn text(path: &str) -> Option<String> {
    Some(
        String::from_utf8_lossy(&fs::read(path).ok()?)
            .trim_end_matches(['\n', '\0'])
            .to_string(),
    )
}

fn number(path: &str) -> Option<i64> {
    text(path)?.parse().ok()
}

fn link(path: &str) -> Option<String> {
    Some(fs::read_link(path).ok()?.to_string_lossy().into_owned())
}

/// The working directory, as getcwd gives it.
pub(crate) fn cwd() -> Option<String> {
    Some(std::env::current_dir().ok()?.to_string_lossy().into_owned())
}

/// The environment in its order, with duplicates.
pub(crate) fn environment() -> Vec<String> {
    match fs::read("/proc/self/environ") {
        Ok(bytes) => bytes
            .split_terminator_nul()
            .map(|entry| String::from_utf8_lossy(entry).into_owned())
            .collect(),
        Err(_) => std::env::vars().map(|(k, v)| format!("{k}={v}")).collect(),
    }
}

trait SplitNul {
    fn split_terminator_nul(&self) -> impl Iterator<Item = &[u8]>;
}

impl SplitNul for Vec<u8> {
    fn split_terminator_nul(&self) -> impl Iterator<Item = &[u8]> {
        let end = self.strip_suffix(b"\0").unwrap_or(self);
        end.split(|byte| *byte == 0).filter(|_| !self.is_empty())
    }
}

/// Namespace inode numbers by the names in /proc/self/ns.
pub(crate) fn namespaces() -> Value {
    let Ok(entries) = fs::read_dir("/proc/self/ns") else {
        return Value::Null;
    };
    let inode = |path: &Path| {
        let target = fs::read_link(path).ok()?;
        let (_, inode) = target.to_str()?.trim_end_matches(']').split_once('[')?;
        inode.parse::<u64>().ok()
    };
    let pairs = entries.flatten().map(|entry| {
        (
            entry.file_name().to_string_lossy().into_owned(),
            json!(inode(&entry.path())),
        )
    });
    Value::Object(pairs.collect())
}

/// Open fds: where each leads, and its flags (octal, as in fdinfo).
pub(crate) fn open_fds() -> Value {
    let Ok(dir) = rustix::fs::open(
        "/proc/self/fd",
        rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    ) else {
        return Value::Null;
    };
    let own = std::os::fd::AsRawFd::as_raw_fd(&dir);
    let mut names = Vec::new();
    let mut buffer = Vec::with_capacity(4096);
    let mut iterator = rustix::fs::RawDir::new(&dir, buffer.spare_capacity_mut());
    while let Some(Ok(entry)) = iterator.next() {
        if let Ok(fd) = entry.file_name().to_string_lossy().parse::<i32>() {
            names.push(fd);
        }
    }
    names.retain(|fd| *fd != own);
    names.sort_unstable();
    let fds = names.into_iter().map(|fd| {
        let info = text(&format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:\t"));
        json!({"fd": fd, "target": link(&format!("/proc/self/fd/{fd}")), "flags": flags})
    });
    Value::Array(fds.collect())
}

fn ids() -> Map<String, Value> {
    use rustix::process as p;
    let groups = p::getgroups().map(|groups| groups.iter().map(|g| g.as_raw()).collect::<Vec<_>>());
    let raw = |pid: Option<p::Pid>| pid.map_or(0, |pid| pid.as_raw_nonzero().get());
    let fields = json!({
        "uid": p::getuid().as_raw(),
        "euid": p::geteuid().as_raw(),
        "gid": p::getgid().as_raw(),
        "egid": p::getegid().as_raw(),
        "groups": groups.ok(),
        "pid": raw(Some(p::getpid())),
        "ppid": raw(p::getppid()),
        "pgid": raw(Some(p::getpgrp())),
        "sid": p::getsid(None).map(|sid| raw(Some(sid))).ok(),
    });
    object(fields)
}

/// What /proc/self/status says.
fn status() -> Map<String, Value> {
    let status = text("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.map(str::trim)
    };
    let mask = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    let caps = |name: &str| mask(name).map(names::capabilities);
    let signals = |name: &str| {
        let mask = mask(name)?;
        Some(
            (1..=64)
                .filter(|n| mask & (1 << (n - 1)) != 0)
                .map(names::signal_name)
                .collect::<Vec<_>>(),
        )
    };
    let fields = json!({
        "all_uids": numbers(field("Uid")),
        "all_gids": numbers(field("Gid")),
        "umask": field("Umask"),
        "capabilities": {
            "bounding": caps("CapBnd"),
            "effective": caps("CapEff"),
            "inheritable": caps("CapInh"),
            "permitted": caps("CapPrm"),
            "ambient": caps("CapAmb"),
        },
        "no_new_privs": field("NoNewPrivs").map(|v| v == "1"),
        "seccomp": numbers(field("Seccomp")),
        "seccomp_filters": numbers(field("Seccomp_filters")),
        "ns_pid": numbers(field("NSpid")),
        "cpus_allowed": field("Cpus_allowed_list"),
        "mems_allowed": field("Mems_allowed_list"),
        "threads": numbers(field("Threads")),
        "signals_blocked": signals("SigBlk"),
        "signals_ignored": signals("SigIgn"),
        "signals_pending": signals("ShdPnd"),
    });
    object(fields)
}

/// One number, or an array of several.
fn numbers(text: Option<&str>) -> Value {
    let list: Vec<i64> = text
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    match list[..] {
        [] => Value::Null,
        [one] => json!(one),
        _ => json!(list),
    }
}

fn rest() -> Map<String, Value> {
    let uname = rustix::system::uname();
    let clock = |id| rustix::time::clock_gettime(id).tv_sec;
    let (keyring, mempolicy) = (kernel::session_keyring(), kernel::mempolicy());
    let fields = json!({
        "hostname": uname.nodename().to_string_lossy(),
        "domainname": uname.domainname().to_string_lossy(),
        "machine": uname.machine().to_string_lossy(),
        "personality": kernel::personality(),
        "ioprio": kernel::ioprio().map(|(class, value)| json!({"class": class, "value": value})),
        "keyring": keyring.map(|(id, description)| json!({"id": id, "description": description})),
        "mempolicy": mempolicy.map(|(mode, nodes)| json!({"mode": mode, "nodes": nodes})),
        "cpu_affinity": affinity(),
        "securebits": rustix::thread::capabilities_secure_bits().ok().map(|bits| bits.bits()),
        "dumpable": rustix::process::dumpable_behavior().ok().map(|d| d as i32),
        "pdeathsig": rustix::process::parent_process_death_signal()
            .ok()
            .map(|signal| signal.map_or(0, |s| s.as_raw())),
        "clock_monotonic": clock(ClockId::Monotonic),
        "clock_boottime": clock(ClockId::Boottime),
    });
    object(fields)
}

fn affinity() -> Option<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None).ok()?;
    Some(
        (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|cpu| set.is_set(*cpu))
            .collect(),
    )
}

/// Soft and hard; no limit is -1.
fn rlimits() -> Value {
    let all = [
        ("RLIMIT_AS", Resource::As),
        ("RLIMIT_CORE", Resource::Core),
        ("RLIMIT_CPU", Resource::Cpu),
        ("RLIMIT_DATA", Resource::Data),
        ("RLIMIT_FSIZE", Resource::Fsize),
        ("RLIMIT_LOCKS", Resource::Locks),
        ("RLIMIT_MEMLOCK", Resource::Memlock),
        ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
        ("RLIMIT_NICE", Resource::Nice),
        ("RLIMIT_NOFILE", Resource::Nofile),
        ("RLIMIT_NPROC", Resource::Nproc),
        ("RLIMIT_RSS", Resource::Rss),
        ("RLIMIT_RTPRIO", Resource::Rtprio),
        ("RLIMIT_RTTIME", Resource::Rttime),
        ("RLIMIT_SIGPENDING", Resource::Sigpending),
        ("RLIMIT_STACK", Resource::Stack),
    ];
    let value = |limit: Option<u64>| limit.map_or(json!(-1), |n| json!(n));
    let pairs = all.into_iter().map(|(name, resource)| {
        let limit = getrlimit(resource);
        (
            name.to_string(),
            json!({"soft": value(limit.current), "hard": value(limit.maximum)}),
        )
    });
    Value::Object(pairs.collect())
}

fn scheduler() -> Value {
    match kernel::sched_attr() {
        None => Value::Null,
        Some(attr) => json!({
            "policy": names::policy(attr.policy),
            "flags": attr.flags,
            "nice": attr.nice,
            "priority": attr.priority,
            "runtime": attr.runtime,
            "deadline": attr.deadline,
            "period": attr.period,
        }),
    }
}

/// For fds 0, 1, 2: rows and columns, or null where it is no terminal.
fn tty() -> Value {
    let fds = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    let size = |fd| rustix::termios::tcgetwinsize(fd).ok();
    let sizes = fds.map(|fd| size(fd).map(|size| json!([size.ws_row, size.ws_col])));
    json!(sizes)
}

/// An id map as rows of three numbers.
fn map(path: &str) -> Option<Vec<Value>> {
    Some(
        text(path)?
            .lines()
            .map(|line| numbers(Some(line)))
            .collect(),
    )
}

/// The path in the v2 hierarchy.
fn cgroup() -> Option<String> {
    let table = text("/proc/self/cgroup")?;
    table
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_string)
}

fn start_time() -> Option<u64> {
    let stat = text("/proc/self/stat")?;
    // The command, in parentheses, may hold anything; the 22nd field is the 20th after it.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

fn mounts() -> Option<Vec<Value>> {
    let table = text("/proc/self/mountinfo")?;
    let row = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.splitn(3, ' ').collect();
        Some(json!({
            "id": left[0].parse::<u64>().ok()?,
            "parent": left[1].parse::<u64>().ok()?,
            "dev": left[2],
            "root": left[3],
            "mountpoint": left[4],
            "options": left[5].split(',').collect::<Vec<_>>(),
            "propagation": left[6..],
            "fstype": right[0],
            "source": right[1],
            "super": right.get(2)?.split(',').collect::<Vec<_>>(),
        }))
    };
    Some(table.lines().filter_map(row).collect())
}

/// Everything in /dev, two levels deep, as `stat` shows it.
fn dev() -> Value {
    let mut found = Map::new();
    let mut dirs = vec![("/dev".to_string(), 0)];
    while let Some((dir, depth)) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
            if depth < 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push((path.clone(), depth + 1));
            }
            found.insert(path.clone(), json!(system::stat(&path).ok()));
        }
    }
    Value::Object(found)
}

/// Interfaces by name: index, link address, MTU, flags (as in if.h), addresses with prefix length.
fn network() -> Value {
    let mut found = Map::new();
    for line in kernel::interfaces() {
        let entry = found.entry(line.name.clone()).or_insert_with(|| {
            let up = line.flags & libc::IFF_UP as u32 != 0;
            json!({"flags": line.flags, "up": up, "mtu": kernel::mtu(&line.name), "addresses": []})
        });
        let address = match line.address {
            Address::Link(index, mac) => {
                entry["index"] = json!(index);
                entry["mac"] = json!(mac);
                continue;
            }
            Address::V4(address, length) => format!("{address}/{length}"),
            Address::V6(address, length) => format!("{address}/{length}"),
            Address::None => continue,
        };
        if let Some(addresses) = entry["addresses"].as_array_mut() {
            addresses.push(json!(address));
        }
    }
    Value::Object(found)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
