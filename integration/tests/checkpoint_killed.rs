//! kill -9 of vzrun or of criu at any instant of a checkpoint: the container goes on.
//!
//! `VZRUN_TEST_ROUNDS=1000` makes the long run, `VZRUN_TEST_SEED` repeats one.

use integration::{Bundle, Container, DEADLINE, Dice, Running, differs, rounds, until, wait_exit};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Numbers go to a file of the container, each once and in order.
const COUNTER: &str =
    "exec >/tmp/out 2>&1 </dev/null; i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done";

fn counting(bundle: &Bundle) -> Container<'_> {
    bundle.args(&["/bin/sh", "-c", COUNTER]);
    let c = bundle.container();
    c.run_detached();
    counts_on(bundle, &c, "the first look");
    c
}

fn said(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.rootfs("tmp/out")).unwrap_or_default()
}

/// It runs, nothing stands still, and nothing was left out.
#[track_caller]
fn counts_on(bundle: &Bundle, c: &Container<'_>, what: &str) {
    // A CRIU that has lost its vzrun has to let go first.
    until(&format!("the container to run after {what}"), || {
        let status = c.status();
        assert_ne!(status, "stopped", "{what}");
        (status == "running").then_some(())
    });
    let before = said(bundle).lines().count();
    until(&format!("more numbers after {what}"), || {
        (said(bundle).lines().count() > before + 3).then_some(())
    });
    let said = said(bundle);
    let whole = &said[..=said.rfind('\n').unwrap()];
    let numbers = whole.lines().filter(|line| !HURT_BY_CRIU.contains(line));
    for (expected, line) in numbers.enumerate() {
        assert_eq!(line, expected.to_string(), "{what}");
    }
    let frozen = fs::read_to_string(c.cgroup_dir().join("cgroup.freeze")).unwrap();
    assert_eq!(frozen, "0\n", "{what}");
}

/// What the counting shell says of its child that was executing CRIU's code when CRIU was killed: nothing that vzrun does
/// can bring such a process back (docs/checkpoint.md).
const HURT_BY_CRIU: [&str; 2] = ["Trace/breakpoint trap", "Segmentation fault"];

/// Whether it was the shell itself, or the shell waits for one that hangs in that code.
fn is_lost(bundle: &Bundle, c: &Container<'_>) -> bool {
    let begun = Instant::now();
    let before = said(bundle).lines().count();
    until("CRIU's death to have its effect", || {
        match c.status().as_str() {
            "stopped" => return Some(true),
            "running" if said(bundle).lines().count() > before + 3 => return Some(false),
            "running" => (),
            _ => return None,
        }
        (begun.elapsed() > HANGS && runs_code_of_criu(c)).then_some(true)
    })
}

/// A process that writes every 10 ms and has not done so for this long will not.
const HANGS: Duration = Duration::from_secs(5);

/// CRIU puts its code into a process as a memory file of this name.
fn runs_code_of_criu(c: &Container<'_>) -> bool {
    let procs = fs::read_to_string(c.cgroup_dir().join("cgroup.procs")).unwrap();
    procs.lines().any(|pid| {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"));
        maps.is_ok_and(|maps| maps.contains("/memfd:CRIUMFD"))
    })
}

fn spawn(bundle: &Bundle, c: &Container<'_>, flags: &[&str]) -> Running {
    let images = bundle.home().join("images").display().to_string();
    let all = [&["--image-path", &images], flags].concat();
    c.call("checkpoint", &all).spawn()
}

/// How long one takes that nothing happens to.
fn time_of_a_whole_one(bundle: &Bundle, c: &Container<'_>) -> Duration {
    let begun = Instant::now();
    spawn(bundle, c, &["--leave-running"]).wait().ok();
    begun.elapsed()
}

/// The criu that this vzrun has started.
fn criu_of(vzrun: i32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{vzrun}/task/{vzrun}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

/// Waits till nobody has the container's first process in his hands.
fn untraced(c: &Container<'_>) {
    until("the end of a CRIU that has lost its vzrun", || {
        let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
        status.contains("TracerPid:\t0\n").then_some(())
    });
}

#[test]
fn of_vzrun() {
    differs!(
        Runc | Crun,
        "the killed one's CRIU leaves the container frozen at times"
    );
    let mut dice = Dice::new();
    let bundle = Bundle::new();
    let c = counting(&bundle);
    let longest = time_of_a_whole_one(&bundle, &c);
    for round in 0..rounds(60, 1.0) {
        let delay = dice.time(longest);
        // Either way of ending is cut off by the death of vzrun; one that has done all its work may end the container.
        let running = spawn(&bundle, &c, &["--leave-running"]);
        sleep(delay);
        running.kill(Signal::KILL);
        running.wait();
        counts_on(
            &bundle,
            &c,
            &format!("round {round}: vzrun killed after {delay:?}"),
        );
        untraced(&c);
    }
}

#[test]
fn of_criu() {
    differs!(Runc | Crun, "leaves the container frozen at times");
    let mut dice = Dice::new();
    let (mut round, mut killed, mut lost) = (0, 0, 0);
    while round < rounds(60, 1.0) {
        let bundle = Bundle::new();
        let c = counting(&bundle);
        let longest = time_of_a_whole_one(&bundle, &c);
        while round < rounds(60, 1.0) {
            round += 1;
            let delay = dice.time(longest);
            let running = spawn(&bundle, &c, &["--leave-running"]);
            sleep(delay);
            if let Some(criu) = criu_of(running.pid()) {
                killed += usize::from(kill_process(criu, Signal::KILL).is_ok());
            }
            let output = running.wait();
            assert!(
                matches!(output.code(), Some(0 | 1)),
                "{}",
                output.describe()
            );
            if is_lost(&bundle, &c) {
                lost += 1;
                break;
            }
            let what = format!("round {round}: criu killed after {delay:?}");
            counts_on(&bundle, &c, &what);
        }
    }
    println!("{killed} times there was one to kill, {lost} times in the middle of its own code");
    assert!(lost * 10 <= killed, "{lost} lost of {killed}");
}

/// CRIU tries the kernel out in processes that wait until they are killed.
#[test]
fn a_helper_that_criu_leaves_keeps_nobody_waiting() {
    differs!(
        Runc | Crun,
        "waits for as long as the connection is open somewhere"
    );
    let bundle = Bundle::new();
    let c = counting(&bundle);
    let place = bundle.home().join("bin");
    fs::create_dir(&place).unwrap();
    let criu = place.join("criu");
    fs::write(
        &criu,
        "#!/bin/sh\nsleep 5000 & echo $! >\"$0.helper\"; kill -9 $$\n",
    )
    .unwrap();
    fs::set_permissions(&criu, PermissionsExt::from_mode(0o755)).unwrap();
    let images = bundle.home().join("images");
    let call = c.call("checkpoint", &["--image-path", images.to_str().unwrap()]);
    let output = call.env("PATH", format!("{}:/usr/bin", place.display()));
    output.run().exits(1).says("criu died (signal 9)");
    let helper = fs::read_to_string(place.join("criu.helper")).unwrap();
    assert!(wait_exit(helper.trim().parse().unwrap(), DEADLINE));
    counts_on(&bundle, &c, "the end of a CRIU that was none");
}

#[test]
fn a_full_disk_leaves_it_running() {
    differs!(Runc | Crun, "the reason is in the log alone");
    let bundle = Bundle::new();
    let c = counting(&bundle);
    let images = bundle.home().join("images");
    fs::create_dir(&images).unwrap();
    let mut disk = std::process::Command::new("mount");
    disk.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&images);
    assert!(disk.status().unwrap().success());
    let output = spawn(&bundle, &c, &[]).wait();
    let umount = std::process::Command::new("umount").arg(&images).status();
    assert!(umount.unwrap().success());
    output.exits(1).says("criu failed");
    counts_on(&bundle, &c, "a full disk");
}
