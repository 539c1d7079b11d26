//! Propagation: options of a mount, linux.rootfsPropagation, and what then travels between host and container.

use integration::{Bundle, HostMount, Value, differs, find_mount, json, mount_at, probe_report};
use std::fs;
use std::path::Path;

/// `shared`, `slave` or `private` etc., as mountinfo tells.
fn propagation(mount: &Value) -> String {
    let fields = mount["propagation"].as_array().unwrap();
    let words = fields.iter().filter_map(|field| {
        let word = field.as_str()?.split(':').next()?;
        match word {
            "shared" => Some("shared"),
            "master" => Some("slave"),
            "unbindable" => Some("unbindable"),
            _ => None,
        }
    });
    let words: Vec<&str> = words.collect();
    if words.is_empty() {
        return "private".to_string();
    }
    words.join("+")
}

/// The propagation of a bind mount of a private source with this option, and of a mount below it.
fn bound(option: &str) -> (String, String) {
    let bundle = Bundle::new();
    let host = HostMount::tmpfs(&bundle.home().join("source"));
    let _below = HostMount::tmpfs(&bundle.home().join("source/below"));
    bundle.mount(
        json!({"destination": "/mnt", "type": "bind", "source": host.path(),
        "options": ["rbind", option]}),
    );
    let report = probe_report(&bundle);
    (
        propagation(mount_at(&report, "/mnt")),
        propagation(mount_at(&report, "/mnt/below")),
    )
}

fn pair(one: &str, two: &str) -> (String, String) {
    (one.to_string(), two.to_string())
}

#[test]
fn a_mount_is_private_by_default() {
    let report = probe_report(&Bundle::new());
    for path in ["/", "/proc", "/dev"] {
        assert_eq!(propagation(mount_at(&report, path)), "private", "{path}");
    }
}

#[test]
fn shared() {
    differs!(
        Crun,
        "without rootfsPropagation it makes everything private at the end"
    );
    assert_eq!(bound("shared"), pair("shared", "private"));
}

#[test]
fn rshared() {
    differs!(
        Crun,
        "without rootfsPropagation it makes everything private at the end"
    );
    assert_eq!(bound("rshared"), pair("shared", "shared"));
}

#[test]
fn private_and_rprivate() {
    for option in ["private", "rprivate"] {
        assert_eq!(bound(option), pair("private", "private"), "{option}");
    }
}

#[test]
fn slave_of_a_private_mount_is_private() {
    for option in ["slave", "rslave"] {
        assert_eq!(bound(option), pair("private", "private"), "{option}");
    }
}

#[test]
fn unbindable() {
    differs!(
        Crun,
        "without rootfsPropagation it makes everything private at the end"
    );
    assert_eq!(bound("unbindable"), pair("unbindable", "private"));
}

#[test]
fn runbindable() {
    differs!(
        Crun,
        "without rootfsPropagation it makes everything private at the end"
    );
    assert_eq!(bound("runbindable"), pair("unbindable", "unbindable"));
}

#[test]
fn a_fresh_file_system_takes_a_propagation_too() {
    differs!(
        Crun,
        "without rootfsPropagation it makes everything private at the end"
    );
    let bundle = Bundle::new();
    bundle.mount(
        json!({"destination": "/mnt", "type": "tmpfs", "source": "t",
        "options": ["shared"]}),
    );
    let report = probe_report(&bundle);
    assert_eq!(propagation(mount_at(&report, "/mnt")), "shared");
}

#[test]
fn a_slave_of_a_shared_mount_receives_from_the_host() {
    differs!(
        Crun,
        "without rootfsPropagation it makes everything private at the end"
    );
    let bundle = Bundle::new();
    let host = HostMount::tmpfs(&bundle.home().join("source"));
    host.propagation("shared");
    bundle.mount(
        json!({"destination": "/mnt", "type": "bind", "source": host.path(),
        "options": ["rbind", "rslave"]}),
    );
    let c = bundle.container();
    c.run_detached();
    fs::create_dir(host.path().join("later")).unwrap();
    let later = HostMount::tmpfs(&host.path().join("later"));
    fs::write(later.path().join("file"), "arrived").unwrap();
    let read = c.exec(&["/probe", "read", "/mnt/later/file"]);
    assert_eq!(read.ok().stdout, "arrived");
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(propagation(mount_at(&report, "/mnt")), "slave");
}

#[test]
fn a_private_mount_of_a_shared_one_receives_nothing() {
    let bundle = Bundle::new();
    let host = HostMount::tmpfs(&bundle.home().join("source"));
    host.propagation("shared");
    bundle.mount(
        json!({"destination": "/mnt", "type": "bind", "source": host.path(),
        "options": ["rbind", "rprivate"]}),
    );
    let c = bundle.container();
    c.run_detached();
    let _later = HostMount::tmpfs(&host.path().join("later"));
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(propagation(mount_at(&report, "/mnt")), "private");
    assert!(find_mount(&report, "/mnt/later").is_none());
}

/// A container that may mount, with a shared mount of the host at /mnt; whether its mount there reaches the host.
fn mount_inside_reaches_host(option: &str) -> bool {
    let bundle = Bundle::new();
    let host = HostMount::tmpfs(&bundle.home().join("source"));
    host.propagation("shared");
    fs::create_dir(host.path().join("inside")).unwrap();
    bundle.mount(
        json!({"destination": "/mnt", "type": "bind", "source": host.path(),
        "options": ["rbind", option]}),
    );
    bundle.set(
        "/linux/rootfsPropagation",
        json!(if option == "rshared" {
            "shared"
        } else {
            "rslave"
        }),
    );
    bundle.capabilities(&["CAP_SYS_ADMIN"]);
    let c = bundle.container();
    c.run_detached();
    let words = [
        "/probe",
        "try",
        "mount",
        "t",
        "/mnt/inside",
        "tmpfs",
        "",
        "",
    ];
    assert_eq!(c.exec(&words).ok().stdout, "ok\n");
    let arrived = is_mount(&host.path().join("inside"));
    if arrived {
        assert_eq!(
            c.exec(&["/probe", "try", "umount", "/mnt/inside"])
                .ok()
                .stdout,
            "ok\n"
        );
        assert!(!is_mount(&host.path().join("inside")));
    }
    arrived
}

fn is_mount(path: &Path) -> bool {
    integration::mounts_under(path)
        .iter()
        .any(|mount| mount == path)
}

#[test]
fn mounts_in_a_shared_mount_reach_the_host() {
    assert!(mount_inside_reaches_host("rshared"));
}

#[test]
fn mounts_in_a_slave_do_not_reach_the_host() {
    assert!(!mount_inside_reaches_host("rslave"));
}

#[test]
fn nothing_that_is_mounted_for_a_container_reaches_the_host() {
    for word in ["", "shared", "rshared", "slave", "private"] {
        let bundle = Bundle::new();
        let host = HostMount::of(&bundle.dir());
        host.propagation("shared");
        bundle.set("/linux/rootfsPropagation", json!(word));
        let c = bundle.container();
        c.run_detached();
        let mounts = integration::mounts_under(&bundle.home().join("bundle/rootfs"));
        assert!(mounts.is_empty(), "{word}: {mounts:?}");
        c.delete_force().ok();
    }
}

/// The root's propagation with this value of rootfsPropagation, when the host's mount under it is shared or private.
fn root_with(word: &str, host: &str) -> String {
    let bundle = Bundle::new();
    let mount = HostMount::of(&bundle.dir());
    mount.propagation(host);
    bundle.set("/linux/rootfsPropagation", json!(word));
    let report = probe_report(&bundle);
    propagation(mount_at(&report, "/"))
}

#[test]
fn a_shared_root() {
    differs!(Runc < (1, 3), "the root stays private");
    assert_eq!(root_with("shared", "private"), "shared");
    assert_eq!(root_with("rshared", "private"), "shared");
}

#[test]
fn a_private_root() {
    for word in ["private", "rprivate"] {
        assert_eq!(root_with(word, "shared"), "private", "{word}");
    }
}

#[test]
fn a_slave_root_is_not_one_of_the_hosts_mount() {
    for word in ["slave", "rslave"] {
        assert_eq!(root_with(word, "shared"), "private", "{word}");
    }
}

#[test]
fn an_unbindable_root() {
    differs!(Runc < (1, 3), "the root stays private");
    assert_eq!(root_with("unbindable", "private"), "unbindable");
}

#[test]
fn a_runbindable_root() {
    differs!(
        Runc | Crun,
        "it cannot mount any more once the mounts are unbindable"
    );
    let bundle = Bundle::new();
    bundle.set("/linux/rootfsPropagation", json!("runbindable"));
    let report = probe_report(&bundle);
    for path in ["/", "/proc", "/dev"] {
        assert_eq!(propagation(mount_at(&report, path)), "unbindable", "{path}");
    }
}

#[test]
fn mounts_of_the_host_stay_when_the_old_root_goes() {
    for word in ["", "shared", "rshared", "private"] {
        let bundle = Bundle::new();
        let outer = HostMount::tmpfs(&bundle.home().join("outer"));
        outer.propagation("shared");
        let inner = HostMount::tmpfs(&outer.path().join("inner"));
        bundle.set("/linux/rootfsPropagation", json!(word));
        probe_report(&bundle);
        assert!(is_mount(inner.path()), "{word}");
    }
}

#[test]
fn mounts_of_the_host_stay_when_there_is_no_pivot() {
    differs!(
        Runc | Crun,
        "with a shared root it unmounts the host's procfs"
    );
    for word in ["", "shared", "rshared"] {
        let bundle = Bundle::new();
        let outer = HostMount::tmpfs(&bundle.home().join("outer"));
        outer.propagation("shared");
        let proc = HostMount::new("proc", &outer.path().join("proc"), "proc", "");
        bundle.set("/linux/rootfsPropagation", json!(word));
        bundle.args(&["/bin/true"]);
        let output = bundle.container().call("run", &["--no-pivot"]).run();
        assert!(is_mount(proc.path()), "{word}: {}", output.describe());
    }
}

#[test]
fn a_propagation_that_does_not_exist_is_an_error() {
    differs!(Crun, "it takes any word");
    let bundle = Bundle::new();
    bundle.set("/linux/rootfsPropagation", json!("sideways"));
    bundle.container().run().fails().says("propagation");
}
