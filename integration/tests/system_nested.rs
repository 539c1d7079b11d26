//! Containers in a system container: Podman and Docker of a Debian, unprivileged, with that container's root.

#[path = "system_nested/docker.rs"]
mod docker;

use integration::{Bundle, Container, Debian, IMAGE, Runtime, differs, image_tar, json};

fn podman(c: &Container<'_>, args: &[&str]) -> String {
    let output = c.exec(&[&["podman"], args].concat()).ok();
    output.stdout.trim().to_owned()
}

#[test]
fn podman_runs_containers() {
    differs!(Runc | Crun, "no system containers");
    let bundle = Bundle::new();
    let debian = Debian::new(bundle.id());
    bundle.set("/root/path", json!(debian.root()));
    let annotations = json!({"io.vzrun.system": "true", "io.vzrun.ids": "131072"});
    bundle.set("/annotations", annotations);
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.env("HOME=/root");
    let binds = [
        ("/var/lib/containers", debian.store()),
        ("/image.tar", image_tar().to_path_buf()),
        ("/usr/local/bin/vzrun", Runtime::get().path().to_path_buf()),
    ];
    for (at, source) in binds {
        let mount = json!({"destination": at, "source": source, "options": ["bind"]});
        bundle.mount(mount);
    }
    let c = bundle.container();
    c.run_detached();
    let entry = "echo root:65536:65536 | tee /etc/subuid >/etc/subgid; echo containers:65536:65536 | tee -a /etc/subuid >>/etc/subgid";
    c.exec(&["/bin/sh", "-c", entry]).ok();
    podman(&c, &["import", "--quiet", "/image.tar", IMAGE]);
    assert_eq!(
        podman(&c, &["info", "--format={{.Store.GraphDriverName}}"]),
        "overlay"
    );
    for runtime in ["crun", "runc", "/usr/local/bin/vzrun"] {
        let run = |flags: &[&str], command: &[&str]| {
            let name = format!("--runtime={runtime}");
            let words = [&[&name, "run", "--rm"], flags, &[IMAGE], command].concat();
            podman(&c, &words)
        };
        // With a network: a bridge, a pair of devices, rules of a firewall.
        assert_eq!(run(&[], &["hostname", "-f"]).len(), 12, "{runtime}");
        // And with users of its own, out of the upper half of this container's.
        let map = run(&["--userns=auto:size=4096"], &["cat", "/proc/self/uid_map"]);
        let words: Vec<&str> = map.split_whitespace().collect();
        assert_eq!((words[0], words[2]), ("0", "4096"), "{runtime}: {map}");
    }
    // On its own root, which is an overlay already, and with a volume.
    let flags = ["--root=/srv/storage", "--runroot=/run/other"];
    podman(
        &c,
        &[&flags[..], &["import", "--quiet", "/image.tar", IMAGE]].concat(),
    );
    let run = [
        "run",
        "--rm",
        "--volume=/etc:/host",
        IMAGE,
        "cat",
        "/host/hostname",
    ];
    podman(&c, &[&flags[..], &run].concat());
    c.delete_force().ok();
    drop(debian);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn docker_runs_containers() {
    differs!(Runc | Crun, "no system containers");
    docker::docker_runs_containers();
}
