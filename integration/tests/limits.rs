//! linux.resources and `update` where there are no controllers: what is wrong is said before anything is made, and what
//! cannot be had is said with the reason. What limits do is in the tests named vm_*.

use integration::{Bundle, Kind, Runtime, differs, has_controller, json, needs};
use std::time::{Duration, Instant};

fn refused(pointer: &str, value: integration::Value, text: &str) {
    let bundle = Bundle::new();
    bundle.set(&format!("/linux/resources/{pointer}"), value);
    let failed = bundle.container().call("create", &[] as &[&str]).run();
    failed.fails().says(text);
    assert_eq!(bundle.leftovers(), [] as [String; 0], "{pointer}");
}

#[test]
fn nonsense_is_refused_before_anything_is_made() {
    differs!(Runc | Crun, "they leave most of it to the kernel");
    for (pointer, value, text) in [
        (
            "memory",
            json!({"limit": -2}),
            "linux.resources.memory.limit",
        ),
        (
            "memory",
            json!({"limit": 2, "swap": 1}),
            "memory+swap limit should be >= memory limit",
        ),
        ("cpu", json!({"cpus": "none"}), "linux.resources.cpu.cpus"),
        ("cpu", json!({"idle": 2}), "linux.resources.cpu.idle"),
        ("pids", json!({"limit": -2}), "linux.resources.pids.limit"),
        (
            "blockIO",
            json!({"weight": 9}),
            "linux.resources.blockIO.weight",
        ),
        (
            "hugepageLimits",
            json!([{"pageSize": "a/b", "limit": 1}]),
            "hugepageLimits[0].pageSize",
        ),
        (
            "unified",
            json!({"a/b.c": "1"}),
            "must be a file name (no slashes)",
        ),
        (
            "unified",
            json!({"abc": "1"}),
            "must be in the form CONTROLLER.PARAMETER",
        ),
        ("pids", json!({"limit": "1"}), "linux.resources.pids.limit"),
    ] {
        refused(pointer, value, text);
    }
}

#[test]
fn a_controller_that_is_not_there_is_named_with_a_way_out() {
    needs!(
        !has_controller("memory"),
        "a host whose cgroup2 has no memory controller"
    );
    differs!(Runc | Crun, "the error names the file alone");
    for (pointer, value, file) in [
        (
            "memory",
            json!({"limit": 64 << 20}),
            "writing \"67108864\" to memory.max",
        ),
        ("cpu", json!({"shares": 512}), "cpu.weight"),
        ("pids", json!({"limit": 9}), "pids.max"),
        (
            "unified",
            json!({"memory.high": "1"}),
            "unified resource \"memory.high\" can't be set",
        ),
    ] {
        refused(pointer, value.clone(), file);
        refused(pointer, value, "systemd.unified_cgroup_hierarchy=1");
    }
    // No limit is not a limit.
    let bundle = Bundle::new();
    bundle.set("/linux/resources/memory", json!({"limit": -1}));
    bundle.set("/linux/resources/pids", json!({"limit": -1}));
    bundle.container().create();
}

#[test]
fn limits_need_a_cgroup() {
    differs!(Runc, "has no --cgroup-manager");
    differs!(Crun, "passes over them");
    let bundle = Bundle::new();
    bundle.set("/linux/resources/pids", json!({"limit": 9}));
    let id = bundle.id().to_owned();
    let dir = bundle.dir();
    let call = bundle.call(["--cgroup-manager", "disabled", "create", "--bundle"]);
    call.arg(dir)
        .arg(id)
        .run()
        .fails()
        .says("limits need a cgroup");
}

#[test]
fn update_says_what_is_wrong_with_its_words() {
    differs!(Crun, "other words");
    let bundle = Bundle::new();
    let container = bundle.container();
    container.create();
    for (flag, text) in [
        ("--memory=x", "invalid value for memory: invalid size: 'x'"),
        ("--memory-swap=7q", "invalid value for memory-swap"),
        ("--cpu-period=-1", "invalid value for cpu-period"),
        ("--cpu-share=x", "invalid value for cpu-share"),
        (
            "--pids-limit=x",
            "invalid value \"x\" for flag -pids-limit: parse error",
        ),
        (
            "--l3-cache-schema=L3:0=f",
            "Intel RDT/CAT: l3 cache schema is not enabled",
        ),
        (
            "--resources=/nowhere",
            "open /nowhere: no such file or directory",
        ),
    ] {
        container.call("update", &[flag]).run().fails().says(text);
    }
    let nobody = bundle.call(["update", "--memory=x", "nobody"]).run();
    nobody.fails().says("container does not exist");
}

#[test]
fn an_update_of_nothing_is_fine() {
    let bundle = Bundle::new();
    let container = bundle.container();
    container.create();
    container
        .call("update", &["-r", "-"])
        .stdin("{}")
        .run()
        .ok();
    container.start();
    container.wait_status("running");
}

#[test]
fn a_stopped_container_is_not_updated() {
    differs!(Crun, "it looks for the controller first");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let container = bundle.container();
    container.run_detached();
    container.wait_stopped();
    let call = container.call("update", &["--pids-limit=9"]);
    call.run().fails().says("container not running");
}

/// Huge pages are what a machine with cgroup v1 beside leaves to cgroup v2.
#[test]
fn limits_of_huge_pages_change_fast_and_all_or_none() {
    needs!(
        has_controller("hugetlb"),
        "the hugetlb controller in cgroup2"
    );
    differs!(Runc, "update passes over hugepageLimits");
    differs!(Crun, "it leaves the reservations alone");
    let bundle = Bundle::new();
    let limit = |mib: u64| json!([{"pageSize": "2MB", "limit": mib << 20}]);
    bundle.set("/linux/resources/hugepageLimits", limit(4));
    let container = bundle.container();
    container.run_detached();
    let cgroup = container.cgroup();
    let limits = || {
        (
            cgroup.read("hugetlb.2MB.max"),
            cgroup.read("hugetlb.2MB.rsvd.max"),
        )
    };
    let bytes = |mib: u64| ((mib << 20).to_string(), (mib << 20).to_string());
    assert_eq!(limits(), bytes(4));
    let update = |document: integration::Value| {
        let call = container
            .call("update", &["-r", "-"])
            .stdin(document.to_string());
        let begin = Instant::now();
        (call.run(), begin.elapsed())
    };
    let mut times: Vec<Duration> = Vec::new();
    for n in 1..=200 {
        let (output, time) = update(json!({"hugepageLimits": limit(2 * n)}));
        output.ok();
        times.push(time);
        assert_eq!(limits(), bytes(2 * n));
    }
    times.sort();
    eprintln!("update: median {:?}, slowest {:?}", times[100], times[199]);
    let (output, _) = update(json!({"hugepageLimits": limit(2), "unified": {"nothing.max": "1"}}));
    output.fails().says("controller \"nothing\" not available");
    assert_eq!(limits(), bytes(400));
    assert_eq!(Runtime::get().kind(), Kind::Vzrun);
}
