//! linux.sysctl: what may be set, and in whose namespace.

use integration::{Bundle, Output, differs, json};

/// Runs a container with this setting that prints the file.
fn set_and_read(key: &str, value: &str, file: &str) -> Output {
    let bundle = Bundle::new();
    bundle.set("/linux/sysctl", json!({key: value}));
    bundle.args(&["/bin/cat", &format!("/proc/sys/{file}")]);
    bundle.container().run()
}

/// Runs a container with this setting in a config that `change` has changed; it must fail.
#[track_caller]
fn refused(key: &str, change: impl FnOnce(&Bundle)) -> Output {
    let bundle = Bundle::new();
    bundle.set("/linux/sysctl", json!({key: "1"}));
    bundle.args(&["/probe", "exit", "0"]);
    change(&bundle);
    let output = bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
    output
}

fn host(file: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/{file}")).unwrap()
}

#[test]
fn a_net_setting_is_set() {
    let file = "net/ipv4/ip_unprivileged_port_start";
    let before = host(file);
    let output = set_and_read("net.ipv4.ip_unprivileged_port_start", "77", file);
    assert_eq!(output.ok().stdout, "77\n");
    assert_eq!(host(file), before);
}

#[test]
fn slashes_separate_as_well() {
    let output = set_and_read("net/ipv4/ip_forward", "1", "net/ipv4/ip_forward");
    assert_eq!(output.ok().stdout, "1\n");
}

#[test]
fn a_dot_in_an_interface_is_a_slash_in_the_key() {
    differs!(Crun, "takes every dot for a separator");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let key = "net.ipv4.conf.no/such.forwarding";
    bundle.set("/linux/sysctl", json!({key: "1"}));
    let output = bundle.container().run().fails();
    differs!(Runc, "turns every dot into a slash when it writes");
    output.says("net/ipv4/conf/no.such/forwarding");
}

#[test]
fn ipc_settings_are_set() {
    for (key, value, file) in [
        ("kernel.msgmax", "9000", "kernel/msgmax"),
        ("kernel.shmmni", "77", "kernel/shmmni"),
        ("kernel.shm_rmid_forced", "1", "kernel/shm_rmid_forced"),
        ("fs.mqueue.msg_max", "7", "fs/mqueue/msg_max"),
    ] {
        let before = host(file);
        assert_eq!(set_and_read(key, value, file).ok().stdout.trim(), value);
        assert_eq!(host(file), before, "{key}");
    }
}

#[test]
fn kernel_sem_takes_its_four_numbers() {
    let output = set_and_read("kernel.sem", "100 2000 30 40", "kernel/sem");
    assert_eq!(output.ok().stdout, "100\t2000\t30\t40\n");
}

#[test]
fn kernel_domainname_is_set() {
    let output = set_and_read("kernel.domainname", "here.test", "kernel/domainname");
    assert_eq!(output.ok().stdout, "here.test\n");
}

#[test]
fn several_are_set() {
    let bundle = Bundle::new();
    let settings =
        json!({"net.ipv4.ip_forward": "1", "kernel.msgmnb": "5000", "kernel.shmmni": "9"});
    bundle.set("/linux/sysctl", settings);
    bundle.args(&[
        "/probe",
        "read",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/kernel/msgmnb",
        "/proc/sys/kernel/shmmni",
    ]);
    assert_eq!(bundle.container().run().ok().stdout, "1\n5000\n9\n");
}

#[test]
fn a_user_setting_is_set_in_a_user_namespace() {
    differs!(Runc | Crun, "refuse all of user.*");
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 2000}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    bundle.set("/linux/sysctl", json!({"user.max_uts_namespaces": "3"}));
    bundle.args(&["/bin/cat", "/proc/sys/user/max_uts_namespaces"]);
    assert_eq!(bundle.container().run().ok().stdout, "3\n");
}

#[test]
fn a_user_setting_needs_a_user_namespace() {
    let key = "user.max_uts_namespaces";
    refused(key, |_| ()).says_or_crun("not in a separate kernel namespace", "namespace");
}

#[test]
fn hostname_has_a_property_of_its_own() {
    refused("kernel.hostname", |_| ()).says("conflicts with");
}

#[test]
fn what_is_the_hosts_is_refused() {
    for key in [
        "kernel.panic",
        "vm.swappiness",
        "kernel/core_pattern",
        "fs.file-max",
    ] {
        refused(key, |_| ())
            .says_or_crun("is not in a separate kernel namespace", "not namespaced");
    }
}

#[test]
fn a_net_setting_needs_a_network_namespace() {
    refused("net.ipv4.ip_forward", |b| b.without_namespace("network")).says_or_crun(
        "not allowed in host network namespace",
        "requires a new network namespace",
    );
}

#[test]
fn a_joined_network_namespace_that_is_the_hosts_does_not_count() {
    differs!(Crun, "does not look at which namespace it is");
    refused("net.ipv4.ip_forward", |b| {
        b.namespace(json!({"type": "network", "path": "/proc/self/ns/net"}));
    })
    .says("not allowed in host network namespace");
}

#[test]
fn a_net_setting_is_set_in_a_joined_network_namespace() {
    let bundle = Bundle::new();
    let first = bundle.container_named("first");
    first.run_detached();
    let path = format!("/proc/{}/ns/net", first.pid());
    bundle.namespace(json!({"type": "network", "path": path}));
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
    bundle.args(&["/bin/cat", "/proc/sys/net/ipv4/ip_forward"]);
    let second = bundle.container_named("second");
    assert_eq!(second.run().ok().stdout, "1\n");
    let seen = first.exec(&["/bin/cat", "/proc/sys/net/ipv4/ip_forward"]);
    assert_eq!(seen.ok().stdout, "1\n");
}

#[test]
fn an_ipc_setting_needs_an_ipc_namespace() {
    for key in ["kernel.msgmax", "fs.mqueue.msg_max"] {
        refused(key, |b| b.without_namespace("ipc")).says_or_crun(
            "is not allowed in the hosts ipc namespace",
            "requires a new IPC namespace",
        );
    }
}

#[test]
fn domainname_needs_a_uts_namespace() {
    refused("kernel.domainname", |b| {
        b.without_namespace("uts");
        b.remove("/hostname");
    })
    .says_or_crun("is not in a separate kernel namespace", "UTS namespace");
}

#[test]
fn a_key_that_leads_out_of_its_directory_is_refused() {
    let before = host("kernel/panic");
    for key in [
        "net/../kernel/panic",
        "net.//.kernel.panic",
        "net/ipv4/../../kernel/panic",
    ] {
        refused(key, |_| ());
    }
    assert_eq!(host("kernel/panic"), before);
}

#[test]
fn a_missing_setting_is_an_error_that_names_it() {
    refused("net.no_such_thing", |_| ()).says("no_such_thing");
}

#[test]
fn a_value_that_the_kernel_refuses_is_an_error() {
    let bundle = Bundle::new();
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "nonsense"}));
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run().fails().says("ip_forward");
}

#[test]
fn an_empty_list_changes_nothing() {
    let bundle = Bundle::new();
    bundle.set("/linux/sysctl", json!({}));
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run().ok();
}

#[test]
fn a_value_that_is_no_text_is_refused() {
    differs!(Crun, "takes numbers for text");
    let bundle = Bundle::new();
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": 1}));
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run().fails();
}
