//! linux.namespaces: new ones, the host's, and those joined by path.

use integration::{Bundle, Call, Container, Value, differs, json, probe_report};
use std::fs;
use std::os::unix::fs::MetadataExt;

const NO_FLAGS: &[&str] = &[];

/// The names of a kind in config.json and in /proc/PID/ns.
const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

/// The file of a kind in /proc/PID/ns.
fn file(kind: &str) -> &'static str {
    KINDS.iter().find(|(name, _)| *name == kind).unwrap().1
}

/// The number of a process's namespace.
fn number(pid: &str, kind: &str) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/{}", file(kind)))
        .unwrap()
        .ino()
}

/// Asserts that a new namespace of this kind is not the host's.
fn is_new(bundle: &Bundle, kind: &str) {
    let report = probe_report(bundle);
    assert!(report["namespaces"][file(kind)].is_u64());
    assert_ne!(
        report["namespaces"][file(kind)],
        number("self", kind),
        "{kind}"
    );
}

/// Asserts that without this kind in the list the container has the host's.
fn is_hosts(kind: &str) {
    let bundle = Bundle::new();
    bundle.without_namespace(kind);
    if kind == "uts" {
        bundle.remove("/hostname");
    }
    let report = probe_report(&bundle);
    assert_eq!(
        report["namespaces"][file(kind)],
        number("self", kind),
        "{kind}"
    );
}

/// Runs a holder, lets another container join its namespace of this kind, and gives that one's report.
fn joined(kind: &str, change: impl Fn(&Bundle)) -> (Value, u64) {
    let holder = Bundle::new();
    change(&holder);
    let h = holder.container();
    h.run_detached();
    let path = format!("/proc/{}/ns/{}", h.pid(), file(kind));
    let bundle = Bundle::new();
    change(&bundle);
    bundle.namespace(json!({"type": kind, "path": path}));
    let report = probe_report(&bundle);
    (report, number(&h.pid().to_string(), kind))
}

/// Asserts that a namespace of this kind can be joined.
fn can_be_joined(kind: &str) -> Value {
    let (report, holder) = joined(kind, |_| ());
    assert_eq!(report["namespaces"][file(kind)], holder, "{kind}");
    assert_ne!(holder, number("self", kind), "{kind}");
    report
}

#[test]
fn a_new_pid_namespace_has_the_process_as_its_first() {
    let bundle = Bundle::new();
    is_new(&bundle, "pid");
    assert_eq!(probe_report(&bundle)["pid"], 1);
}

#[test]
fn a_new_network_namespace_is_new() {
    is_new(&Bundle::new(), "network");
}

#[test]
fn a_new_mount_namespace_is_new() {
    is_new(&Bundle::new(), "mount");
}

#[test]
fn a_new_ipc_namespace_is_new() {
    is_new(&Bundle::new(), "ipc");
}

#[test]
fn a_new_uts_namespace_is_new_and_its_name_stays_in_it() {
    let bundle = Bundle::new();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    bundle.set("/hostname", json!("inside"));
    is_new(&bundle, "uts");
    assert_eq!(probe_report(&bundle)["hostname"], "inside");
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        before
    );
}

#[test]
fn a_new_cgroup_namespace_has_its_root_at_the_container() {
    let bundle = Bundle::new();
    is_new(&bundle, "cgroup");
    assert_eq!(probe_report(&bundle)["cgroup"], "/");
}

#[test]
fn a_new_user_namespace_is_new() {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", mapping.clone());
    bundle.set("/linux/gidMappings", mapping);
    is_new(&bundle, "user");
}

#[test]
fn a_new_time_namespace_is_new() {
    differs!(Runc < (1, 2), "no time namespaces");
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "time"}));
    is_new(&bundle, "time");
}

#[test]
fn without_a_pid_namespace_the_container_has_the_hosts() {
    is_hosts("pid");
}

#[test]
fn without_a_network_namespace_the_container_has_the_hosts() {
    is_hosts("network");
}

#[test]
fn without_an_ipc_namespace_the_container_has_the_hosts() {
    is_hosts("ipc");
}

#[test]
fn without_a_uts_namespace_the_container_has_the_hosts() {
    is_hosts("uts");
}

#[test]
fn without_a_cgroup_namespace_the_container_has_the_hosts() {
    is_hosts("cgroup");
}

#[test]
fn without_a_user_or_time_namespace_the_container_has_the_hosts() {
    let report = probe_report(&Bundle::new());
    for kind in ["user", "time"] {
        assert_eq!(
            report["namespaces"][file(kind)],
            number("self", kind),
            "{kind}"
        );
    }
}

#[test]
fn a_container_without_a_mount_namespace_is_refused() {
    differs!(Crun, "it goes on");
    let bundle = Bundle::new();
    bundle.without_namespace("mount");
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_network_namespace_can_be_joined() {
    can_be_joined("network");
}

#[test]
fn an_ipc_namespace_can_be_joined() {
    can_be_joined("ipc");
}

#[test]
fn a_uts_namespace_can_be_joined_with_its_name() {
    let (report, _) = joined("uts", |bundle| bundle.set("/hostname", json!("held")));
    assert_eq!(report["hostname"], "held");
}

#[test]
fn a_cgroup_namespace_can_be_joined() {
    can_be_joined("cgroup");
}

#[test]
fn a_pid_namespace_can_be_joined() {
    let report = can_be_joined("pid");
    assert_ne!(report["pid"], 1);
}

#[test]
fn a_time_namespace_can_be_joined() {
    differs!(Crun, "it dies");
    differs!(Runc < (1, 2), "no time namespaces");
    let holder = Bundle::new();
    holder.namespace(json!({"type": "time"}));
    let h = holder.container();
    h.run_detached();
    let bundle = Bundle::new();
    let path = format!("/proc/{}/ns/time", h.pid());
    bundle.namespace(json!({"type": "time", "path": path}));
    let report = probe_report(&bundle);
    assert_eq!(
        report["namespaces"]["time"],
        number(&h.pid().to_string(), "time")
    );
}

#[test]
fn several_namespaces_can_be_joined_at_once() {
    let holder = Bundle::new();
    let h = holder.container();
    h.run_detached();
    let pid = h.pid().to_string();
    let bundle = Bundle::new();
    for kind in ["pid", "network", "ipc", "uts"] {
        bundle.namespace(json!({"type": kind, "path": format!("/proc/{pid}/ns/{}", file(kind))}));
    }
    let report = probe_report(&bundle);
    for kind in ["pid", "network", "ipc", "uts"] {
        assert_eq!(
            report["namespaces"][file(kind)],
            number(&pid, kind),
            "{kind}"
        );
    }
}

#[test]
fn two_containers_that_share_ipc_and_network_leave_each_other_alone() {
    let holder = Bundle::new();
    let h = holder.container();
    h.run_detached();
    let bundle = Bundle::new();
    for kind in ["network", "ipc"] {
        let path = format!("/proc/{}/ns/{}", h.pid(), file(kind));
        bundle.namespace(json!({"type": kind, "path": path}));
    }
    let c = bundle.container();
    c.run_detached();
    c.delete_force().ok();
    assert_eq!(h.status(), "running");
}

#[test]
fn the_end_of_a_joined_pid_namespace_ends_the_container() {
    let holder = Bundle::new();
    let h = holder.container();
    h.run_detached();
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "pid", "path": format!("/proc/{}/ns/pid", h.pid())}));
    let c = bundle.container();
    c.run_detached();
    h.kill("KILL").ok();
    c.wait_stopped();
}

#[test]
fn a_kept_namespace_file_can_be_joined() {
    let bundle = Bundle::new();
    let name = format!("vz{}", std::process::id());
    let ip = |args: &[&str]| Call::of("ip", &bundle.home().join("io")).args(args).run();
    ip(&["netns", "add", &name]).ok();
    let path = format!("/run/netns/{name}");
    bundle.namespace(json!({"type": "network", "path": path}));
    let report = probe_report(&bundle);
    let expected = fs::metadata(&path).unwrap().ino();
    ip(&["netns", "delete", &name]).ok();
    assert_eq!(report["namespaces"]["net"], expected);
}

#[test]
fn a_path_that_is_not_there_is_an_error() {
    differs!(Crun, "it leaves the cgroup behind");
    for kind in ["network", "pid", "user"] {
        let bundle = Bundle::new();
        bundle.namespace(json!({"type": kind, "path": "/no/such/namespace"}));
        bundle
            .container()
            .run()
            .fails()
            .says("no such file or directory");
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn a_path_of_another_kind_is_an_error() {
    differs!(Crun, "it leaves the cgroup behind");
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "network", "path": "/proc/self/ns/uts"}));
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_path_that_is_no_namespace_is_an_error() {
    differs!(Crun, "it leaves the cgroup behind");
    let bundle = Bundle::new();
    let path = bundle.write("/etc/file", "");
    bundle.namespace(json!({"type": "network", "path": path}));
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_kind_twice_is_refused() {
    differs!(Crun, "the last one counts");
    let bundle = Bundle::new();
    bundle.push("/linux/namespaces", json!({"type": "ipc"}));
    bundle.container().run().fails().says("duplicate");
}

#[test]
fn an_unknown_kind_is_refused() {
    differs!(Crun, "it leaves the cgroup behind");
    let bundle = Bundle::new();
    bundle.push("/linux/namespaces", json!({"type": "weather"}));
    bundle
        .container()
        .run()
        .fails()
        .says_any(&["weather", "namespace"]);
}

#[test]
fn exec_joins_all_namespaces_of_the_container() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    for (kind, file) in KINDS {
        let number = number(&c.pid().to_string(), kind);
        assert_eq!(report["namespaces"][file], number, "{kind}");
    }
}

#[test]
fn exec_joins_those_that_the_container_has_joined() {
    let holder = Bundle::new();
    let h = holder.container();
    h.run_detached();
    let bundle = Bundle::new();
    for kind in ["network", "ipc", "pid"] {
        let path = format!("/proc/{}/ns/{}", h.pid(), file(kind));
        bundle.namespace(json!({"type": kind, "path": path}));
    }
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    for kind in ["network", "ipc", "pid"] {
        let number = number(&h.pid().to_string(), kind);
        assert_eq!(report["namespaces"][file(kind)], number, "{kind}");
    }
}

#[test]
fn processes_of_the_host_are_not_in_sight() {
    let bundle = Bundle::new();
    bundle.args(&["/bin/sh", "-c", "ls -d /proc/[0-9]*"]);
    let stdout = bundle.container().run().ok().stdout;
    assert!(stdout.lines().count() <= 2, "{stdout}");
}

/// The pids that `ps` of the runtime tells.
fn pids(c: &Container) -> Vec<i64> {
    let list = c.call("ps", &["--format", "json"]).run().ok().json();
    list.as_array()
        .unwrap()
        .iter()
        .map(|pid| pid.as_i64().unwrap())
        .collect()
}

#[test]
fn killing_a_container_without_a_pid_namespace_ends_all_its_processes() {
    differs!(Crun, "it kills the init alone");
    differs!(Runc < (1, 2), "it kills the init alone");
    let bundle = Bundle::new();
    bundle.without_namespace("pid");
    bundle.args(&["/probe", "spawn", "3"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    let pids = pids(&c);
    assert_eq!(pids.len(), 4);
    c.kill("KILL").ok();
    for pid in pids {
        let pid = i32::try_from(pid).unwrap();
        assert!(
            integration::wait_exit(pid, std::time::Duration::from_secs(10)),
            "{pid}"
        );
    }
    c.call("delete", NO_FLAGS).run().ok();
}
