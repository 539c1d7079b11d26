//! The network of a container: its own loopback, the host's, another's.

use integration::{Bundle, Call, Running, Value, json, probe_report, until};

/// The names of the interfaces in a report.
fn names(report: &Value) -> Vec<&str> {
    report["network"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// A network namespace that is nobody's: a process that sleeps in it.
fn holder(bundle: &Bundle) -> Running {
    let holder = Call::of("unshare", &bundle.home().join("io"))
        .args(["--net", "sh", "-c", "echo up; exec sleep 1000"])
        .spawn();
    until("the holder", || {
        holder.stdout().contains("up").then_some(())
    });
    holder
}

#[test]
fn a_new_network_has_loopback_and_it_is_up() {
    let report = probe_report(&Bundle::new());
    assert_eq!(names(&report), ["lo"]);
    assert_eq!(report["network"]["lo"]["up"], true);
    let addresses = report["network"]["lo"]["addresses"].as_array().unwrap();
    assert!(addresses.contains(&json!("127.0.0.1/8")), "{addresses:?}");
}

#[test]
fn a_connection_over_loopback_works() {
    let bundle = Bundle::new();
    // nc may end with its stdin, before it has read what comes.
    let script = "while :; do echo hello | nc -l -p 4000; done &
        for n in $(seq 50); do said=$(nc 127.0.0.1 4000 </dev/null); test \"$said\" && break; sleep 0.1; done; echo $said";
    bundle.args(&["/bin/sh", "-c", script]);
    assert_eq!(bundle.container().run().ok().stdout, "hello\n");
}

#[test]
fn without_a_network_namespace_the_hosts_interfaces_are_there() {
    let bundle = Bundle::new();
    let name = format!("vzn{}", std::process::id());
    let ip = |args: &[&str]| Call::of("ip", &bundle.home().join("io")).args(args).run();
    ip(&["link", "add", &name, "type", "bridge"]).ok();
    bundle.without_namespace("network");
    let report = probe_report(&bundle);
    let inside = probe_report(&Bundle::new());
    ip(&["link", "delete", &name]).ok();
    assert!(names(&report).contains(&name.as_str()), "{report}");
    assert!(!names(&inside).contains(&name.as_str()), "{inside}");
}

#[test]
fn the_loopback_of_a_joined_network_is_left_as_it_is() {
    let bundle = Bundle::new();
    let holder = holder(&bundle);
    let path = format!("/proc/{}/ns/net", holder.pid());
    bundle.namespace(json!({"type": "network", "path": path}));
    let report = probe_report(&bundle);
    assert_eq!(report["network"]["lo"]["up"], false);
}

#[test]
fn the_interfaces_of_a_joined_network_are_there() {
    let bundle = Bundle::new();
    let holder = holder(&bundle);
    let pid = holder.pid().to_string();
    Call::of("nsenter", &bundle.home().join("io"))
        .args([
            "--net", "--target", &pid, "ip", "link", "add", "br7", "type", "bridge",
        ])
        .run()
        .ok();
    bundle.namespace(json!({"type": "network", "path": format!("/proc/{pid}/ns/net")}));
    let report = probe_report(&bundle);
    assert!(names(&report).contains(&"br7"), "{report}");
}

#[test]
fn sysfs_shows_the_containers_own_interfaces() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "list", "/sys/class/net"]);
    let listed = bundle.container().run().ok().json();
    assert_eq!(listed["/sys/class/net"], json!(["lo"]));
}

#[test]
fn exec_is_in_the_containers_network() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(names(&report), ["lo"]);
    assert_eq!(report["network"]["lo"]["up"], true);
}

#[test]
fn a_port_of_one_container_is_free_in_another() {
    let bundle = Bundle::new();
    bundle.args(&["/bin/sh", "-c", "nc -l -p 4001 & echo ready; wait"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    let other = Bundle::new();
    other.args(&["/probe", "try", "bind", "4001"]);
    assert_eq!(other.container().run().ok().stdout, "ok\n");
}
