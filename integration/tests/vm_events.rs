//! events where the controllers are: memory and OOM kills, processes, processor time, block devices.

use integration::{Bundle, CgroupDriver, Container, Running, Value, differs, json, needs, until};
use std::fs;

/// `data` of the one line of `events --stats`.
#[track_caller]
fn stats(c: &Container) -> Value {
    c.call("events", &["--stats"]).run().ok().json()["data"].clone()
}

#[track_caller]
fn number(stats: &Value, pointer: &str) -> u64 {
    let value = stats.pointer(pointer).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no {pointer} in {stats}"))
}

/// `events`, from the moment on at which it watches: it has printed statistics.
fn watch(c: &Container) -> Running {
    let events = c.call("events", &["--interval", "100ms"]).spawn();
    until("statistics", || {
        events.stdout().contains("\"stats\"").then_some(())
    });
    events
}

/// How many notices of OOM kills it has printed.
fn oom_notices(c: &Container, printed: &str) -> usize {
    let notice = format!("{{\"type\":\"oom\",\"id\":\"{}\"}}", c.id());
    printed.lines().filter(|line| **line == notice).count()
}

/// Gives a container that is there a limit. How limits come from config.json is not the matter of these tests.
#[track_caller]
fn limit(c: &Container, file: &str, value: impl ToString) {
    let path = c.cgroup_dir().join(file);
    let written = fs::write(&path, value.to_string());
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[track_caller]
fn limit_memory(c: &Container, bytes: u64) {
    limit(c, "memory.max", bytes);
    limit(c, "memory.swap.max", 0);
}

const MIB: u64 = 1 << 20;
/// A process that wants 100 MiB at once.
const HOG: &[&str] = &[
    "dd",
    "if=/dev/zero",
    "of=/dev/null",
    "bs=104857600",
    "count=1",
];

#[test]
fn keys_with_all_controllers() {
    differs!(Crun, "has no events");
    differs!(
        Runc < (1, 3),
        "neither pressure nor the most memory used before"
    );
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    limit_memory(&c, 64 * MIB);
    limit(&c, "pids.max", 50);
    let mut data = stats(&c);
    let keys = |value: &Value| -> Vec<String> {
        let object = value.as_object().unwrap_or_else(|| panic!("{value}"));
        object.keys().cloned().collect()
    };
    let all = [
        "blkio",
        "cpu",
        "cpuset",
        "hugetlb",
        "intel_rdt",
        "memory",
        "network_interfaces",
        "pids",
    ];
    assert_eq!(keys(&data), all);
    let has_pressure = fs::exists("/proc/pressure/cpu").unwrap();
    for part in ["cpu", "memory", "blkio"] {
        let pressure = data[part].as_object_mut().unwrap().remove("psi");
        assert_eq!(pressure.is_some(), has_pressure, "{part} in {data}");
        if let Some(pressure) = pressure {
            assert_eq!(keys(&pressure), ["full", "some"]);
            assert_eq!(
                keys(&pressure["some"]),
                ["avg10", "avg300", "avg60", "total"]
            );
        }
    }
    let memory = data["memory"].as_object_mut().unwrap();
    memory.remove("cache");
    for raw in ["anon", "file", "kernel", "slab", "pgfault"] {
        assert!(memory["raw"][raw].is_u64(), "{raw} in {memory:?}");
    }
    assert_eq!(
        keys(&data["memory"]),
        ["kernel", "kernelTCP", "raw", "swap", "usage"]
    );
    let usage = keys(&data["memory"]["usage"]);
    let known = ["failcnt", "limit", "max", "usage"];
    assert_eq!(usage, known);
    assert_eq!(keys(&data["memory"]["swap"]), ["failcnt", "limit", "usage"]);
    assert_eq!(keys(&data["pids"]), ["current", "limit"]);
}

#[test]
fn memory_and_its_limit() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    limit_memory(&c, 64 * MIB);
    let before = stats(&c);
    let fill = [
        "dd",
        "if=/dev/zero",
        "of=/dev/shm/full",
        "bs=1048576",
        "count=20",
    ];
    c.exec(&fill).ok();
    let after = stats(&c);
    assert_eq!(number(&after, "/memory/usage/limit"), 64 * MIB);
    assert_eq!(number(&after, "/memory/swap/limit"), 64 * MIB);
    for pointer in [
        "/memory/usage/usage",
        "/memory/swap/usage",
        "/memory/cache",
        "/memory/raw/shmem",
    ] {
        let before = before.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let grown = number(&after, pointer).saturating_sub(before);
        assert!(
            (19 * MIB..40 * MIB).contains(&grown),
            "{pointer} grew by {grown}"
        );
    }
}

#[test]
fn no_limit_is_the_largest_number() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    // systemd has a limit of its own.
    limit(&c, "pids.max", "max");
    let data = stats(&c);
    assert_eq!(number(&data, "/memory/usage/limit"), u64::MAX);
    assert_eq!(number(&data, "/memory/swap/limit"), u64::MAX);
    assert_eq!(data["pids"], json!({"current": 1}));
}

#[test]
fn an_oom_kill_is_told_at_once() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    limit_memory(&c, 32 * MIB);
    let events = watch(&c);
    for round in 1..=2 {
        assert_eq!(c.exec(HOG).code(), Some(137));
        until("the notice", || {
            let told = oom_notices(&c, &events.stdout());
            (told >= round).then_some(())
        });
    }
    c.delete_force().ok();
    events.wait().ok();
}

#[test]
fn each_oom_kill_is_told_once() {
    differs!(Crun, "has no events");
    differs!(
        Runc,
        "tells it at each change of memory.events from the first kill on"
    );
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    limit_memory(&c, 32 * MIB);
    assert_eq!(c.exec(HOG).code(), Some(137));
    let events = watch(&c);
    assert_eq!(c.exec(HOG).code(), Some(137));
    c.delete_force().ok();
    let output = events.wait().ok();
    assert_eq!(oom_notices(&c, &output.stdout), 1, "{}", output.stdout);
}

#[test]
fn a_container_that_dies_of_it_is_told_before_the_end() {
    differs!(Crun, "has no events");
    needs!(
        CgroupDriver::get() == CgroupDriver::Cgroupfs,
        "a cgroup that is still there after its last process (systemd removes a scope at once, and its counters with it; \
         those of the slice that are asked then may have been late, too)"
    );
    let bundle = Bundle::new();
    bundle.args(HOG);
    let c = bundle.container();
    c.create();
    limit_memory(&c, 32 * MIB);
    let events = watch(&c);
    c.start();
    let output = events.wait().ok();
    assert!(oom_notices(&c, &output.stdout) >= 1, "{}", output.stdout);
}

#[test]
fn processes_and_their_limit() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "spawn", "2"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    limit(&c, "pids.max", 50);
    assert_eq!(stats(&c)["pids"], json!({"current": 3, "limit": 50}));
}

#[test]
fn processor_time_and_throttling() {
    differs!(Crun, "has no events");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    limit(&c, "cpu.max", "20000 100000");
    let before = number(&stats(&c), "/cpu/usage/total");
    let busy = "i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); done";
    c.exec(&["/bin/sh", "-c", busy]).ok();
    let after = stats(&c);
    assert!(
        number(&after, "/cpu/usage/total") > before + 10_000_000,
        "{after}"
    );
    for pointer in ["periods", "throttledPeriods", "throttledTime"] {
        number(&after, &format!("/cpu/throttling/{pointer}"));
    }
}

#[test]
fn bytes_written_to_a_disk() {
    differs!(Crun, "has no events");
    let disk = tempfile_on_disk();
    let bundle = Bundle::new();
    bundle.mount(json!({
        "destination": "/disk", "type": "bind", "source": disk.to_str().unwrap(), "options": ["bind", "rw"]
    }));
    let c = bundle.container();
    c.run_detached();
    let write = [
        "dd",
        "if=/dev/zero",
        "of=/disk/file",
        "bs=1048576",
        "count=8",
        "conv=fsync",
    ];
    c.exec(&write).ok();
    let data = stats(&c);
    for (list, least) in [
        ("ioServiceBytesRecursive", 8 * MIB),
        ("ioServicedRecursive", 1),
    ] {
        let entries = data["blkio"][list]
            .as_array()
            .unwrap_or_else(|| panic!("{data}"));
        let written: u64 = entries
            .iter()
            .filter(|entry| entry["op"] == "Write")
            .filter_map(|entry| entry["value"].as_u64())
            .sum();
        assert!(written >= least, "{list}: {entries:?}");
        assert!(
            entries
                .iter()
                .all(|entry| entry["major"].as_u64() > Some(0)),
            "{entries:?}"
        );
    }
    drop(c);
    fs::remove_dir_all(&disk).unwrap();
}

/// A directory of the machine's disk.
fn tempfile_on_disk() -> std::path::PathBuf {
    let dir = std::path::PathBuf::from(format!("/var/lib/vzrun-events-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    dir
}
