//! What a system container costs: its keeper, and many of them at once. `VZRUN_TEST_ROUNDS=300` has so many.

use integration::{Bundle, Container, differs, json, rounds, until};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Times are taken, so each test has the machine to itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bundle of busybox's init, which says when it has booted.
fn system() -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    fs::create_dir_all(bundle.rootfs("sbin")).unwrap();
    symlink("../bin/busybox", bundle.rootfs("sbin/init")).unwrap();
    bundle.write("etc/inittab", "::sysinit:/bin/sh -c 'echo boot >>/log'\n");
    bundle.args(&["/sbin/init"]);
    bundle
}

#[track_caller]
fn wait_booted(bundle: &Bundle, count: usize) {
    until("all boots", || {
        let log = fs::read_to_string(bundle.rootfs("log")).unwrap_or_default();
        (log.lines().count() >= count).then_some(())
    });
}

/// Its keeper's part of the memory, in KiB, by proc_pid_smaps(5).
fn memory(c: &Container<'_>) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", c.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.unwrap().split_whitespace().next();
    number.unwrap().parse().unwrap()
}

/// Clock ticks that a process has used: fields 14 and 15 of proc_pid_stat(5).
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let number = |at: usize| fields[at].parse::<u64>().unwrap();
    number(11) + number(12)
}

#[test]
fn a_keeper_is_small_and_sleeps() {
    differs!(Runc | Crun, "no system containers");
    let _alone = alone();
    let bundle = system();
    let c = bundle.container();
    c.run_detached();
    wait_booted(&bundle, 1);
    let (pid, memory) = (c.pid(), memory(&c));
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
    let before = ticks(pid);
    // What is asked is that nothing happens meanwhile.
    std::thread::sleep(Duration::from_secs(3));
    let used = ticks(pid) - before;
    println!("keeper: {memory} KiB, {tasks} tasks, {used} ticks in 3 s");
    assert!(memory <= 2048, "{memory} KiB");
    assert!(tasks <= 3, "{tasks} tasks");
    assert_eq!(used, 0, "ticks in 3 s");
}

#[test]
fn many_at_once() {
    differs!(Runc | Crun, "no system containers");
    let _alone = alone();
    let bundle = system();
    let count = rounds(40, 1.0);
    let names: Vec<String> = (0..count).map(|n| format!("s{n}")).collect();
    let all: Vec<_> = names.iter().map(|n| bundle.container_named(n)).collect();
    let mut boots = 0;
    // One after the other: it is not their boots that are measured.
    let mut start = |c: &Container<'_>| {
        let time = c.run_detached().elapsed;
        boots += 1;
        wait_booted(&bundle, boots);
        time
    };
    let times: Vec<Duration> = all.iter().map(&mut start).collect();
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let some = (count / 10).max(5).min(count);
    let (first, mut last) = (median(&times[..some]), median(&times[count - some..]));
    // What else the machine does for a while is no reason to fail: the last are started again, in the place of themselves.
    for _ in 0..15 {
        if last < first * 3 / 2 {
            break;
        }
        println!("once more: {first:?}, {last:?}");
        let again = all[count - some..].iter();
        let times: Vec<Duration> = again.map(|c| (c.delete_force(), start(c)).1).collect();
        last = median(&times);
    }
    let memory: u64 = all.iter().map(memory).sum::<u64>() / count as u64;
    println!(
        "{count} systems: the first started in {first:?}, the last in {last:?}; {memory} KiB a keeper"
    );
    assert!(all.iter().all(|c| c.status() == "running"));
    assert!(last < first * 3 / 2, "{first:?} {last:?}");
    assert!(memory <= 2048, "{memory} KiB");
    for c in &all {
        c.delete_force().ok();
    }
    assert_eq!(bundle.leftovers(), [""; 0]);
}
