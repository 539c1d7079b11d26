//! The time namespace and linux.timeOffsets.

use integration::{Bundle, Output, Value, differs, json, probe_report};
use std::time::Duration;

fn in_time_namespace(offsets: Value) -> Bundle {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "time"}));
    bundle.set("/linux/timeOffsets", offsets);
    bundle
}

#[track_caller]
fn refused(bundle: &Bundle) -> Output {
    bundle.args(&["/probe", "exit", "0"]);
    let output = bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
    output
}

/// Seconds of the host's clock since boot.
fn uptime() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::from_secs(now.tv_sec as u64).as_secs() as i64
}

#[test]
fn the_namespace_is_a_new_one() {
    differs!(Runc < (1, 2), "does not know time namespaces");
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "time"}));
    let own = std::fs::read_link("/proc/self/ns/time").unwrap();
    let report = probe_report(&bundle);
    let seen = report["namespaces"]["time"].to_string();
    let id = own.to_string_lossy().into_owned();
    let number = id.trim_matches(|c: char| !c.is_ascii_digit());
    assert!(!seen.is_empty() && !seen.contains(number), "{seen} {id}");
}

#[test]
fn the_monotonic_clock_is_shifted() {
    differs!(Runc < (1, 2), "does not know time namespaces");
    let offset = 1_000_000;
    let bundle = in_time_namespace(json!({"monotonic": {"secs": offset}}));
    let before = uptime();
    let seen = probe_report(&bundle)["clock_monotonic"].as_i64().unwrap();
    assert!(
        (before + offset..=uptime() + offset).contains(&seen),
        "{seen}"
    );
}

#[test]
fn the_boottime_clock_is_shifted() {
    differs!(Runc < (1, 2), "does not know time namespaces");
    let bundle = in_time_namespace(json!({"boottime": {"secs": 5_000_000, "nanosecs": 7}}));
    let report = probe_report(&bundle);
    let (boot, mono) = (&report["clock_boottime"], &report["clock_monotonic"]);
    assert!(
        boot.as_i64().unwrap() - mono.as_i64().unwrap() >= 4_999_999,
        "{report}"
    );
}

#[test]
fn the_kernel_knows_the_offsets() {
    differs!(Runc < (1, 2), "does not know time namespaces");
    let bundle = in_time_namespace(json!({
        "monotonic": {"secs": 12, "nanosecs": 34}, "boottime": {"secs": 56, "nanosecs": 999_999_999},
    }));
    let text = probe_report(&bundle)["timens_offsets"]
        .as_str()
        .unwrap()
        .to_string();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows,
        [["monotonic", "12", "34"], ["boottime", "56", "999999999"]]
    );
}

#[test]
fn offsets_may_be_negative() {
    differs!(Runc < (1, 2), "does not know time namespaces");
    let before = uptime();
    let bundle = in_time_namespace(json!({"monotonic": {"secs": -(before / 2)}}));
    let seen = probe_report(&bundle)["clock_monotonic"].as_i64().unwrap();
    assert!(seen < before, "{seen} {before}");
}

#[test]
fn exec_is_in_the_namespace() {
    differs!(Runc < (1, 2), "does not know time namespaces");
    let bundle = in_time_namespace(json!({"monotonic": {"secs": 1_000_000}}));
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert!(report["clock_monotonic"].as_i64().unwrap() >= 1_000_000);
}

#[test]
fn a_joined_namespace_has_its_clocks() {
    differs!(Crun, "fails at it");
    differs!(Runc < (1, 2), "does not know time namespaces");
    let bundle = in_time_namespace(json!({"monotonic": {"secs": 1_000_000}}));
    let first = bundle.container_named("first");
    first.run_detached();
    let path = format!("/proc/{}/ns/time", first.pid());
    bundle.namespace(json!({"type": "time", "path": path}));
    bundle.remove("/linux/timeOffsets");
    let report = probe_report(&bundle);
    assert!(report["clock_monotonic"].as_i64().unwrap() >= 1_000_000);
}

#[test]
fn offsets_need_a_time_namespace() {
    differs!(Crun, "leaves its cgroup behind");
    differs!(Runc < (1, 2), "does not know time namespaces");
    let bundle = Bundle::new();
    bundle.set("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}));
    refused(&bundle)
        .says("time namespace offsets specified, but time namespace isn't enabled in the config");
}

#[test]
fn an_unknown_clock_is_refused() {
    differs!(Runc < (1, 2), "does not know time namespaces");
    differs!(Crun, "leaves its cgroup behind");
    refused(&in_time_namespace(json!({"realtime": {"secs": 1}})));
}

#[test]
fn a_second_of_nanoseconds_is_refused() {
    differs!(Runc < (1, 2), "does not know time namespaces");
    differs!(Crun, "leaves its cgroup behind");
    refused(&in_time_namespace(
        json!({"boottime": {"nanosecs": 1_000_000_000}}),
    ));
}

#[test]
fn a_clock_before_its_zero_is_refused() {
    differs!(Runc < (1, 2), "does not know time namespaces");
    differs!(Crun, "leaves its cgroup behind");
    refused(&in_time_namespace(
        json!({"monotonic": {"secs": -4_000_000_000i64}}),
    ));
}

#[test]
fn it_works_with_a_new_user_namespace() {
    differs!(Crun, "cannot write the offsets there");
    differs!(Runc < (1, 2), "does not know time namespaces");
    let bundle = in_time_namespace(json!({"monotonic": {"secs": 1_000_000}}));
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 2000}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    let report = probe_report(&bundle);
    assert!(report["clock_monotonic"].as_i64().unwrap() >= 1_000_000);
}

#[test]
fn it_works_without_a_pid_namespace() {
    differs!(Runc < (1, 2), "does not know time namespaces");
    let bundle = in_time_namespace(json!({"monotonic": {"secs": 1_000_000}}));
    bundle.without_namespace("pid");
    let report = probe_report(&bundle);
    assert!(report["clock_monotonic"].as_i64().unwrap() >= 1_000_000);
}

#[test]
fn an_empty_list_of_offsets_changes_nothing() {
    differs!(Runc, "writes it, which the kernel refuses");
    let before = uptime();
    let report = probe_report(&in_time_namespace(json!({})));
    let seen = report["clock_monotonic"].as_i64().unwrap();
    assert!((before..=uptime()).contains(&seen), "{seen}");
}
