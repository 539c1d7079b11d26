//! What a system container sees of its resources: clocks that begin with each boot.

use integration::{Bundle, Container, Output, differs, json, until};
use std::fs;
use std::time::{Duration, Instant};

const REBOOT: [&str; 3] = ["/bin/busybox", "reboot", "-f"];
const MAY_BOOT: [&str; 2] = ["--cap", "CAP_SYS_BOOT"];

/// A bundle of one whose init is this shell script.
fn system(script: &str) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.args(&["/bin/sh", "-c", script]);
    bundle
}

/// With the host's ids.
fn without_users(bundle: Bundle) -> Bundle {
    bundle.set("/annotations/io.vzrun.userns", json!("false"));
    bundle
}

/// In a user namespace of its own.
fn with_users(bundle: Bundle) -> Bundle {
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    bundle
}

/// Its container, once its init has got to work.
#[track_caller]
fn booted(bundle: &Bundle) -> Container<'_> {
    let c = bundle.container();
    c.run_detached();
    until("init", || bundle.rootfs("boot-1").exists().then_some(()));
    c
}

/// Init's script: tells of the boot by a file `boot-N`.
const BOOT: &str = "n=1; while [ -e /boot-$n ]; do n=$((n+1)); done; \
    cat /proc/uptime >/uptime-$n; touch /boot-$n; exec sleep 1000";

#[track_caller]
fn output(c: &Container<'_>, script: &str) -> String {
    c.exec(&["/bin/sh", "-c", script]).ok().stdout
}

/// Seconds since boot by a clock of the host.
fn uptime_of_host() -> f64 {
    first_number(&fs::read_to_string("/proc/uptime").unwrap())
}

#[track_caller]
fn first_number(text: &str) -> f64 {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().unwrap_or_else(|_| panic!("{text:?}"))
}

fn clocks_begin_with_each_boot(bundle: &Bundle) {
    let before = uptime_of_host();
    let c = booted(bundle);
    let mut begun = before;
    for boot in 1..=3 {
        if boot > 1 {
            begun = uptime_of_host();
            c.exec_with(&MAY_BOOT, &REBOOT);
            let next = bundle.rootfs(&format!("boot-{boot}"));
            until("the next boot", || next.exists().then_some(()));
        }
        let of_init = fs::read_to_string(bundle.rootfs(&format!("uptime-{boot}"))).unwrap();
        let report = c.exec(&["/probe", "report"]).ok().json();
        // sysinfo(2) has whole seconds, rounded up.
        let sysinfo = output(&c, "busybox uptime");
        let since = uptime_of_host() - begun;
        let seen = [
            first_number(&of_init),
            report["clock_boottime"].as_f64().unwrap(),
            report["clock_monotonic"].as_f64().unwrap(),
            first_number(&output(&c, "cat /proc/uptime")),
        ];
        assert!(
            seen.iter()
                .all(|uptime| (0.0..=since + 1.0).contains(uptime)),
            "{seen:?} of {since} since {begun}"
        );
        assert!(sysinfo.contains("up 0 min"), "{sysinfo}");
        let btime: f64 = first_number(&output(
            &c,
            "sed -n 's/^btime //p' /proc/stat; grep -q ^btime /proc/stat",
        ));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let age = now.unwrap_or(Duration::ZERO).as_secs_f64() - btime;
        assert!((0.0..=since + 2.0).contains(&age), "{age} of {since}");
        // In clock ticks since boot: no later than now.
        let stat = output(&c, "sed 's/.*) //' /proc/1/stat");
        let start = stat
            .split(' ')
            .nth(19)
            .and_then(|word| word.parse::<f64>().ok());
        assert!(
            start.is_some_and(|ticks| ticks / 100.0 <= since + 1.0),
            "{stat}"
        );
    }
}

#[test]
fn uptime_begins_with_each_boot() {
    differs!(Runc | Crun, "no system containers");
    clocks_begin_with_each_boot(&system(BOOT));
    clocks_begin_with_each_boot(&with_users(system(BOOT)));
}

#[test]
fn clocks_of_the_config_stay_as_they_are() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    bundle.namespace(json!({"type": "time"}));
    bundle.set(
        "/linux/timeOffsets",
        json!({"boottime": {"secs": 5_000_000}}),
    );
    let c = booted(&bundle);
    let at_first = first_number(&output(&c, "cat /proc/uptime"));
    assert!(at_first >= 5_000_000.0, "{at_first}");
    c.exec_with(&MAY_BOOT, &REBOOT);
    until("boot 2", || bundle.rootfs("boot-2").exists().then_some(()));
    let again = first_number(&output(&c, "cat /proc/uptime"));
    assert!(again >= at_first, "{again} {at_first}");
}

/// Each file with the form of the host's: what comes first in each line, and how many words there are.
const SAME_FORM: [&str; 7] = [
    "meminfo", "cpuinfo", "stat", "loadavg", "uptime", "swaps", "vmstat",
];

fn form(name: &str, text: &str) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let first = match name {
            "loadavg" | "uptime" => "",
            _ => words.first().copied().unwrap_or_default(),
        };
        format!("{first} {}", words.len())
    };
    text.lines().map(line).collect()
}

fn field(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().map(str::split_whitespace);
    lines
        .find_map(|mut words| (words.next() == Some(name)).then(|| words.next())?)
        .and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

fn files_say_what_they_should(bundle: &Bundle) {
    let c = booted(bundle);
    let mounts = output(&c, "cat /proc/self/mountinfo");
    for name in SAME_FORM {
        let line = format!(" /{name} /proc/{name} ro,");
        assert!(mounts.contains(&line), "{line} not in {mounts}");
        let ours = output(&c, &format!("cat /proc/{name}"));
        let host = fs::read_to_string(format!("/proc/{name}")).unwrap();
        assert_eq!(form(name, &ours), form(name, &host), "{name}");
        // By sendfile(2), which needs the file's size.
        let sent = output(&c, &format!("cat /proc/{name} | cat"));
        assert_eq!(form(name, &sent), form(name, &host), "{name}");
        let last = output(&c, &format!("tail -n 1 /proc/{name}"));
        assert_eq!(form(name, &last).len(), 1, "{name}: {last}");
        // Read in small pieces it is a whole as well.
        let pieces = output(&c, &format!("dd if=/proc/{name} bs=7 2>/dev/null"));
        assert_eq!(form(name, &pieces), form(name, &host), "{name}");
    }
    // Whatever controllers there are, there is always a count of CPU time.
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; cat /proc/stat";
    // In user mode, with that of nice processes.
    let used = |stat: &str| {
        let mut words = stat
            .split_whitespace()
            .skip(1)
            .map(|word| word.parse::<u64>());
        words.next().unwrap().unwrap() + words.next().unwrap().unwrap()
    };
    let before = used(&output(&c, "cat /proc/stat"));
    let after = used(&output(&c, busy));
    let of_host = used(&fs::read_to_string("/proc/stat").unwrap());
    assert!(
        before < after && after < of_host,
        "{before} {after} {of_host}"
    );
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    assert_eq!(output(&c, "cat /sys/devices/system/cpu/online"), online);
    // The last pid of the container's own, which has made few.
    let loadavg = output(&c, "cat /proc/loadavg");
    let last: u32 = loadavg.split_whitespace().last().unwrap().parse().unwrap();
    assert!((2..200).contains(&last), "{loadavg}");
    let total = field(&output(&c, "cat /proc/meminfo"), "MemTotal:");
    assert_eq!(
        total,
        field(&fs::read_to_string("/proc/meminfo").unwrap(), "MemTotal:")
    );
    // Nothing can be written, and nothing but reading is known.
    for attempt in [
        "echo 1 >/proc/meminfo",
        "rm /proc/meminfo",
        "busybox chmod 777 /proc/meminfo",
        "busybox setfattr -n user.a -v b /proc/meminfo",
    ] {
        c.exec(&["/bin/sh", "-c", attempt]).fails();
    }
    assert_eq!(
        output(&c, "stat -c %a /proc/meminfo; df /proc/meminfo >/dev/null"),
        "444\n"
    );
}

#[test]
fn files_have_the_form_of_the_kernels() {
    differs!(Runc | Crun, "no system containers");
    files_say_what_they_should(&system(BOOT));
    files_say_what_they_should(&with_users(system(BOOT)));
}

/// What an unprivileged container in the container does.
const NESTED: &str = "busybox unshare -U -r -p -f -n -m sh -c \
    'mount -t proc proc /proc && mount -t sysfs -o ro sysfs /sys && echo $(ls -d /proc/[0-9]*) && ls /sys/class/net'";

fn nested(c: &Container<'_>) -> Output {
    c.exec_with(&["--user", "1000:1000"], &["/bin/sh", "-c", NESTED])
}

#[test]
fn a_nested_procfs_can_be_mounted() {
    differs!(Runc | Crun, "no system containers");
    let works = |bundle: &Bundle| {
        let c = booted(bundle);
        let seen = nested(&c).ok().stdout;
        assert!(
            seen.starts_with("/proc/1 ") && seen.ends_with("\nlo\n"),
            "{seen}"
        );
        // After a reboot, too; and the whole one is not to be reached.
        c.exec_with(&MAY_BOOT, &REBOOT);
        until("boot 2", || bundle.rootfs("boot-2").exists().then_some(()));
        nested(&c).ok();
        let whole = output(
            &c,
            "grep -c whole-proc /proc/self/mountinfo; ls /proc | grep -c whole; true",
        );
        assert_eq!(whole, "1\n0\n");
    };
    works(&with_users(system(BOOT)));
    // Without a user namespace where nothing is hidden from anybody.
    let open = without_users(system(BOOT));
    open.set("/linux/maskedPaths", json!([]));
    open.set("/linux/readonlyPaths", json!([]));
    works(&open);
    // Where the container's root is the host's, what is hidden stays hidden.
    let hidden = without_users(system(BOOT));
    let c = booted(&hidden);
    nested(&c).fails();
    assert_eq!(
        output(&c, "grep -c whole-proc /proc/self/mountinfo; true"),
        "0\n"
    );
}

#[test]
fn what_the_config_covers_stays_covered() {
    differs!(Runc | Crun, "no system containers");
    let bundle = without_users(system(BOOT));
    let file = bundle.home().join("loadavg");
    fs::write(&file, "of the engine\n").unwrap();
    bundle.mount(json!({"destination": "/proc/loadavg", "type": "bind", "source": file, "options": ["bind"]}));
    bundle.push("/linux/maskedPaths", json!("/proc/diskstats"));
    let c = booted(&bundle);
    assert_eq!(
        output(&c, "cat /proc/loadavg /proc/diskstats"),
        "of the engine\n"
    );
}

#[test]
fn pausing_does_not_wait_for_readers() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = booted(&bundle);
    for _ in 0..8 {
        let script = "while :; do read line </proc/meminfo; done";
        c.exec_with(&["--detach"], &["/bin/sh", "-c", script]).ok();
    }
    for _ in 0..20 {
        let begun = Instant::now();
        c.pause().ok();
        assert_eq!(c.status(), "paused");
        c.resume().ok();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    // They go on.
    let stat = || output(&c, "cat /proc/loadavg");
    let before = stat();
    until("another load", || (stat() != before).then_some(()));
    assert_eq!(
        c.cgroup()
            .parent()
            .child("init.scope")
            .read("cgroup.freeze"),
        "0"
    );
}

#[test]
fn busy_readers_do_not_keep_the_keeper_from_its_duties() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = booted(&bundle);
    for boot in 2..=4 {
        for file in ["stat", "meminfo", "loadavg", "vmstat"] {
            let script = format!("exec 3</proc/{file}; while :; do read line </proc/{file}; done");
            c.exec_with(&["--detach"], &["/bin/sh", "-c", script.as_str()])
                .ok();
        }
        c.exec_with(&MAY_BOOT, &REBOOT);
        let next = bundle.rootfs(&format!("boot-{boot}"));
        until("the next boot", || next.exists().then_some(()));
    }
    assert_eq!(c.status(), "running");
}

#[test]
fn the_keeper_is_small_and_sleeps() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = booted(&bundle);
    output(
        &c,
        "cat /proc/meminfo /proc/stat /proc/cpuinfo /proc/loadavg /proc/uptime >/dev/null",
    );
    let keeper = format!("/proc/{}", c.pid());
    let read = |name: &str| fs::read_to_string(format!("{keeper}/{name}")).unwrap();
    assert_eq!(fs::read_dir(format!("{keeper}/task")).unwrap().count(), 1);
    let pss = field(&read("smaps_rollup"), "Pss:");
    println!("Pss of the keeper: {pss} kB");
    assert!(pss <= 2048, "{}", read("smaps_rollup"));
    // The descriptors of the last reader may still be being closed.
    let switches = || field(&read("status"), "voluntary_ctxt_switches:");
    let mut asleep = (switches(), Instant::now());
    until("two seconds of sleep", || {
        if switches() != asleep.0 {
            asleep = (switches(), Instant::now());
        }
        (asleep.1.elapsed() > Duration::from_secs(2)).then_some(())
    });
}

#[test]
fn a_created_one_is_served() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = bundle.container();
    c.create();
    assert!(output(&c, "cat /proc/meminfo").starts_with("MemTotal:"));
}

/// Its keeper serves one container: the end of that is the end of this alone, whoever is waiting for an answer.
#[test]
fn a_killed_keeper_takes_nobody_else_along() {
    differs!(Runc | Crun, "no system containers");
    let bundles = [system(BOOT), system(BOOT)];
    let [one, other] = [&bundles[0], &bundles[1]].map(booted);
    for c in [&one, &other] {
        for _ in 0..4 {
            let script = "while :; do read line </proc/meminfo; done";
            c.exec_with(&["--detach"], &["/bin/sh", "-c", script]).ok();
        }
    }
    let begun = Instant::now();
    one.kill("KILL").ok();
    one.wait_stopped();
    println!("ended after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(1));
    one.delete().ok();
    assert_eq!(bundles[0].leftovers(), [""; 0]);
    assert!(output(&other, "cat /proc/meminfo").starts_with("MemTotal:"));
}

/// What only somebody with power over the host can do.
#[test]
fn a_cut_connection_does_not_end_the_container() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = booted(&bundle);
    let control = bundle.home().join("control");
    fs::create_dir(&control).unwrap();
    let mount = |args: &[&str]| {
        let mut command = std::process::Command::new(args[0]);
        assert!(
            command
                .args(&args[1..])
                .arg(&control)
                .status()
                .unwrap()
                .success()
        );
    };
    mount(&["mount", "-t", "fusectl", "none"]);
    let file = format!("/proc/{}/root/proc/meminfo", c.pid());
    let device = std::os::unix::fs::MetadataExt::dev(&fs::metadata(&file).unwrap());
    fs::write(control.join(device.to_string()).join("abort"), "1").unwrap();
    mount(&["umount"]);
    until("an error", || fs::read(&file).err());
    c.exec(&["/bin/cat", "/proc/meminfo"]).fails();
    c.exec(&["/bin/true"]).ok();
    c.exec_with(&MAY_BOOT, &REBOOT);
    until("boot 2", || bundle.rootfs("boot-2").exists().then_some(()));
    let seen = output(
        &c,
        "cat /proc/meminfo; grep -c fuse.vzrun /proc/self/mountinfo; true",
    );
    assert!(
        seen.starts_with("MemTotal:") && seen.ends_with("\n0\n"),
        "{seen}"
    );
}

/// A container of an ordinary user: its keeper mounts the view with the rights of its user namespace.
#[test]
fn an_ordinary_users() {
    differs!(Runc | Crun, "no system containers");
    let bundle = Bundle::rootless(1000, 1000);
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.args(&["/bin/sh", "-c", BOOT]);
    let c = bundle.container();
    let output = c.run_detached();
    until("init", || bundle.rootfs("boot-1").exists().then_some(()));
    let mounts = c.exec(&["/bin/cat", "/proc/self/mountinfo"]).ok().stdout;
    let seen = mounts.contains(" /proc/meminfo ");
    // The device is root's alone on some machines.
    let warned = output
        .stderr
        .contains("the system container sees the host's memory and CPUs");
    assert!(seen != warned, "{} {mounts}", output.stderr);
    c.exec(&["/bin/cat", "/proc/meminfo"]).ok();
}
