//! What a system container sees of its resources, where there are controllers to limit them: by the tools of a distribution.

use integration::{Bundle, Cgroup, CgroupDriver, Container, differs, json, until};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Instant;

const MIB: u64 = 1 << 20;

/// A bundle of one with these resources, in a user namespace, and with the programs of this machine.
fn system(resources: integration::Value) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    for (link, target) in [("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        symlink(target, bundle.rootfs(link)).unwrap();
    }
    bundle.chown_rootfs(100_000, 100_000);
    bundle.mount(
        json!({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["bind", "ro"]}),
    );
    bundle.mount(json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs"}));
    bundle.args(&["/bin/sh", "-c", "touch /run/ready; exec sleep 10000"]);
    bundle.set("/linux/resources", resources);
    bundle
}

#[track_caller]
fn booted(bundle: &Bundle) -> Container<'_> {
    let c = bundle.container();
    c.run_detached();
    until("init", || {
        c.exec(&["/bin/test", "-e", "/run/ready"])
            .code()
            .filter(|code| *code == 0)
    });
    c
}

#[track_caller]
fn output(c: &Container<'_>, script: &str) -> String {
    c.exec(&["/bin/sh", "-c", script]).ok().stdout
}

/// Its cgroup, above that of its keeper.
fn own(c: &Container<'_>) -> Cgroup {
    c.cgroup().parent()
}

/// A file of the container's, read by this process.
fn seen(c: &Container<'_>, path: &str) -> String {
    fs::read_to_string(format!("/proc/{}/root/{path}", c.pid())).unwrap()
}

/// The number behind a word.
#[track_caller]
fn number(text: &str, name: &str) -> f64 {
    let rest = text.split(name).nth(1).unwrap_or_default();
    let word = rest.split_whitespace().next().unwrap_or_default();
    word.parse().unwrap_or_else(|_| panic!("{name} in {text}"))
}

/// Within 1 %.
#[track_caller]
fn about(seen: f64, meant: f64) {
    assert!((seen - meant).abs() <= meant / 100.0, "{seen}, not {meant}");
}

#[test]
fn memory_is_the_limit() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(json!({
        "memory": {"limit": 512 * MIB, "swap": 512 * MIB},
        "cpu": {"quota": 150_000, "period": 100_000},
    }));
    let c = booted(&bundle);
    let limit = (512 * MIB) as f64;
    output(
        &c,
        "dd if=/dev/zero of=/run/fill bs=1M count=100 2>/dev/null",
    );
    let free = output(&c, "/usr/bin/free -b");
    about(number(&free, "Mem:"), limit);
    assert_eq!(number(&free, "Swap:"), 0.0, "{free}");
    let top = output(&c, "COLUMNS=200 LINES=50 /usr/bin/top -b -n 1 -E k");
    about(number(&top, "KiB Mem :"), limit / 1024.0);
    let meminfo = seen(&c, "proc/meminfo");
    let current = own(&c).read("memory.current").parse::<u64>().unwrap() as f64;
    about(number(&meminfo, "MemTotal:") * 1024.0, limit);
    about(number(&meminfo, "MemFree:") * 1024.0, limit - current);
    about(number(&meminfo, "Shmem:") * 1024.0, (100 * MIB) as f64);
    let stat = |key: &str| own(&c).field("memory.stat", key) as f64;
    about(number(&meminfo, "AnonPages:") * 1024.0, stat("anon"));
    // The host's is larger, or this has tested nothing.
    let host = fs::read_to_string("/proc/meminfo").unwrap();
    assert!(number(&host, "MemTotal:") * 1024.0 > limit * 2.0, "{host}");
    let vmstat = seen(&c, "proc/vmstat");
    about(number(&vmstat, "nr_shmem ") * 4096.0, (100 * MIB) as f64);
    // 1.5 CPUs are two.
    assert_eq!(output(&c, "/usr/bin/getconf _NPROCESSORS_ONLN"), "2\n");
}

/// For those who ask the kernel, too, with the option. (`free` of busybox has all but the caches from there.)
#[test]
fn memory_by_sysinfo_is_the_limit() {
    differs!(Runc | Crun, "no system containers");
    let memory = json!({"memory": {"limit": 512 * MIB, "swap": 512 * MIB}});
    let bundle = system(memory);
    bundle.set("/annotations/io.vzrun.sysinfo", json!("true"));
    let c = booted(&bundle);
    let fill = "dd if=/dev/zero of=/run/fill bs=1M count=100 2>/dev/null";
    output(&c, fill);
    let limit = (512 * MIB) as f64;
    let words = |line: &str, text: &str| -> Vec<f64> {
        let line = text.lines().find(|have| have.starts_with(line)).unwrap();
        line.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect()
    };
    let free = output(&c, "/bin/busybox free");
    let [total, _, left, shared, ..] = words("Mem:", &free)[..] else {
        panic!("{free}")
    };
    about(total * 1024.0, limit);
    let current = own(&c).read("memory.current").parse::<u64>().unwrap() as f64;
    assert!(
        (left * 1024.0 - (limit - current)).abs() <= limit / 100.0,
        "{free} {current}"
    );
    about(shared * 1024.0, (100 * MIB) as f64);
    assert_eq!(words("Swap:", &free), [0.0; 3], "{free}");
    // A changed limit, and who has been there since the boot.
    c.call("update", &["--memory", "256m", "--memory-swap", "256m"])
        .run()
        .ok();
    let free = output(&c, "/bin/busybox free");
    about(words("Mem:", &free)[0] * 1024.0, limit / 2.0);
}

/// CPUs, too: nproc(1) and most runtimes go by the mask of the thread that asks.
#[test]
fn cpus_by_affinity_are_the_quota() {
    differs!(Runc | Crun, "no system containers");
    let quota = |quota: u32| json!({"cpu": {"quota": quota, "period": 100_000}});
    for (sysinfo, seen) in [("false", "2\n"), ("true", "1\n")] {
        let bundle = system(quota(100_000));
        bundle.set("/annotations/io.vzrun.sysinfo", json!(sysinfo));
        let c = booted(&bundle);
        assert_eq!(output(&c, "/usr/bin/nproc"), seen, "{sysinfo}");
        assert_eq!(output(&c, "/usr/bin/getconf _NPROCESSORS_ONLN"), "1\n");
        // It binds nobody: what a thread may run on is as it was, and what it binds itself to is what it is told.
        let allowed = output(&c, "sed -n 's/^Cpus_allowed_list:.//p' /proc/self/status");
        assert_eq!(allowed, "0-1\n");
        let bound = output(&c, "/usr/bin/taskset -c 1 /probe report");
        let report: integration::Value = bound.parse().unwrap();
        assert_eq!(report["cpu_affinity"], json!([1]));
        c.call(
            "update",
            &["--cpu-quota", "200000", "--cpu-period", "100000"],
        )
        .run()
        .ok();
        assert_eq!(output(&c, "/usr/bin/nproc"), "2\n");
    }
}

const HEAP: &str = "/usr/bin/node -p 'v8.getHeapStatistics().heap_size_limit'";

/// What a runtime takes by itself goes by the memory that it sees: as in a cgroup of that size on this machine.
#[test]
fn a_default_heap_is_that_of_a_machine_of_that_size() {
    differs!(Runc | Crun, "no system containers");
    let of_machine = sh(HEAP);
    for mib in [512, 1024] {
        let bundle = system(json!({"memory": {"limit": mib * MIB, "swap": mib * MIB}}));
        let c = booted(&bundle);
        let heap = bytes(&output(&c, HEAP));
        let alone = Cgroup::at(format!("/sys/fs/cgroup/{}-alone", bundle.id()));
        fs::create_dir(alone.dir()).unwrap();
        alone.write("memory.max", &(mib * MIB).to_string()).unwrap();
        let in_cgroup = sh(&format!(
            "echo $$ >{}/cgroup.procs && {HEAP}",
            alone.dir().display()
        ));
        fs::remove_dir(alone.dir()).unwrap();
        println!("{mib} MiB: {heap}, {in_cgroup} in a cgroup, {of_machine} on the machine");
        about(heap, in_cgroup);
        assert!(heap * 1.1 < of_machine, "{heap}, {of_machine}");
    }
}

/// The number that a script prints, run on this machine.
#[track_caller]
fn sh(script: &str) -> f64 {
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", script])
        .output()
        .unwrap();
    bytes(&String::from_utf8_lossy(&output.stdout))
}

#[track_caller]
fn bytes(text: &str) -> f64 {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?}"))
}

/// The very first look is right. How long it takes here, where the processor is emulated, is printed only.
#[test]
fn a_changed_limit_is_seen_at_once() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(json!({"memory": {"limit": 512 * MIB}}));
    let c = booted(&bundle);
    let pid = c.pid();
    let look = |path: &str| {
        let path = format!("/proc/{pid}/root/{path}");
        let begun = Instant::now();
        let text = fs::read_to_string(&path).unwrap();
        println!("{path} took {:?}", begun.elapsed());
        text
    };
    for mib in [256, 768] {
        let limit = format!("{mib}M");
        let flags = ["--memory", limit.as_str(), "--memory-swap", limit.as_str()];
        c.call("update", &flags).run().ok();
        let meminfo = look("proc/meminfo");
        about(number(&meminfo, "MemTotal:"), f64::from(mib * 1024));
    }
    for (quota, cpus) in [("100000", 1), ("200000", 2), ("50000", 1), ("150000", 2)] {
        let flags = ["--cpu-period", "100000", "--cpu-quota", quota];
        c.call("update", &flags).run().ok();
        let stat = look("proc/stat");
        assert_eq!(stat.matches("\ncpu").count(), cpus, "{stat}");
        let online = look("sys/devices/system/cpu/online");
        assert_eq!(online, ["0\n", "0-1\n"][cpus - 1]);
        let cpuinfo = look("proc/cpuinfo");
        assert_eq!(cpuinfo.matches("processor\t").count(), cpus);
    }
}

#[test]
fn the_least_limit_above_counts() {
    differs!(Runc | Crun, "no system containers");
    if CgroupDriver::get() == CgroupDriver::Systemd {
        return;
    }
    let bundle = system(json!({"memory": {"limit": 512 * MIB}}));
    let path = format!("/{}-above/inner", bundle.id());
    bundle.set("/linux/cgroupsPath", json!(path));
    let c = booted(&bundle);
    let above = own(&c).parent();
    above.write("memory.max", "134217728").unwrap();
    above.write("cpu.max", "10000 10000").unwrap();
    about(number(&seen(&c, "proc/meminfo"), "MemTotal:"), 131_072.0);
    assert_eq!(output(&c, "/usr/bin/getconf _NPROCESSORS_ONLN"), "1\n");
    c.delete_force().ok();
    fs::remove_dir(above.dir()).unwrap();
}

#[test]
fn cpus_and_their_time() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(json!({"cpu": {"cpus": "1"}}));
    let c = booted(&bundle);
    assert_eq!(
        output(&c, "/usr/bin/nproc; /usr/bin/getconf _NPROCESSORS_ONLN"),
        "1\n1\n"
    );
    assert_eq!(seen(&c, "sys/devices/system/cpu/online"), "1\n");
    assert!(seen(&c, "proc/cpuinfo").starts_with("processor\t: 0\n"));
    let (own, pid) = (own(&c), c.pid());
    let read = |path: &str| fs::read_to_string(format!("/proc/{pid}/root/{path}")).unwrap();
    let used = || own.field("cpu.stat", "usage_usec") as f64 / 1e4;
    // In ticks of 10 ms; the cgroup's own count comes before and after.
    let look = || {
        let (before, stat, after) = (used(), read("proc/stat"), used());
        let line = stat.split_whitespace().skip(1).take(4);
        let line: Vec<f64> = line.map(|word| word.parse().unwrap()).collect();
        (before, line[0] + line[1] + line[2], after, line[3])
    };
    let first = look();
    output(&c, "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done");
    let (before, busy, after, _) = look();
    let since = busy - first.1;
    // Each of three numbers is rounded down, twice.
    let bounds = (before - first.2) * 0.99 - 3.0..=(after - first.0) * 1.01 + 3.0;
    assert!(bounds.contains(&since), "{since} of {bounds:?}");
    // All of the time since boot, of one CPU.
    let uptime = || number(&format!("up {}", read("proc/uptime")), "up ") * 100.0;
    let begun = uptime();
    let (_, busy, _, idle) = look();
    let bounds = begun * 0.98 - 4.0..=uptime() * 1.02;
    assert!(bounds.contains(&(busy + idle)), "{busy} {idle} {bounds:?}");
    let top = output(&c, "COLUMNS=200 /usr/bin/top -b -n 1");
    assert!(top.contains("%Cpu"), "{top}");
    let load = number(&format!("load {}", seen(&c, "proc/loadavg")), "load ");
    assert!(load > 0.0 && load <= 3.0, "{load}");
}

#[test]
fn pressure_and_disks_are_its_own() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(json!({}));
    // On the disk, which bundles are not.
    let data = std::path::PathBuf::from(format!("/var/tmp/{}", bundle.id()));
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(100_000), Some(100_000)).unwrap();
    bundle.mount(
        json!({"destination": "/data", "type": "bind", "source": data, "options": ["bind"]}),
    );
    let c = booted(&bundle);
    for kind in ["cpu", "io", "memory"] {
        if fs::exists(format!("/proc/pressure/{kind}")).unwrap() {
            let own = own(&c).read(&format!("{kind}.pressure"));
            let seen = seen(&c, &format!("proc/pressure/{kind}"));
            assert_eq!(seen.lines().count(), own.lines().count(), "{seen}");
            assert!(seen.starts_with("some avg10="), "{seen}");
        }
    }
    output(
        &c,
        "dd if=/dev/zero of=/data/file bs=1M count=4 conv=fsync 2>/dev/null",
    );
    let written = number(&own(&c).read("io.stat"), "wbytes=");
    assert!(written >= (4 * MIB) as f64, "{written}");
    let disks = seen(&c, "proc/diskstats");
    let sectors = |line: &str| {
        line.split_whitespace()
            .nth(9)
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    about(disks.lines().map(sectors).sum::<f64>() * 512.0, written);
    fs::remove_dir_all(&data).unwrap();
}

/// Here the device is everybody's, so an ordinary user's keeper can serve the view as well.
#[test]
fn an_ordinary_users_is_served_too() {
    differs!(Runc | Crun, "no system containers");
    if CgroupDriver::get() == CgroupDriver::Systemd {
        return;
    }
    let bundle = Bundle::rootless(1000, 1000);
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.args(&["/bin/sh", "-c", "exec sleep 10000"]);
    let c = bundle.container();
    c.run_detached();
    let mounts = output(&c, "cat /proc/self/mountinfo");
    assert!(mounts.contains(" /proc/meminfo "), "{mounts}");
    assert!(output(&c, "cat /proc/uptime").ends_with('\n'));
}
