//! Containers in a system container: Podman of a Debian, unprivileged, with that container's root.

use integration::{Bundle, Container, IMAGE, Runtime, differs, image_tar, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root that these tests run in, as it is on the disk.
fn debian() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/env");
    let roots = fs::read_dir(&target).unwrap().flatten();
    let mut roots: Vec<PathBuf> = roots
        .map(|entry| entry.path())
        .filter(|path| path.join("usr/bin/podman").exists())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("root-trixie-")
        })
        .collect();
    roots.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    roots.pop().expect("a root in target/env")
}

fn mount(words: &[&str]) {
    let status = Command::new("mount").args(words).status().unwrap();
    assert!(status.success(), "mount {words:?}");
}

/// An overlay of this Debian, where engines have their disk. It goes with the value.
struct Disk(PathBuf);

impl Disk {
    fn new(name: &str) -> Disk {
        let home = Path::new("/var/tmp").join(name);
        for dir in ["upper", "work", "root", "store"] {
            fs::create_dir_all(home.join(dir)).unwrap();
        }
        let path = |name: &str| home.join(name).display().to_string();
        let options = format!(
            "index=off,lowerdir={},upperdir={},workdir={}",
            debian().display(),
            path("upper"),
            path("work")
        );
        mount(&["-t", "overlay", "overlay", "-o", &options, &path("root")]);
        Disk(home)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.0.join("root")).status();
        let removed = fs::remove_dir_all(&self.0);
        if !std::thread::panicking() {
            assert!(status.unwrap().success());
            removed.unwrap();
        }
    }
}

fn podman(c: &Container<'_>, args: &[&str]) -> String {
    let output = c.exec(&[&["podman"], args].concat()).ok();
    output.stdout.trim().to_owned()
}

#[test]
fn podman_runs_containers() {
    differs!(Runc | Crun, "no system containers");
    let bundle = Bundle::new();
    let disk = Disk::new(bundle.id());
    bundle.set("/root/path", json!(disk.0.join("root")));
    let annotations = json!({"io.vzrun.system": "true", "io.vzrun.ids": "131072"});
    bundle.set("/annotations", annotations);
    bundle.args(&["/bin/sleep", "1000"]);
    bundle.env("HOME=/root");
    let binds = [
        ("/var/lib/containers", disk.0.join("store")),
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
    drop(disk);
    assert_eq!(bundle.leftovers(), [""; 0]);
}
