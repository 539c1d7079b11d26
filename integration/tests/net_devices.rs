//! linux.netDevices: devices of the host that move into the container.

use integration::{Bundle, Call, Value, differs, json, probe_report};
use std::sync::atomic::{AtomicU32, Ordering};

/// Runtimes that do not know this property of version 1.3 of the specification.
macro_rules! known {
    () => {
        differs!(Runc < (1, 4), "from a newer specification");
        differs!(Crun < (1, 23), "from a newer specification");
    };
}

/// A pair of connected devices on the host, with names of their own. It goes when this is dropped.
struct Veth<'b> {
    bundle: &'b Bundle,
    device: String,
    peer: String,
}

impl<'b> Veth<'b> {
    fn new(bundle: &'b Bundle) -> Veth<'b> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let number = format!("{:x}{count}", std::process::id());
        let veth = Veth {
            bundle,
            device: format!("vd{number}"),
            peer: format!("vp{number}"),
        };
        veth.ip(&[
            "link",
            "add",
            &veth.device,
            "type",
            "veth",
            "peer",
            "name",
            &veth.peer,
        ]);
        veth
    }

    /// `ip` with these words, expected to succeed.
    fn ip(&self, words: &[&str]) {
        Call::of("ip", &self.bundle.home().join("io"))
            .args(words)
            .run()
            .ok();
    }

    /// Gives the device an address.
    fn address(&self, words: &[&str]) {
        self.ip(&[&["address", "add", "dev", &self.device], words].concat());
    }

    /// Puts it into the config, with this name in the container.
    fn give(&self, name: Option<&str>) {
        let device = name.map_or(json!({}), |name| json!({"name": name}));
        self.bundle
            .set(&format!("/linux/netDevices/{}", self.device), device);
    }

    fn is_on_host(&self) -> bool {
        std::path::Path::new("/sys/class/net")
            .join(&self.device)
            .exists()
    }
}

impl Drop for Veth<'_> {
    fn drop(&mut self) {
        // Gone already where the container that had the other half is gone.
        Call::of("ip", &self.bundle.home().join("io"))
            .args(["link", "delete", &self.peer])
            .run();
    }
}

/// The names of the interfaces in a report.
fn names(report: &Value) -> Vec<&str> {
    report["network"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// The addresses of an interface in a report, without those that the kernel makes.
fn addresses<'r>(report: &'r Value, name: &str) -> Vec<&'r str> {
    let all = report["network"][name]["addresses"]
        .as_array()
        .unwrap()
        .iter();
    all.map(|a| a.as_str().unwrap())
        .filter(|a| !a.starts_with("fe80"))
        .collect()
}

#[test]
fn a_device_moves_and_keeps_its_name() {
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.give(None);
    let report = probe_report(&bundle);
    assert!(names(&report).contains(&veth.device.as_str()), "{report}");
    assert_eq!(report["network"][&veth.device]["up"], true);
    assert_eq!(report["network"]["lo"]["up"], true);
}

#[test]
fn a_device_gets_a_new_name() {
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.give(Some("eth0"));
    let report = probe_report(&bundle);
    assert!(names(&report).contains(&"eth0"), "{report}");
    assert!(!names(&report).contains(&veth.device.as_str()), "{report}");
}

#[test]
fn a_moved_device_is_gone_from_the_host() {
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.give(Some("eth0"));
    let c = bundle.container();
    assert!(veth.is_on_host());
    c.create();
    assert!(!veth.is_on_host());
    c.start();
}

#[test]
fn global_addresses_go_along() {
    differs!(Crun, "IPv4 addresses are lost");
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.address(&["10.11.12.13/24"]);
    veth.address(&["10.11.14.15/16"]);
    veth.address(&["fd00:1::2/64", "nodad"]);
    veth.give(Some("eth0"));
    let report = probe_report(&bundle);
    let mut found = addresses(&report, "eth0");
    found.sort_unstable();
    assert_eq!(found, ["10.11.12.13/24", "10.11.14.15/16", "fd00:1::2/64"]);
}

#[test]
fn addresses_of_a_device_that_is_up_go_along() {
    known!();
    differs!(Runc | Crun, "taking it down costs it its IPv6 addresses");
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.address(&["10.11.12.13/24"]);
    veth.address(&["fd00:1::2/64", "nodad"]);
    veth.ip(&["link", "set", &veth.device, "up"]);
    veth.ip(&["link", "set", &veth.peer, "up"]);
    veth.give(None);
    let report = probe_report(&bundle);
    let mut found = addresses(&report, &veth.device);
    found.sort_unstable();
    assert_eq!(found, ["10.11.12.13/24", "fd00:1::2/64"]);
}

#[test]
fn addresses_for_the_host_alone_stay() {
    differs!(Crun, "IPv4 addresses are lost");
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.address(&["10.11.12.13/24", "scope", "link"]);
    veth.address(&["10.11.14.15/24"]);
    veth.give(Some("eth0"));
    let report = probe_report(&bundle);
    assert_eq!(addresses(&report, "eth0"), ["10.11.14.15/24"]);
}

#[test]
fn the_hardware_address_and_mtu_stay() {
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.ip(&[
        "link",
        "set",
        &veth.device,
        "address",
        "02:00:00:12:34:56",
        "mtu",
        "1400",
    ]);
    veth.give(Some("eth0"));
    let report = probe_report(&bundle);
    assert_eq!(report["network"]["eth0"]["mtu"], 1400);
    assert_eq!(report["network"]["eth0"]["mac"], "02:00:00:12:34:56");
}

#[test]
fn several_devices_move() {
    known!();
    let bundle = Bundle::new();
    let (one, two) = (Veth::new(&bundle), Veth::new(&bundle));
    one.give(Some("eth0"));
    two.give(Some("eth1"));
    let report = probe_report(&bundle);
    assert_eq!(names(&report), ["eth0", "eth1", "lo"]);
}

#[test]
fn a_packet_gets_through() {
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.address(&["10.77.0.2/24"]);
    veth.ip(&["address", "add", "10.77.0.1/24", "dev", &veth.peer]);
    veth.ip(&["link", "set", &veth.peer, "up"]);
    veth.give(Some("eth0"));
    let listener = std::net::TcpListener::bind("10.77.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    bundle.args(&[
        "/bin/sh",
        "-c",
        &format!("echo hello | nc 10.77.0.1 {port}"),
    ]);
    let c = bundle.container();
    let run = c.spawn_run();
    let (mut stream, _) = listener.accept().unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
    drop(stream);
    run.wait();
    assert_eq!(text, "hello\n");
}

#[test]
fn devices_move_into_a_network_that_is_joined() {
    differs!(Crun, "IPv4 addresses are lost");
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    let name = format!("vj{}", std::process::id());
    veth.ip(&["netns", "add", &name]);
    bundle.namespace(json!({"type": "network", "path": format!("/run/netns/{name}")}));
    veth.address(&["10.11.12.13/24"]);
    veth.give(Some("eth0"));
    let report = probe_report(&bundle);
    veth.ip(&["netns", "delete", &name]);
    assert_eq!(addresses(&report, "eth0"), ["10.11.12.13/24"]);
    assert_eq!(report["network"]["eth0"]["up"], true);
}

#[test]
fn devices_move_into_a_user_namespace() {
    differs!(Crun, "IPv4 addresses are lost");
    known!();
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", mapping.clone());
    bundle.set("/linux/gidMappings", mapping);
    let veth = Veth::new(&bundle);
    veth.address(&["10.11.12.13/24"]);
    veth.give(Some("eth0"));
    let report = probe_report(&bundle);
    assert_eq!(addresses(&report, "eth0"), ["10.11.12.13/24"]);
}

#[test]
fn a_hook_sees_the_device_in_the_container() {
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.give(Some("eth0"));
    let file = bundle.home().join("io/links");
    let script = format!("ip -o link show eth0 > {}", file.display());
    bundle.set(
        "/hooks/createContainer",
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]),
    );
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run().ok();
    assert!(std::fs::read_to_string(file).unwrap().contains("eth0"));
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    known!();
    let bundle = Bundle::new();
    bundle.set("/linux/netDevices/nodev0", json!({}));
    bundle.container().run().fails().says("nodev0");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_name_that_is_taken_in_the_container_is_an_error() {
    differs!(Crun, "the device is lost");
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.give(Some("lo"));
    bundle.container().run().fails();
    assert!(veth.is_on_host());
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn bad_names_are_refused() {
    differs!(Crun, "the device is moved before its new name is looked at");
    known!();
    for name in ["a/b", "a b", "..", "0123456789abcdef", "a:b"] {
        let bundle = Bundle::new();
        let veth = Veth::new(&bundle);
        veth.give(Some(name));
        bundle.container().run().fails();
        assert!(veth.is_on_host(), "{name}");
    }
}

#[test]
fn two_devices_with_one_name_are_refused() {
    known!();
    let bundle = Bundle::new();
    let (one, two) = (Veth::new(&bundle), Veth::new(&bundle));
    one.give(Some("eth0"));
    two.give(Some("eth0"));
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn without_a_network_of_its_own_no_device_can_move() {
    differs!(Crun, "it goes on");
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.give(Some("eth0"));
    bundle.without_namespace("network");
    bundle.container().run().fails();
    assert!(veth.is_on_host());
}

#[test]
fn the_hosts_network_by_path_is_refused() {
    differs!(Crun, "it goes on");
    known!();
    let bundle = Bundle::new();
    let veth = Veth::new(&bundle);
    veth.give(Some("eth0"));
    bundle.namespace(json!({"type": "network", "path": "/proc/1/ns/net"}));
    bundle.container().run().fails();
    assert!(veth.is_on_host());
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn features_tell_of_net_devices() {
    known!();
    let bundle = Bundle::new();
    let features = bundle.bare_call().arg("features").run().ok().json();
    assert_eq!(features["linux"]["netDevices"]["enabled"], true);
}
