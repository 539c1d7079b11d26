//! `update`: other limits for a container at work.

use integration::{Bundle, Cgroup, CgroupDriver, Container, Kind, Runtime, differs, json};

fn bundle() -> Bundle {
    let bundle = Bundle::new();
    bundle.set(
        "/linux/resources",
        json!({
            "memory": {"limit": 64 << 20, "reservation": 32 << 20},
            "cpu": {"shares": 1024, "quota": 50000, "period": 100000},
            "pids": {"limit": 50}
        }),
    );
    bundle
}

fn update(container: &Container<'_>, flags: &[&str]) -> integration::Output {
    container.call("update", flags).run()
}

fn values(cgroup: &Cgroup) -> Vec<String> {
    [
        "memory.max",
        "memory.low",
        "cpu.max",
        "cpu.weight",
        "pids.max",
        "cpuset.cpus",
    ]
    .iter()
    .map(|file| format!("{file}={}", cgroup.read(file)))
    .collect()
}

#[test]
fn each_flag_changes_what_it_names() {
    differs!(Crun, "it takes no units, and -1 for nothing but swap");
    let bundle = bundle();
    let container = bundle.container();
    container.run_detached();
    let cgroup = container.cgroup();
    for (flag, file, value) in [
        ("--memory=96M", "memory.max", "100663296"),
        ("--memory-reservation=16MiB", "memory.low", "16777216"),
        ("--cpu-quota=30000", "cpu.max", "30000 100000"),
        ("--cpu-period=50000", "cpu.max", "30000 50000"),
        ("--cpu-quota=20000", "cpu.max", "20000 50000"),
        ("--cpu-share=2", "cpu.weight", "1"),
        ("--cpuset-cpus=1", "cpuset.cpus", "1"),
        ("--cpuset-mems=0", "cpuset.mems", "0"),
        ("--pids-limit=20", "pids.max", "20"),
        ("--pids-limit=-1", "pids.max", "max"),
        (
            "--memory=96M --memory-swap=128M",
            "memory.swap.max",
            "33554432",
        ),
        ("--memory=-1", "memory.max", "max"),
    ] {
        let flags: Vec<_> = flag.split(' ').collect();
        update(&container, &flags).ok();
        assert_eq!(cgroup.read(file), value, "{flag}");
    }
    // What was not named has stayed.
    assert_eq!(cgroup.read("memory.low"), "16777216");
}

#[test]
fn burst_and_idle() {
    differs!(Crun, "no such flags");
    differs!(Runc < (1, 2), "no such flags");
    let bundle = bundle();
    let container = bundle.container();
    container.run_detached();
    let cgroup = container.cgroup();
    update(&container, &["--cpu-burst=50000"]).ok();
    assert_eq!(cgroup.read("cpu.max.burst"), "50000");
    // Either order of the two files is wrong once.
    update(&container, &["--cpu-quota=20000", "--cpu-burst=10000"]).ok();
    assert_eq!(cgroup.read("cpu.max.burst"), "10000");
    update(&container, &["--cpu-quota=90000", "--cpu-burst=80000"]).ok();
    assert_eq!(cgroup.read("cpu.max"), "90000 100000");
    update(&container, &["--cpu-idle=1"]).ok();
    assert_eq!(cgroup.read("cpu.idle"), "1");
    update(&container, &["--cpu-idle=0"]).ok();
    assert_eq!(cgroup.read("cpu.weight"), "100");
}

#[test]
fn a_limit_holds_at_once() {
    differs!(Crun, "it takes no units");
    let bundle = bundle();
    let container = bundle.container();
    container.run_detached();
    update(&container, &["--pids-limit=20"]).ok();
    let forked = container.exec(&["/probe", "fork", "30"]).ok();
    assert_eq!(forked.stdout.trim(), "18");
    update(&container, &["--memory=16M"]).ok();
    container.exec(&["/probe", "allocate", "48"]).exits(137);
}

#[test]
fn all_or_nothing() {
    differs!(Runc | Crun, "they leave what they had written");
    let bundle = bundle();
    let container = bundle.container();
    container.run_detached();
    let cgroup = container.cgroup();
    let before = values(&cgroup);
    for document in [
        json!({"memory": {"limit": 96 << 20}, "pids": {"limit": 9}, "cpu": {"shares": 512, "cpus": "63"}}),
        json!({"memory": {"limit": 96 << 20, "reservation": 1 << 20}, "cpu": {"quota": 1, "period": 100000}}),
        json!({"pids": {"limit": 9}, "cpu": {"quota": 20000, "period": 50000}, "unified": {"memory.nothing": "1"}}),
    ] {
        let call = container.call("update", &["-r", "-"]);
        call.stdin(document.to_string()).run().fails();
        assert_eq!(values(&cgroup), before, "{document}");
    }
}

#[test]
fn memory_below_the_usage_is_rejected_when_asked_for() {
    if CgroupDriver::get() == CgroupDriver::Systemd {
        differs!(Crun, "the container is in a cgroup below its scope");
    }
    differs!(Runc < (1, 2), "does not know checkBeforeUpdate");
    let bundle = bundle();
    let container = bundle.container();
    container.run_detached();
    let cgroup = container.cgroup();
    let before = cgroup.read("memory.max");
    let document = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}});
    let call = container.call("update", &["-r", "-"]);
    call.stdin(document.to_string()).run().fails().says_any(&[
        "rejecting memory limit 4096 <= usage",
        "cannot set the memory limit lower than its current usage",
    ]);
    assert_eq!(cgroup.read("memory.max"), before);
    assert_eq!(container.status(), "running");
}

#[test]
fn a_stopped_container_has_no_limits() {
    differs!(Crun, "it does not look whether it runs");
    let bundle = bundle();
    bundle.args(&["/probe", "exit", "0"]);
    let container = bundle.container();
    container.run_detached();
    container.wait_stopped();
    update(&container, &["--pids-limit=9"])
        .fails()
        .says("container not running");
}

#[test]
fn a_thousand_times_on_a_container_at_work() {
    if CgroupDriver::get() == CgroupDriver::Systemd {
        differs!(Crun, "the container is in a cgroup below its scope");
    }
    let bundle = bundle();
    bundle.args(&["/probe", "spin"]);
    let container = bundle.container();
    container.run_detached();
    let cgroup = container.cgroup();
    // The originals take their time; and what is asked of systemd is the same each time.
    let ours =
        Runtime::get().kind() == Kind::Vzrun && CgroupDriver::get() == CgroupDriver::Cgroupfs;
    // systemd counts the quota in steps of 1 % of a CPU.
    let step = match CgroupDriver::get() {
        CgroupDriver::Systemd => 500,
        CgroupDriver::Cgroupfs => 10,
    };
    for n in 1..=if ours { 1000u64 } else { 30 } {
        let memory = (64 << 20) + n * 4096;
        let document = json!({
            "memory": {"limit": memory},
            "pids": {"limit": 100 + n},
            "cpu": {"quota": 20000 + n * step, "period": 50000},
            "blockIO": {"weight": 10 + n % 900}
        });
        let call = container.call("update", &["-r", "-"]);
        call.stdin(document.to_string()).run().ok();
        assert_eq!(cgroup.read("memory.max"), memory.to_string());
        assert_eq!(cgroup.read("pids.max"), (100 + n).to_string());
        assert_eq!(
            cgroup.read("cpu.max"),
            format!("{} 50000", 20000 + n * step)
        );
        let weight = match cgroup.dir().join("io.bfq.weight").exists() {
            true => cgroup.read("io.bfq.weight"),
            false => cgroup.read("io.weight"),
        };
        let expected = match cgroup.dir().join("io.bfq.weight").exists() {
            true => 10 + n % 900,
            false => 1 + (n % 900) * 9999 / 990,
        };
        assert_eq!(weight, format!("default {expected}"));
    }
}
