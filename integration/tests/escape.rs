//! Ways out of a container that have to stay shut: through descriptors of the runtime, through processes of it that can
//! be looked into, and through numbers that mean something else to the kernel. And what a fence there must not break.

use integration::{Bundle, differs, json, probe_path};
use std::fs;
use std::os::unix::fs::symlink;

/// So many descriptors are tried: the runtime has fewer.
const DESCRIPTORS: std::ops::Range<u32> = 3..24;

/// A link in the image that leads through a descriptor of the runtime to a program of the host.
fn way_out(bundle: &Bundle, fd: u32) -> String {
    let name = format!("/out{fd}");
    let up = "../".repeat(12);
    let probe = probe_path();
    let target = format!("/proc/self/fd/{fd}/{up}{}", probe.display());
    symlink(target, bundle.rootfs(&name)).unwrap();
    name
}

#[test]
fn an_entrypoint_through_a_descriptor_of_the_runtime_is_not_found() {
    let bundle = Bundle::new();
    for fd in DESCRIPTORS {
        let link = way_out(&bundle, fd);
        bundle.args(&[link.as_str(), "exit", "0"]);
        bundle.container().run().fails();
    }
}

#[test]
fn an_interpreter_through_a_descriptor_of_the_runtime_is_not_found() {
    let bundle = Bundle::new();
    for fd in DESCRIPTORS {
        let link = way_out(&bundle, fd);
        let script = format!("/script{fd}");
        let path = bundle.write(&script, format!("#!{link} exit\n"));
        set_mode(&path);
        bundle.args(&[script.as_str()]);
        bundle.container().run().fails();
    }
}

#[test]
fn exec_through_a_descriptor_of_the_runtime_is_not_found() {
    let bundle = Bundle::new();
    let links: Vec<String> = DESCRIPTORS.map(|fd| way_out(&bundle, fd)).collect();
    let container = bundle.container();
    container.run_detached();
    for link in &links {
        container.exec(&[link.as_str(), "exit", "0"]).fails();
    }
}

#[test]
fn a_start_container_hook_through_a_descriptor_of_the_runtime_is_not_found() {
    differs!(
        Runc < (1, 2),
        "its hooks are looked for while its descriptors are open"
    );
    let bundle = Bundle::new();
    for fd in DESCRIPTORS {
        let link = way_out(&bundle, fd);
        bundle.set(
            "/hooks/startContainer",
            json!([{"path": link, "args": ["probe", "exit", "0"]}]),
        );
        bundle.container().run().fails();
    }
}

#[test]
fn the_descriptors_of_a_created_container_cannot_be_seen_by_exec() {
    differs!(Runc < (1, 2), "its init can be looked into");
    let bundle = Bundle::new();
    bundle.capabilities(&["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_KILL"]);
    let container = bundle.container();
    container.create();
    let script = "for fd in /proc/1/fd/*; do readlink $fd; ls $fd/; done 2>/dev/null; \
        cat /proc/1/maps /proc/1/environ 2>/dev/null; echo end";
    let seen = container.exec(&["/bin/sh", "-c", script]).ok().stdout;
    assert_eq!(seen, "end\n");
    container.start();
}

#[test]
fn the_uid_that_means_no_change_is_refused() {
    differs!(Crun, "the program runs as root");
    for user in [
        json!({"uid": u32::MAX, "gid": 0}),
        json!({"uid": 0, "gid": u32::MAX}),
        json!({"uid": 0, "gid": 0, "additionalGids": [u32::MAX]}),
    ] {
        let bundle = Bundle::new();
        bundle.set("/process/user", user);
        bundle.args(&["/probe", "exit", "0"]);
        bundle.container().run().fails();
    }
}

#[test]
fn a_create_container_hook_sees_and_makes_mounts() {
    let bundle = Bundle::new();
    let root = bundle.rootfs("");
    let root = root.display();
    let script = format!("test -e {root}/proc/self && mount -t tmpfs hook {root}/tmp");
    bundle.set(
        "/hooks/createContainer",
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"]}]),
    );
    bundle.args(&["/bin/sh", "-c", "grep -c ^hook /proc/mounts"]);
    assert_eq!(bundle.container().run().ok().stdout, "1\n");
}

#[test]
fn hooks_in_the_container_are_told_the_pid_as_seen_there() {
    differs!(Crun, "it tells the pid of the host");
    let bundle = Bundle::new();
    let file = bundle.write("/state", "");
    fs::write(&file, "").unwrap();
    bundle.set(
        "/hooks/startContainer",
        json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat > /state"]}]),
    );
    bundle.args(&["/bin/cat", "/state"]);
    let state = bundle.container().run().ok().json();
    assert_eq!(state["pid"], 1, "{state}");
}

fn set_mode(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
