//! Users, groups and capabilities: `exec --user`, and the files of an image that say who is who.

use integration::{Bundle, CRUN_13, RUNC_12, Runtime, attack, json, until};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

/// crun CVE-2026-30892
#[test]
fn exec_as_a_user_is_never_root() {
    attack(&[CRUN_13], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let c = bundle.container();
        c.run_detached();
        ["1", "1000", "4294967294"].iter().find_map(|user| {
            let output = c.exec_with(&["--user", user], &["/bin/id", "-u"]);
            println!("{}", output.describe());
            (output.stdout == "0\n").then(|| format!("--user {user} is root"))
        })
    });
}

/// CVE-2016-3697: an image whose user database has root under names that are numbers.
#[test]
fn a_number_is_a_uid_whatever_the_image_says() {
    attack(&[], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let passwd =
            "1000:x:0:0::/root:/bin/sh\n1:x:0:0::/root:/bin/sh\nroot:x:0:0::/root:/bin/sh\n";
        bundle.write("/etc/passwd", passwd);
        bundle.write("/etc/group", "1000:x:0:\nroot:x:0:1000\n");
        let c = bundle.container();
        c.run_detached();
        ["1000", "1000:1000"].iter().find_map(|user| {
            let output = c.exec_with(&["--user", user], &["/bin/id"]);
            println!("{}", output.describe());
            // Numbers alone count, for busybox looks the names up in the image as well.
            (output.stdout.contains("uid=0") || output.stdout.contains("groups=0"))
                .then(|| format!("--user {user}: {}", output.stdout))
        })
    });
}

/// CVE-2022-29162, crun CVE-2022-27650, youki CVE-2025-27612
#[test]
fn nothing_is_inheritable_unless_it_was_asked_for() {
    attack(&[], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let c = bundle.container();
        c.run_detached();
        let read = ["/bin/grep", "CapInh", "/proc/self/status"];
        let exec = c.exec_with(&["--cap", "CAP_NET_RAW"], &read);
        let plain = c.exec(&read);
        let init = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
        [exec.stdout, plain.stdout, init].iter().find_map(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("CapInh"))
                .unwrap();
            (!line.ends_with("\t0000000000000000")).then(|| line.to_string())
        })
    });
}

/// How long an image may keep a runtime busy with its user database.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most memory that a runtime may need for it, in KiB.
const MEMORY: u64 = 64 << 10;

/// Runs a container and an exec, as a user other than root, with this done to a file of the image; gained is more time or
/// memory than is decent.
fn endless(runtime: &'static Runtime, file: &str, change: impl Fn(&Path)) -> Option<String> {
    let bundle = Bundle::new().by(runtime);
    let path = bundle.rootfs(file);
    fs::remove_file(&path).unwrap();
    change(&path);
    let uid = json!({"uid": 1000, "gid": 1000});
    bundle.set("/process/user", uid);
    let c = bundle.container();
    busy(c.call("run", &["--detach"]))
        .or_else(|| busy(c.exec_call(&["--user", "1000"], &["/probe", "exit", "0"])))
}

/// Runs it to its end, but for no longer and with no more memory than is decent.
fn busy(call: integration::Call) -> Option<String> {
    let running = call.spawn();
    let (pid, start) = (running.pid(), Instant::now());
    let status = format!("/proc/{pid}/status");
    until("the runtime's end", || {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        let took = start.elapsed();
        if peak.is_some_and(|peak| peak > MEMORY) {
            return Some(Some(format!("it takes {} KiB", peak.unwrap())));
        }
        if took > PATIENCE {
            return Some(Some(format!("it takes more than {took:?}")));
        }
        // A zombie has no such line.
        peak.is_none().then_some(None)
    })
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

/// GHSA-mjcv-p78q-w5fw and its like: a fifo.
#[test]
fn a_fifo_as_the_user_database_does_not_hold_anything_up() {
    attack(&[RUNC_12], |runtime| endless(runtime, "/etc/passwd", fifo));
}

#[test]
fn a_fifo_as_the_group_database_does_not_hold_anything_up() {
    attack(&[], |runtime| endless(runtime, "/etc/group", fifo));
}

/// GHSA-mjcv-p78q-w5fw, CVE-2026-46680: one line of a GiB that takes no room on the disk.
#[test]
fn a_huge_line_of_the_user_database_takes_no_memory() {
    attack(&[], |runtime| {
        endless(runtime, "/etc/passwd", |path| {
            File::create(path).unwrap().set_len(1 << 30).unwrap();
        })
    });
}

/// A user database without an end: a device, and a link to one of the container's.
#[test]
fn a_device_as_the_user_database_is_not_read() {
    attack(&[], |runtime| {
        endless(runtime, "/etc/passwd", |path| {
            let mode = Mode::from_raw_mode(0o644);
            mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 5)).unwrap();
        })
    });
    attack(&[], |runtime| {
        endless(runtime, "/etc/passwd", |path| {
            std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        })
    });
}

/// A million users that are not the one.
#[test]
fn a_long_user_database_takes_no_memory() {
    attack(&[], |runtime| {
        endless(runtime, "/etc/passwd", |path| {
            let line = "someone:x:5:5:a:/home/someone:/bin/sh\n";
            fs::write(path, line.repeat(1 << 20)).unwrap();
        })
    });
}

/// containerd CVE-2026-47262: groups without end, and one of them with members without end.
#[test]
fn a_long_group_database_takes_no_memory() {
    attack(&[], |runtime| {
        endless(runtime, "/etc/group", |path| {
            let members = "someone,".repeat(1 << 22);
            let lines = "some:x:5:alice\n".repeat(1 << 20);
            fs::write(path, format!("many:x:6:{members}\n{lines}")).unwrap();
        })
    });
}
