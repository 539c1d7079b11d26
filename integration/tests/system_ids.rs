//! Ids of a system container's own: an exclusive range of the host's for each, a root and volumes that are seen through it.

use integration::{Bundle, Container, Dice, differs, json, rounds, until};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

const BLOCK: u64 = 65_536;
const LEASES: &str = "/run/vzrun-ids";

/// A bundle of a system container that does nothing.
fn system() -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.args(&["/bin/sleep", "1000"]);
    bundle
}

/// First and size of a container's range, as the kernel has it: one line, the same for groups.
#[track_caller]
fn ids(c: &Container<'_>) -> (u64, u64) {
    let map = |kind: &str| fs::read_to_string(format!("/proc/{}/{kind}", c.pid())).unwrap();
    let (uids, gids) = (map("uid_map"), map("gid_map"));
    assert_eq!(uids, gids);
    let numbers: Vec<u64> = uids
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    assert_eq!((numbers.len(), numbers[0]), (3, 0), "{uids}");
    (numbers[1], numbers[2])
}

#[track_caller]
fn do_not_overlap(mut all: Vec<(u64, u64)>) {
    all.sort_unstable();
    for (first, size) in &all {
        assert_eq!((first % BLOCK, size % BLOCK), (0, 0), "{all:?}");
    }
    for pair in all.windows(2) {
        assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{all:?}");
    }
}

/// Owner and time of change of everything below a directory but what other bundles have links to.
fn inodes(dir: &Path) -> BTreeMap<String, (u32, u32, i64, i64)> {
    let mut all = BTreeMap::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(path) = left.pop() {
        let it = fs::symlink_metadata(&path).unwrap();
        if it.is_dir() || it.nlink() == 1 {
            let facts = (it.uid(), it.gid(), it.ctime(), it.ctime_nsec());
            all.insert(path.display().to_string(), facts);
        }
        if it.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
    }
    all
}

#[test]
fn each_container_has_a_range_of_its_own() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system();
    // The first may make places for mounts.
    bundle.container_named("first").run_detached();
    let before = inodes(&bundle.rootfs(""));
    let count = rounds(20, 1.0);
    let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
    let containers: Vec<_> = names.iter().map(|n| bundle.container_named(n)).collect();
    for c in &containers {
        c.run_detached();
    }
    do_not_overlap(containers.iter().map(ids).collect());
    assert_eq!(inodes(&bundle.rootfs("")), before);
    for c in &containers {
        c.delete_force().ok();
    }
    bundle.container_named("first").delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn what_is_the_hosts_roots_is_its_roots() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system();
    let data = bundle.home().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("old"), "").unwrap();
    std::os::unix::fs::chown(data.join("old"), Some(33), Some(34)).unwrap();
    for (name, options) in [("data", ["bind", "rw"]), ("kept", ["bind", "ro"])] {
        bundle
            .mount(json!({"destination": format!("/{name}"), "source": data, "options": options}));
    }
    bundle.capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_CHOWN"]);
    let c = bundle.container();
    c.run_detached();
    let (first, size) = ids(&c);
    assert_eq!(size, BLOCK);
    let script = "touch /data/new /made; stat -c %u:%g / /made /data/old /data/new; chown 5:6 /data/new; echo /dev/null; stat -c %u /dev/null";
    let said = c.exec(&["/bin/sh", "-c", script]).ok().stdout;
    let expected = "0:0\n0:0\n33:34\n0:0\n/dev/null\n65534\n";
    assert_eq!(said, expected);
    let owner = |path: &Path| {
        let it = fs::metadata(path).unwrap();
        (it.uid(), it.gid())
    };
    assert_eq!(owner(&data.join("new")), (5, 6));
    assert_eq!(owner(&bundle.rootfs("made")), (0, 0));
    // What the host has made read-only stays so, whoever is root inside.
    let remount = "mount -o remount,bind,rw /kept; touch /kept/not";
    let output = c.exec(&["/bin/sh", "-c", remount]);
    assert_ne!(output.code(), Some(0), "{}", output.describe());
    assert!(!data.join("not").exists());
    // Outside of its ids it is nobody: the host's files are not its own.
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    assert!(status.contains(&format!("Uid:\t{first}\t")), "{status}");
}

#[test]
fn over_an_overlay_of_an_engine() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system();
    let at = |name: &str| bundle.home().join(name);
    let dirs = ["upper", "work", "lower", "merged"].map(at);
    dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let lower = &dirs[2];
    bundle.capabilities(&["CAP_DAC_OVERRIDE", "CAP_CHOWN"]);
    fs::write(lower.join("file"), "of the image\n").unwrap();
    std::os::unix::fs::chown(lower.join("file"), Some(7), Some(8)).unwrap();
    let options = format!(
        "index=off,lowerdir={}:{},upperdir={},workdir={}",
        lower.display(),
        bundle.rootfs("").display(),
        dirs[0].display(),
        dirs[1].display()
    );
    let root = dirs[3].to_str().unwrap();
    bundle.set("/root/path", json!(root));
    let mount = |words: &[&str]| {
        let status = Command::new(words[0]).args(&words[1..]).status().unwrap();
        assert!(status.success(), "{words:?}");
    };
    mount(&["mount", "-t", "overlay", "overlay", "-o", &options, root]);
    let before = inodes(lower);
    let c = bundle.container();
    c.run_detached();
    let script = "stat -c %u:%g /file; echo more >>/file; cat /file; rm /bin/probe; mkdir -p /d/e; chown 9:9 /d/e; stat -c %u:%g /d /d/e";
    let said = c.exec(&["/bin/sh", "-c", script]).stdout;
    assert_eq!(said, "7:8\nof the image\nmore\n0:0\n9:9\n");
    let upper = |path: &str| {
        let it = fs::metadata(dirs[0].join(path)).unwrap();
        (it.uid(), it.gid())
    };
    assert_eq!(
        (upper("file"), upper("d"), upper("d/e")),
        ((7, 8), (0, 0), (9, 9))
    );
    assert_eq!(inodes(lower), before);
    c.delete_force().ok();
    mount(&["umount", root]);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn more_ids_none_and_those_of_the_config() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system();
    let with = |key: &str, value: &str| {
        bundle.set(
            "/annotations",
            json!({"io.vzrun.system": "true", key: value}),
        );
    };
    with("io.vzrun.ids", "262144");
    let c = bundle.container();
    c.run_detached();
    let (_, size) = ids(&c);
    assert_eq!(size, 4 * BLOCK);
    c.delete_force().ok();

    with("io.vzrun.userns", "false");
    let c = bundle.container();
    c.run_detached();
    assert_eq!(ids(&c), (0, u64::from(u32::MAX)));
    c.delete_force().ok();

    for (key, value, text) in [
        ("io.vzrun.ids", "1000", "is not a multiple of 65536"),
        ("io.vzrun.userns", "maybe", "is neither true nor false"),
    ] {
        with(key, value);
        bundle.container().run().exits(1).says(text);
    }
    with("x", "y");
    bundle.namespace(json!({"type": "user"}));
    for kind in ["uidMappings", "gidMappings"] {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
        bundle.set(&format!("/linux/{kind}"), map);
    }
    bundle.chown_rootfs(100_000, 100_000);
    let c = bundle.container();
    c.run_detached();
    assert_eq!(ids(&c), (100_000, 1000));
    with("io.vzrun.userns", "true");
    let other = bundle.container_named("other");
    other.run().exits(1).says("id mappings of its own");
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn from_the_entry_for_vzrun() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system();
    let (_, free) = with_entry("tester:400000:65536\nvzrun:1000000:200000\n", || {
        let (a, b, c) = (
            bundle.container_named("a"),
            bundle.container_named("b"),
            bundle.container_named("c"),
        );
        a.run_detached();
        b.run_detached();
        assert_eq!((ids(&a), ids(&b)), ((1_048_576, BLOCK), (1_114_112, BLOCK)));
        let output = c.run().exits(1);
        output.says("no range of 65536 ids is free");
        assert!(!c.exists());
        // What is deleted is free again.
        a.delete_force().ok();
        c.run_detached();
        let got = ids(&c);
        for c in [b, c] {
            c.delete_force().ok();
        }
        ((), got)
    });
    assert_eq!(free.0, 1_048_576);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

/// Meanwhile /etc/subuid and /etc/subgid are these, in a mount namespace of this thread.
fn with_entry<T: Send>(text: &str, body: impl FnOnce() -> T + Send) -> T {
    let dir = Bundle::new();
    let file = dir.home().join("subid");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            // SAFETY: the table of descriptors stays shared.
            unsafe {
                rustix::thread::unshare_unsafe(
                    rustix::thread::UnshareFlags::NEWNS | rustix::thread::UnshareFlags::FS,
                )
            }
            .unwrap();
            let mount = |words: &[&str]| {
                assert!(
                    Command::new("mount")
                        .args(words)
                        .status()
                        .unwrap()
                        .success()
                );
            };
            mount(&["--make-rslave", "/"]);
            for path in ["/etc/subuid", "/etc/subgid"] {
                mount(&["--bind", file, path]);
            }
            body()
        });
        thread.join().unwrap()
    })
}

#[test]
fn the_same_over_reboots() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system();
    bundle.args(&[
        "/bin/sh",
        "-c",
        "grep -c . /proc/self/uid_map >>/log; exec sleep 1000",
    ]);
    let c = bundle.container();
    c.run_detached();
    let at_first = ids(&c);
    let boots = |count: usize| {
        until("boot", || {
            let log = fs::read_to_string(bundle.rootfs("log")).unwrap_or_default();
            (log.lines().count() >= count).then_some(())
        });
    };
    for boot in 1..=3 {
        boots(boot);
        c.exec_with(
            &["--cap", "CAP_SYS_BOOT"],
            &["/bin/busybox", "reboot", "-f"],
        );
    }
    boots(4);
    assert_eq!(ids(&c), at_first);
}

/// vzrun is killed at any moment of a run: no range is ever two containers', and what was leased to a container that came to
/// nothing is leased again.
#[test]
fn kill_nine_at_random_moments() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system();
    let mut dice = Dice::new();
    let first = bundle.container_named("first");
    let longest = first.run_detached().elapsed * 3 / 2;
    let count = rounds(20, 1.0);
    let names: Vec<String> = (0..count).map(|n| format!("k{n}")).collect();
    let mut there = vec![first];
    for name in &names {
        let c = bundle.container_named(name);
        let running = c.call("run", &["--detach"]).spawn();
        std::thread::sleep(dice.time(longest));
        running.kill(Signal::KILL);
        running.wait();
        match c.exists() && c.status() == "running" {
            true => there.push(c),
            // Every other one stays as it is, for those who come next.
            false if dice.below(2) == 0 => drop(c.delete_force()),
            false => {}
        }
        // One that is not disturbed.
        let whole = bundle.container_named(&format!("w{name}"));
        whole.run_detached();
        do_not_overlap(there.iter().map(ids).chain([ids(&whole)]).collect());
        whole.delete_force().ok();
    }
    for id in bundle.state_ids() {
        bundle.call(["delete", "--force", &id]).run().ok();
    }
    // Of a container that has gone without a word.
    let stale: Vec<_> = fs::read_dir(LEASES)
        .unwrap()
        .flatten()
        .filter_map(|entry| Some((entry.path(), fs::read_link(entry.path()).ok()?)))
        .filter(|(_, container)| container.starts_with(bundle.root()))
        .collect();
    let last = bundle.container_named("last");
    last.run_detached();
    for (lease, container) in stale {
        assert_ne!(fs::read_link(lease).ok(), Some(container));
    }
    last.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}
