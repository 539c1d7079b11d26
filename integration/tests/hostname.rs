//! hostname and domainname.

use integration::{Bundle, differs, json, probe_report};
use std::fs;

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap()
}

#[test]
fn the_hostname_is_set() {
    let bundle = Bundle::new();
    bundle.set("/hostname", json!("a-name.of-its-own"));
    assert_eq!(probe_report(&bundle)["hostname"], "a-name.of-its-own");
}

#[test]
fn the_hosts_name_stays() {
    let before = host_name();
    let bundle = Bundle::new();
    bundle.set("/hostname", json!("another"));
    probe_report(&bundle);
    assert_eq!(host_name(), before);
}

#[test]
fn the_domainname_is_set() {
    differs!(Runc < (1, 2), "does not know domainname");
    let bundle = Bundle::new();
    bundle.set("/domainname", json!("example.test"));
    assert_eq!(probe_report(&bundle)["domainname"], "example.test");
}

#[test]
fn without_a_hostname_the_hosts_is_inherited() {
    let bundle = Bundle::new();
    bundle.remove("/hostname");
    assert_eq!(probe_report(&bundle)["hostname"], host_name().trim());
}

#[test]
fn an_empty_hostname_is_as_good_as_none() {
    differs!(Crun, "sets the empty name");
    let bundle = Bundle::new();
    bundle.set("/hostname", json!(""));
    assert_eq!(probe_report(&bundle)["hostname"], host_name().trim());
}

#[test]
fn a_hostname_needs_a_uts_namespace() {
    let bundle = Bundle::new();
    bundle.without_namespace("uts");
    bundle.container().run().fails().says_or_crun(
        "unable to set hostname without a private UTS namespace",
        "uts",
    );
    assert_ne!(host_name().trim(), "integration");
}

#[test]
fn a_domainname_needs_a_uts_namespace() {
    differs!(Runc < (1, 2), "does not know domainname");
    let bundle = Bundle::new();
    bundle.without_namespace("uts");
    bundle.remove("/hostname");
    bundle.set("/domainname", json!("x.test"));
    bundle.container().run().fails().says_or_crun(
        "unable to set domainname without a private UTS namespace",
        "uts",
    );
}

#[test]
fn without_both_no_uts_namespace_is_needed() {
    let bundle = Bundle::new();
    bundle.without_namespace("uts");
    bundle.remove("/hostname");
    assert_eq!(probe_report(&bundle)["hostname"], host_name().trim());
}

#[test]
fn names_of_64_bytes_are_the_longest() {
    let bundle = Bundle::new();
    let name = "x".repeat(64);
    bundle.set("/hostname", json!(name));
    assert_eq!(probe_report(&bundle)["hostname"], name);
    bundle.set("/hostname", json!("x".repeat(65)));
    bundle.container().run().fails();
}

#[test]
fn exec_sees_the_hostname() {
    let bundle = Bundle::new();
    bundle.set("/hostname", json!("seen"));
    let c = bundle.container();
    c.run_detached();
    assert_eq!(c.exec(&["/bin/hostname"]).ok().stdout, "seen\n");
}

#[test]
fn a_joined_uts_namespace_gets_the_name() {
    let bundle = Bundle::new();
    let first = bundle.container_named("first");
    first.run_detached();
    let path = format!("/proc/{}/ns/uts", first.pid());
    bundle.namespace(json!({"type": "uts", "path": path}));
    bundle.set("/hostname", json!("joined"));
    assert_eq!(probe_report(&bundle)["hostname"], "joined");
    assert_eq!(first.exec(&["/bin/hostname"]).ok().stdout, "joined\n");
}

#[test]
fn the_container_cannot_change_its_name_without_cap_sys_admin() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "try", "sethostname", "new"]);
    assert_eq!(bundle.container().run().ok().stdout, "EPERM\n");
}

#[test]
fn the_hostname_is_set_in_a_user_namespace() {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 2000}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    bundle.set("/hostname", json!("mapped"));
    assert_eq!(probe_report(&bundle)["hostname"], "mapped");
}
