//! `probe ambush TERCES`: what a hostile process 1 with CAP_SYS_PTRACE does to a runtime's process that joins it.
//!
//! It stops each new process of its pid namespace as soon as there is one, and looks at those that run a program which is
//! not the container's: which rights they have that it has not, what they hold of the host, and whether the secret (given
//! backwards, lest it be found in the config) is anywhere in them. It prints "ready", goes on until there is a file `/stop`, and
//! prints what it has found as JSON.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// No memory of a runtime is larger that has anything in it.
const MOST_MEMORY: u64 = 8 << 20;

pub(crate) fn ambush(backwards: &str) -> Value {
    let secret: String = backwards.chars().rev().collect();
    let own: Vec<_> = ["/probe", "/bin/busybox"]
        .iter()
        .filter_map(|path| identity(path))
        .collect();
    let foreign = |pid: i32| {
        identity(&format!("/proc/{pid}/exe")).is_some_and(|program| !own.contains(&program))
    };
    println!("ready");
    let (mut caught, mut gained) = (0, BTreeSet::new());
    let mut met = Vec::new();
    let mut next = last_pid() + 1;
    while !Path::new("/stop").exists() {
        for _ in 0..1000 {
            let last = last_pid();
            for number in next..=last {
                let Some(pid) = Pid::from_raw(number) else {
                    continue;
                };
                if kill_process(pid, Signal::STOP).is_err() {
                    continue;
                }
                stopped(number);
                if foreign(number) {
                    let found = look(number, &secret);
                    // Or it was the container's program all the time.
                    if foreign(number) {
                        caught += 1;
                        gained.extend(found);
                    }
                }
                let _ = kill_process(pid, Signal::CONT);
                met.push(pid);
            }
            next = next.max(last + 1);
        }
        // One that was stopped twice is not to stand still for ever.
        met.retain(|pid| kill_process(*pid, Signal::CONT).is_ok());
    }
    json!({"caught": caught, "gained": gained})
}

/// The last pid that was given away in this namespace (proc_loadavg(5)).
fn last_pid() -> i32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let last = text.split_whitespace().last();
    last.and_then(|pid| pid.parse().ok()).unwrap_or(0)
}

/// Waits, not long, until it stands still.
fn stopped(pid: i32) {
    let end = Instant::now() + Duration::from_millis(20);
    while Instant::now() < end {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        match stat.rsplit_once(") ") {
            Some((_, rest)) if !rest.starts_with(['T', 't', 'Z']) => {}
            _ => return,
        }
    }
}

fn look(pid: i32, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd"] {
        let more = rights(&pid.to_string(), set) & !rights("self", "CapBnd");
        if more != 0 {
            found.push(format!("{set} has {more:x} more"));
        }
    }
    if status("self", "Seccomp") != status(&pid.to_string(), "Seccomp") {
        found.push("no filter".to_string());
    }
    let namespaces = ["mnt", "net", "ipc", "uts", "pid"];
    for name in namespaces {
        let link = |whose: &str| fs::read_link(format!("/proc/{whose}/ns/{name}")).ok();
        if link("self") != link(&pid.to_string()) {
            found.push(format!("another {name} namespace"));
        }
    }
    for place in ["root", "cwd"] {
        let file = |path: &str| identity(&format!("/proc/{path}"));
        if file(&format!("{pid}/{place}")) != file("self/root") {
            found.push(format!("another {place}"));
        }
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let number: Option<u32> = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let target = fs::read_link(entry.path()).unwrap_or_default();
        // What its program will have, and the way to the runtime outside.
        let target = target.to_string_lossy();
        let kind = target.split(':').next().unwrap_or_default();
        if number.is_some_and(|number| number > 2) && kind != "socket" {
            found.push(format!("fd {kind}"));
        }
    }
    for file in ["environ", "cmdline"] {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        if has(&text, secret) {
            found.push(format!("the secret in {file}"));
        }
    }
    if memory_has(pid, secret) == Some(true) {
        found.push("the secret in its memory".to_string());
    }
    found
}

fn has(text: &[u8], secret: &str) -> bool {
    text.windows(secret.len())
        .any(|part| part == secret.as_bytes())
}

fn memory_has(pid: i32, secret: &str) -> Option<bool> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let from = u64::from_str_radix(from, 16).ok()?;
        let length = u64::from_str_radix(to, 16).ok()? - from;
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(from)).ok()?;
        // A part of it may not be readable.
        let _ = memory
            .by_ref()
            .take(length.min(MOST_MEMORY))
            .read_to_end(&mut bytes);
        if has(&bytes, secret) {
            return Some(true);
        }
    }
    Some(false)
}

fn status(whose: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{whose}/status")).ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    value.map(str::to_string)
}

fn rights(whose: &str, set: &str) -> u64 {
    let value = status(whose, set).and_then(|value| u64::from_str_radix(&value, 16).ok());
    value.unwrap_or(0)
}

fn identity(path: &str) -> Option<(u64, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}
