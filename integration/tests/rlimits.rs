//! process.rlimits. A limit above the caller's hard one needs CAP_SYS_RESOURCE, which not every test machine gives: the
//! values here are at most those.

use integration::{Bundle, Value, differs, json, needs, probe_report};

fn with_limits(limits: Value) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/process/rlimits", limits);
    bundle
}

fn own_limit(line: &str) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/limits").unwrap();
    let row = table.lines().find(|row| row.starts_with(line)).unwrap();
    let values = row[line.len()..].split_whitespace().take(2);
    values.map(str::to_string).collect()
}

/// Whether this process may raise hard limits: CAP_SYS_RESOURCE is number 24.
fn may_raise() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("CapEff:"));
    let mask = u64::from_str_radix(line.unwrap()[7..].trim(), 16).unwrap();
    mask & (1 << 24) != 0
}

#[test]
fn soft_and_hard_limit_are_set() {
    let bundle = with_limits(json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]));
    let limit = probe_report(&bundle)["rlimits"]["RLIMIT_NOFILE"].clone();
    assert_eq!(limit, json!({"soft": 100, "hard": 200}));
}

#[test]
fn each_of_the_sixteen_limits_can_be_set() {
    let values = [
        ("RLIMIT_AS", 1u64 << 40),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_CPU", 1000),
        ("RLIMIT_DATA", 1 << 40),
        ("RLIMIT_FSIZE", 1 << 30),
        ("RLIMIT_LOCKS", 100),
        ("RLIMIT_MEMLOCK", 4096),
        ("RLIMIT_MSGQUEUE", 1000),
        ("RLIMIT_NICE", 0),
        ("RLIMIT_NOFILE", 123),
        ("RLIMIT_NPROC", 1000),
        ("RLIMIT_RSS", 1 << 40),
        ("RLIMIT_RTPRIO", 0),
        ("RLIMIT_RTTIME", 1_000_000),
        ("RLIMIT_SIGPENDING", 50),
        ("RLIMIT_STACK", 1 << 22),
    ];
    let limits = values.map(|(kind, value)| json!({"type": kind, "soft": value, "hard": value}));
    let report = probe_report(&with_limits(json!(limits)));
    for (kind, value) in values {
        let wanted = json!({"soft": value, "hard": value});
        assert_eq!(report["rlimits"][kind], wanted, "{kind}");
    }
}

#[test]
fn limits_that_are_not_listed_stay() {
    let report = probe_report(&with_limits(json!([])));
    let seen = &report["rlimits"]["RLIMIT_NOFILE"];
    let own = own_limit("Max open files");
    assert_eq!(seen["hard"].to_string(), own[1]);
}

#[test]
fn a_limit_without_values_is_0() {
    let report = probe_report(&with_limits(json!([{"type": "RLIMIT_CORE"}])));
    assert_eq!(
        report["rlimits"]["RLIMIT_CORE"],
        json!({"soft": 0, "hard": 0})
    );
}

#[test]
fn no_limit_at_all_is_the_largest_number() {
    needs!(
        own_limit("Max cpu time")[1] == "unlimited",
        "an unlimited RLIMIT_CPU"
    );
    let limits = json!([{"type": "RLIMIT_CPU", "soft": u64::MAX, "hard": u64::MAX}]);
    let report = probe_report(&with_limits(limits));
    assert_eq!(
        report["rlimits"]["RLIMIT_CPU"],
        json!({"soft": -1, "hard": -1})
    );
}

#[test]
fn a_soft_limit_above_the_hard_one_is_refused() {
    differs!(Crun, "leaves its cgroup behind");
    let bundle = with_limits(json!([{"type": "RLIMIT_NOFILE", "soft": 11, "hard": 10}]));
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn the_same_limit_twice_is_refused() {
    differs!(Runc | Crun, "the last one wins");
    let bundle = with_limits(json!([
        {"type": "RLIMIT_NOFILE", "soft": 20, "hard": 20},
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10},
    ]));
    bundle.container().run().fails().says("RLIMIT_NOFILE");
}

#[test]
fn an_unknown_limit_is_refused() {
    differs!(Crun, "leaves its cgroup behind");
    let bundle = with_limits(json!([{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]));
    bundle
        .container()
        .run()
        .fails()
        .says_any(&["RLIMIT_NONSENSE", "invalid rlimit", "rlimits[0]"]);
}

#[test]
fn a_negative_limit_is_refused() {
    differs!(Crun, "takes it for a very large one");
    let bundle = with_limits(json!([{"type": "RLIMIT_NOFILE", "soft": -1, "hard": 10}]));
    bundle.container().run().fails();
}

#[test]
fn a_limit_that_may_not_be_raised_fails_with_its_name_and_values() {
    differs!(Crun, "leaves its cgroup behind");
    needs!(!may_raise(), "a caller without CAP_SYS_RESOURCE");
    let hard = 1u64 << 40;
    let bundle = with_limits(json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": hard}]));
    let output = bundle.container().run().fails();
    output
        .clone()
        .says_any(&["operation not permitted"])
        .says("rlimit");
    differs!(Runc, "tells the number of the limit and no value");
    output.says("RLIMIT_NOFILE").says(&hard.to_string());
}

#[test]
fn a_low_limit_of_files_does_not_hinder_the_setup() {
    let bundle = with_limits(json!([{"type": "RLIMIT_NOFILE", "soft": 4, "hard": 4}]));
    bundle.args(&["/probe", "exit", "5"]);
    differs!(
        Runc,
        "its Go runtime needs descriptors after the limits are set"
    );
    differs!(Crun, "sets the limits first");
    bundle.container().run().exits(5);
}

#[test]
fn a_file_size_of_0_does_not_hinder_the_setup() {
    differs!(Crun, "sets the limits first");
    let bundle = with_limits(json!([{"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0}]));
    bundle.args(&["/probe", "exit", "5"]);
    bundle.container().run().exits(5);
}

#[test]
fn limits_hold_for_an_ordinary_user() {
    let bundle = with_limits(json!([{"type": "RLIMIT_NOFILE", "soft": 30, "hard": 40}]));
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.args(&["/probe", "try", "setrlimit-nofile", "41"]);
    assert_eq!(bundle.container().run().ok().stdout, "EPERM\n");
}

#[test]
fn limits_are_set_in_a_user_namespace() {
    let bundle = with_limits(json!([{"type": "RLIMIT_NOFILE", "soft": 30, "hard": 40}]));
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 2000}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    let limit = probe_report(&bundle)["rlimits"]["RLIMIT_NOFILE"].clone();
    assert_eq!(limit, json!({"soft": 30, "hard": 40}));
}

#[test]
fn a_process_file_of_exec_brings_its_own_limits() {
    let bundle = with_limits(json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]));
    let c = bundle.container();
    c.run_detached();
    let mut process = bundle.config()["process"].clone();
    process["args"] = json!(["/probe", "report"]);
    process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}]);
    let file = bundle.home().join("process.json");
    std::fs::write(&file, process.to_string()).unwrap();
    let flags = ["--process", file.to_str().unwrap()];
    let report = c.exec_with(&flags, &[""; 0]).ok().json();
    assert_eq!(
        report["rlimits"]["RLIMIT_NOFILE"],
        json!({"soft": 50, "hard": 60})
    );
}
