//! What the init of a system container is told by systemd's container interface, whichever init it is: variables, and /run/host.

use integration::{Bundle, Container, differs, json};
use std::fs;

fn system() -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.args(&["/bin/sh", "-c", "exec sleep 1000"]);
    bundle
}

/// A volume with a file in it.
fn volume(bundle: &Bundle, destination: &str, option: &str) -> std::path::PathBuf {
    let source = bundle.home().join(destination.replace('/', "-"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "of a volume\n").unwrap();
    bundle.mount(json!({"destination": destination, "type": "bind", "source": source, "options": ["bind", option]}));
    source
}

/// The variables of init.
fn environment(c: &Container<'_>) -> Vec<String> {
    let text = c.exec(&["/bin/cat", "/proc/1/environ"]).ok().stdout;
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// As the host's own file has it.
fn of_host(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").unwrap();
    let line = |line: &str| line.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
    Some(text.lines().find_map(line)?.trim_matches('"').to_owned())
}

#[test]
fn what_is_in_run_host() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system();
    volume(&bundle, "/run/host/unix-export", "rw");
    let c = bundle.container();
    c.run_detached();
    let read = |name: &str| {
        c.exec(&["/bin/cat", &format!("/run/host/{name}")])
            .ok()
            .stdout
    };
    assert_eq!(read("container-manager"), "vzrun\n");
    assert_eq!(read("container-uuid").len(), 37);
    assert_eq!(
        read("os-release"),
        fs::read_to_string("/etc/os-release").unwrap()
    );
    let nodes = c
        .exec(&[
            "/bin/sh",
            "-c",
            "cd /run/host/inaccessible && busybox stat -c '%n %F %a' *",
        ])
        .ok()
        .stdout;
    for node in [
        "chr character special file 0",
        "dir directory 0",
        "fifo fifo 0",
        "reg regular empty file 0",
        "sock socket 0",
    ] {
        assert!(nodes.lines().any(|line| line == node), "{node}: {nodes}");
    }
    // Nothing in it is to be changed, and what the config has below it is as it says.
    c.exec(&["/bin/touch", "/run/host/mine"])
        .exits(1)
        .says("Read-only file system");
    c.exec(&["/bin/touch", "/run/host/unix-export/mine"]).ok();
}

#[test]
fn what_is_in_its_environment() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system();
    bundle.env("container_host_version_id=0");
    volume(&bundle, "/run/host/credentials", "ro");
    let c = bundle.container();
    c.run_detached();
    let env = environment(&c);
    let has = |variable: &str| env.iter().any(|have| have == variable);
    for variable in [
        "container=vzrun",
        "NOTIFY_SOCKET=/run/host/notify",
        "CREDENTIALS_DIRECTORY=/run/host/credentials",
        "container_host_version_id=0",
    ] {
        assert!(has(variable), "{variable}: {env:?}");
    }
    for (name, key) in [
        ("id", "ID"),
        ("build_id", "BUILD_ID"),
        ("variant_id", "VARIANT_ID"),
    ] {
        let variable = format!("container_host_{name}=");
        let seen = env.iter().find_map(|have| have.strip_prefix(&variable));
        assert_eq!(seen.map(str::to_owned), of_host(key), "{key}");
    }
    let credential = c.exec(&["/bin/cat", "/run/host/credentials/file"]).ok();
    assert_eq!(credential.stdout, "of a volume\n");
}

#[test]
fn a_run_host_of_somebody_elses_stays() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system();
    let source = volume(&bundle, "/run/host", "rw");
    let c = bundle.container();
    c.run_detached();
    let names: Vec<_> = fs::read_dir(source).unwrap().flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let env = environment(&c);
    let notifies = env.iter().any(|have| have.starts_with("NOTIFY_SOCKET="));
    assert!(!notifies, "{env:?}");
    c.exec(&["/bin/touch", "/run/host/mine"]).ok();
}

/// As on a machine, unless the config says otherwise: what is mounted later is seen by services that have a mount namespace of
/// their own. Nothing of that gets out.
#[test]
fn mounts_are_shared_inside() {
    differs!(Runc | Crun, "no system containers");
    for (propagation, shared) in [
        (None, true),
        (Some("rslave"), false),
        (Some("rprivate"), false),
    ] {
        let bundle = system();
        if let Some(word) = propagation {
            bundle.set("/linux/rootfsPropagation", json!(word));
        }
        fs::create_dir_all(bundle.rootfs("mnt")).unwrap();
        let c = bundle.container();
        c.run_detached();
        let mount = "mount -t tmpfs tmpfs /mnt && touch /mnt/file";
        c.exec_with(&["--cap", "CAP_SYS_ADMIN"], &["/bin/sh", "-c", mount])
            .ok();
        let mounts = c.exec(&["/bin/cat", "/proc/1/mountinfo"]).ok().stdout;
        for place in ["/", "/proc", "/run", "/run/host", "/mnt"] {
            let line = mounts
                .lines()
                .find(|line| line.split(' ').nth(4) == Some(place));
            let line = line.unwrap_or_else(|| panic!("{place}: {mounts}"));
            assert_eq!(line.contains(" shared:"), shared, "{propagation:?}: {line}");
        }
        assert!(!bundle.rootfs("mnt/file").exists());
        let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!host.contains(&format!("{}/mnt ", bundle.id())), "{host}");
    }
}
