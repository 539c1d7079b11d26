//! linux.resources: each property by what it does to the container.

use integration::{Bundle, CgroupDriver, Container, Output, differs, json};
use std::process::Command;
use std::time::{Duration, Instant};

fn limited(pointer: &str, value: integration::Value) -> Bundle {
    let bundle = Bundle::new();
    bundle.set(&format!("/linux/resources/{pointer}"), value);
    bundle
}

/// What the container's program prints.
fn printed(container: &Container<'_>, args: &[&str]) -> String {
    container.bundle().args(args);
    container.run().ok().stdout.trim().to_owned()
}

#[test]
fn a_process_over_the_memory_limit_is_killed() {
    let bundle = limited("memory", json!({"limit": 48 << 20, "swap": 48 << 20}));
    let container = bundle.container();
    container.run_detached();
    let cgroup = container.cgroup();
    assert_eq!(cgroup.read("memory.swap.max"), "0");
    container.exec(&["/probe", "allocate", "8"]).ok();
    assert_eq!(cgroup.field("memory.events", "oom_kill"), 0);
    container.exec(&["/probe", "allocate", "96"]).exits(137);
    assert!(cgroup.field("memory.events", "oom_kill") > 0);
    assert_eq!(container.status(), "running");
}

#[test]
fn a_memory_limit_that_is_too_low_for_init() {
    differs!(Crun, "it starts with less, or says that a process died");
    if CgroupDriver::get() == CgroupDriver::Systemd {
        differs!(
            Runc,
            "systemd has removed the scope by the time it looks for the reason"
        );
    }
    let bundle = limited("memory", json!({"limit": 4096}));
    let container = bundle.container();
    container
        .call("create", &[] as &[&str])
        .run()
        .fails()
        .says_any(&[
            "OOM-killed (memory limit too low?)", // With systemd the cgroup is gone before it can be asked.
            "possibly OOM-killed",
        ]);
    assert_eq!(bundle.leftovers(), [] as [String; 0]);
}

#[test]
fn reservation_and_swap() {
    let memory = json!({"limit": 64 << 20, "swap": 80 << 20, "reservation": 32 << 20});
    let bundle = limited("memory", memory);
    let container = bundle.container();
    container.create();
    let cgroup = container.cgroup();
    for (file, mib) in [
        ("memory.max", 64),
        ("memory.swap.max", 16),
        ("memory.low", 32),
    ] {
        assert_eq!(cgroup.read(file), (mib << 20).to_string(), "{file}");
    }
}

#[test]
fn swap_without_memory_is_refused() {
    differs!(Crun, "it takes the value as it is");
    let bundle = limited("memory", json!({"swap": 80 << 20}));
    bundle
        .container()
        .call("create", &[] as &[&str])
        .run()
        .fails()
        .says("unable to set swap limit without memory limit");
    assert_eq!(bundle.leftovers(), [] as [String; 0]);
}

#[test]
fn a_fork_over_the_pids_limit_fails() {
    let bundle = limited("pids/limit", json!(12));
    // Itself is one of them.
    assert_eq!(
        printed(&bundle.container(), &["/probe", "fork", "30"]),
        "11"
    );
}

#[test]
fn no_pids_limit() {
    let bundle = limited("pids/limit", json!(-1));
    let container = bundle.container();
    container.create();
    assert_eq!(container.cgroup().read("pids.max"), "max");
}

#[test]
fn a_pids_limit_of_0_is_a_limit() {
    differs!(
        Runc | Crun,
        "0 is none, as the specification had it before 1.3"
    );
    let bundle = limited("pids/limit", json!(0));
    assert_eq!(printed(&bundle.container(), &["/probe", "fork", "3"]), "0");
    bundle.set("/linux/resources/pids", json!({}));
    assert_eq!(
        printed(&bundle.container_named("absent"), &["/probe", "fork", "3"]),
        "3"
    );
}

/// How much of a CPU the container uses.
fn usage(container: &Container<'_>, time: Duration) -> f64 {
    let cgroup = container.cgroup();
    let used = || cgroup.field("cpu.stat", "usage_usec");
    let (before, begin) = (used(), Instant::now());
    std::thread::sleep(time);
    (used() - before) as f64 / begin.elapsed().as_micros() as f64
}

#[test]
fn the_cpu_quota_holds() {
    let bundle = limited("cpu", json!({"quota": 5000, "period": 50000}));
    bundle.args(&["/probe", "spin"]);
    let container = bundle.container();
    container.run_detached();
    let usage = usage(&container, Duration::from_secs(4));
    assert!((0.09..0.11).contains(&usage), "{usage}");
}

#[test]
fn shares_are_a_weight_and_cpus_a_place() {
    let heavy = limited("cpu", json!({"shares": 10240, "cpus": "1"}));
    let light = limited("cpu", json!({"shares": 1024, "cpus": "1"}));
    for bundle in [&heavy, &light] {
        bundle.args(&["/probe", "spin"]);
    }
    let (heavy, light) = (heavy.container(), light.container());
    heavy.run_detached();
    light.run_detached();
    let status = heavy.exec(&["/probe", "read", "/proc/self/status"]).ok();
    assert!(status.stdout.contains("Cpus_allowed_list:\t1\n"));
    let time = Duration::from_secs(4);
    let (heavy, light) = std::thread::scope(|scope| {
        let heavy = scope.spawn(|| usage(&heavy, time));
        let light = usage(&light, time);
        (heavy.join().unwrap(), light)
    });
    assert!(heavy > 3.0 * light, "{heavy} {light}");
}

#[test]
fn shares_have_the_curve_of_today() {
    differs!(Runc < (1, 3), "the straight line of before 1.3.2");
    differs!(Crun < (1, 23), "the straight line of before");
    let bundle = limited("cpu/shares", json!(2048));
    let container = bundle.container();
    container.create();
    assert_eq!(container.cgroup().read("cpu.weight"), "174");
}

#[test]
fn burst_and_idle() {
    differs!(Runc < (1, 2), "does not know them");
    let bundle = limited("cpu", json!({"quota": 50000, "burst": 20000, "idle": 1}));
    let container = bundle.container();
    container.create();
    let cgroup = container.cgroup();
    assert_eq!(cgroup.read("cpu.max"), "50000 100000");
    assert_eq!(cgroup.read("cpu.max.burst"), "20000");
    assert_eq!(cgroup.read("cpu.idle"), "1");
}

#[test]
fn huge_pages_are_limited() {
    differs!(
        Crun,
        "it leaves the reservations alone, and a mapping beyond the limit succeeds"
    );
    let limits = json!([{"pageSize": "2MB", "limit": 2 << 20}]);
    let bundle = limited("hugepageLimits", limits);
    let container = bundle.container();
    container.run_detached();
    let map = |pages: usize| -> Output {
        let length = (pages << 21).to_string();
        // mmap of private, anonymous huge pages
        container.exec(&[
            "/probe", "try", "syscall", "9", "0", &length, "3", "262178", "-1", "0",
        ])
    };
    assert_eq!(map(1).ok().stdout.trim(), "ok");
    assert_eq!(map(2).ok().stdout.trim(), "ENOMEM");
}

/// A loop device that goes with this.
struct Loop(String);

impl Loop {
    fn new(bundle: &Bundle) -> Loop {
        let file = bundle.home().join("disk");
        std::fs::File::create(&file)
            .unwrap()
            .set_len(32 << 20)
            .unwrap();
        // A module, and nobody else has asked for it.
        let _ = Command::new("modprobe").arg("loop").status();
        let made = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&file)
            .output();
        let name = String::from_utf8(made.unwrap().stdout).unwrap();
        Loop(name.trim().to_owned())
    }

    fn minor(&self) -> u64 {
        self.0.trim_start_matches("/dev/loop").parse().unwrap()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn reading_from_a_device_is_throttled() {
    let bundle = Bundle::new();
    let disk = Loop::new(&bundle);
    let minor = disk.minor();
    let device = json!({"path": "/dev/disk", "type": "b", "major": 7, "minor": minor});
    bundle.set("/linux/devices", json!([device]));
    let rule = json!({"allow": true, "type": "b", "major": 7, "minor": minor, "access": "rwm"});
    bundle.set("/linux/resources/devices", json!([rule]));
    let rate = json!([{"major": 7, "minor": minor, "rate": 2 << 20}]);
    bundle.set("/linux/resources/blockIO/throttleReadBpsDevice", rate);
    let took = printed(
        &bundle.container(),
        &["/probe", "read-direct", "/dev/disk", "8"],
    );
    let took: f64 = took.parse().unwrap();
    assert!(
        (3400.0..4600.0).contains(&took),
        "{took} ms for 8 MiB at 2 MiB/s"
    );
}

#[test]
fn the_weight_for_io() {
    let bundle = limited("blockIO/weight", json!(750));
    let container = bundle.container();
    container.create();
    let cgroup = container.cgroup();
    match cgroup.dir().join("io.bfq.weight").exists() {
        true => assert_eq!(cgroup.read("io.bfq.weight"), "default 750"),
        false => assert_eq!(cgroup.read("io.weight"), "default 7475"),
    }
}

#[test]
fn unified_names_files() {
    let bundle = limited(
        "unified",
        json!({"pids.max": "8", "memory.high": "67108864"}),
    );
    let container = bundle.container();
    bundle.args(&["/probe", "fork", "30"]);
    container.create();
    assert_eq!(container.cgroup().read("memory.high"), "67108864");
    container.start();
    container.wait_stopped();
    assert_eq!(container.stdout().trim(), "7");
}

#[test]
fn unified_that_does_not_work() {
    for (file, runc, crun) in [
        (
            "../pids.max",
            "must be a file name (no slashes)",
            "must be a file name without any slash",
        ),
        (
            "nothing.max",
            "controller \"nothing\" not available",
            "nothing",
        ),
        ("memory.nothing", "memory.nothing", "memory.nothing"),
    ] {
        if file == "nothing.max" && CgroupDriver::get() == CgroupDriver::Systemd {
            differs!(
                Runc,
                "systemd takes no unified resource that it does not know"
            );
        }
        let bundle = limited("unified", json!({file: "1"}));
        let failed = bundle.container().call("create", &[] as &[&str]).run();
        failed.fails().says_any(&[runc, crun]);
        assert_eq!(bundle.leftovers(), [] as [String; 0], "{file}");
    }
}

#[test]
fn values_that_the_kernel_refuses() {
    if CgroupDriver::get() == CgroupDriver::Systemd {
        differs!(Runc, "systemd takes CPUs that are not there");
    }
    for (pointer, value, place) in [
        ("cpu", json!({"cpus": "63"}), "cpuset.cpus"),
        ("cpu", json!({"quota": 1}), "cpu.max"),
        (
            "hugepageLimits",
            json!([{"pageSize": "3MB", "limit": 0}]),
            "hugetlb.3MB",
        ),
    ] {
        let bundle = limited(pointer, value);
        let failed = bundle.container().call("create", &[] as &[&str]).run();
        // With systemd it is a property of the unit that fails first.
        let unit = match CgroupDriver::get() {
            CgroupDriver::Systemd => ["nit", "ropert"],
            CgroupDriver::Cgroupfs => [place, place],
        };
        failed.fails().says_any(&[place, unit[0], unit[1]]);
        assert_eq!(bundle.leftovers(), [] as [String; 0], "{place}");
    }
}

#[test]
fn properties_of_v1_are_passed_over() {
    differs!(Crun, "it refuses them");
    let bundle = limited("memory", json!({"swappiness": 10, "kernel": 1 << 20}));
    bundle.set("/linux/resources/network", json!({"classID": 7}));
    bundle.set("/linux/resources/cpu", json!({"realtimePeriod": 1000}));
    bundle.container().create();
}
