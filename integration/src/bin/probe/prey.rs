//! `probe prey`: what a hostile process 1 does to a runtime's process that joins it.
//!
//! It waits for processes that run a program which is not the container's, and takes what it can get of them: the program
//! file, to write to it as soon as nobody runs it; descriptors, root, working directory, memory, environment. It prints
//! "ready", makes a file `/met` when it has seen two of them, goes on until there is a file `/stop`, and prints what it has got as JSON.

use crate::names;
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// What makes a file the same file.
type Identity = (u64, u64);

const PROGRAMS: [&str; 2] = ["/probe", "/bin/busybox"];

pub(crate) fn prey() -> Value {
    let own: Vec<Identity> = PROGRAMS
        .iter()
        .filter_map(|path| identity(&open(path, OFlags::PATH).ok()?))
        .collect();
    println!("ready");
    let (mut reached, mut program) = (BTreeSet::new(), None);
    let mut seen = BTreeSet::new();
    while !Path::new("/stop").exists() {
        for pid in pids() {
            if seen.insert(pid) && seen.len() == 2 {
                let _ = std::fs::write("/met", "");
            }
            let proc = format!("/proc/{pid}");
            // Whether it still is the runtime's is asked after each thing that was got.
            let foreign = || {
                let exe = open(&format!("{proc}/exe"), OFlags::PATH).ok()?;
                (!own.contains(&identity(&exe)?)).then_some(exe)
            };
            for (name, file) in parts(&proc) {
                let got = open(&file, OFlags::RDONLY | OFlags::NONBLOCK).is_ok();
                if got && foreign().is_some() {
                    reached.insert(name);
                }
            }
            if let Some(exe) = foreign()
                && program.as_deref() != Some("written")
            {
                program = Some(overwrite(&exe));
            }
        }
    }
    json!({"reached": reached, "program": program, "pids": seen.len()})
}

/// The processes other than this one.
fn pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id() as i32)
        .collect()
}

/// What there is of a process that must not be reached.
fn parts(proc: &str) -> Vec<(String, String)> {
    let names = ["environ", "mem", "root", "cwd", "maps"];
    let mut parts: Vec<(String, String)> = names
        .iter()
        .map(|name| (name.to_string(), format!("{proc}/{name}")))
        .collect();
    for entry in std::fs::read_dir(format!("{proc}/fd"))
        .into_iter()
        .flatten()
        .flatten()
    {
        parts.push((
            "fd".to_string(),
            entry.path().to_string_lossy().into_owned(),
        ));
    }
    parts
}

/// Writes to a program file once no process runs it: "written", or the last error's name.
fn overwrite(exe: &OwnedFd) -> String {
    let path = format!("/proc/self/fd/{}", exe.as_raw_fd());
    let end = Instant::now() + Duration::from_secs(3);
    loop {
        let error = match open(&path, OFlags::WRONLY) {
            Ok(file) => match rustix::io::write(&file, b"#!/overwritten\n") {
                Ok(_) => return "written".to_string(),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if error != Errno::TXTBSY || Instant::now() > end {
            return names::errno(error);
        }
    }
}

fn open(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())
}

fn identity(file: &OwnedFd) -> Option<Identity> {
    let stat = fstat(file).ok()?;
    Some((stat.st_dev, stat.st_ino))
}
