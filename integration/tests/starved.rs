//! A host that has run out of something, or is in disorder: full disks, read-only ones, too few processes allowed, odd
//! directories, odd words. Each command works, or says what is wrong, and leaves nothing behind.
//!
//! Descriptors, umask and environment are in `descriptors`, config.json as such in `hostile_config`.

use integration::{Bundle, Call, Container, HostMount, Output, differs, json};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const NO_FLAGS: &[&str] = &[];

/// A call with another state directory.
fn rooted(c: &Container<'_>, root: &Path, verb: &str) -> Call {
    let call = c.bundle().bare_call().arg("--root").arg(root).arg(verb);
    match verb {
        "create" | "run" => call.arg("--bundle").arg(c.bundle().dir()),
        _ => call,
    }
    .arg(c.id())
}

/// An error in words; no panic.
#[track_caller]
fn is_clear(output: &Output) {
    let panicked = output.stderr.contains("panicked") || output.stderr.contains("RUST_BACKTRACE");
    assert!(
        output.code() == Some(1) && !output.stderr.trim().is_empty() && !panicked,
        "{}",
        output.describe()
    );
}

/// What is left of a bundle, but for mounts of the test's own.
fn left(bundle: &Bundle) -> Vec<String> {
    let mut left = bundle.leftovers();
    let own = ["full", "disk"].map(|name| format!("mount {}", bundle.home().join(name).display()));
    left.retain(|line| !own.contains(line));
    left
}

/// What is in a directory.
fn names(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

#[test]
fn a_state_directory_without_room() {
    differs!(Runc | Crun, "they leave directories and cgroups behind");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    let mut succeeded = 0;
    // The page that the state takes, or a few; too few inodes for its files.
    for options in [
        "size=4k",
        "size=8k",
        "size=16k",
        "size=64k",
        "nr_inodes=2",
        "nr_inodes=3",
        "nr_inodes=4",
        "nr_inodes=8",
    ] {
        let full = HostMount::new("tmpfs", &bundle.home().join("full"), "tmpfs", options);
        for has_room in [true, false] {
            if !has_room {
                // To the last byte.
                let _ = fs::write(full.path().join("filler"), vec![0; 1 << 20]);
            }
            let before = names(full.path());
            let output = rooted(&c, full.path(), "create").run();
            match output.code() {
                Some(0) => {
                    succeeded += 1;
                    rooted(&c, full.path(), "start").run().ok();
                    rooted(&c, full.path(), "delete").arg("--force").run().ok();
                }
                _ => {
                    is_clear(&output);
                    output.says_any(&["no space left on device", "short write"]);
                }
            }
            assert_eq!(names(full.path()), before, "{options}");
            assert_eq!(left(&bundle), [""; 0], "{options}");
        }
        drop(full);
    }
    assert!(succeeded > 0, "there was room in some of them");
}

#[test]
fn a_disk_that_fills_up_under_a_container() {
    differs!(Runc | Crun, "no claim is made for them");
    let bundle = Bundle::new();
    let c = bundle.container();
    let disk = HostMount::new("tmpfs", &bundle.home().join("disk"), "tmpfs", "size=64k");
    let call = |verb: &str| rooted(&c, disk.path(), verb);
    call("create").run().ok();
    let _ = fs::write(disk.path().join("filler"), vec![0; 1 << 20]);
    for verb in ["start", "state", "ps", "pause", "resume"] {
        call(verb).run().ok();
    }
    call("exec").args(["/probe", "exit", "3"]).run().exits(3);
    call("kill").arg("KILL").run().ok();
    c_is_gone(&call);
    assert_eq!(left(&bundle), [""; 0]);
}

fn c_is_gone(call: &dyn Fn(&str) -> Call) {
    call("delete").arg("--force").run().ok();
    call("state")
        .run()
        .exits(1)
        .says("container does not exist");
}

#[test]
fn a_pid_file_on_a_full_disk() {
    differs!(Runc | Crun, "they leave an empty or half-made file behind");
    let bundle = Bundle::new();
    let c = bundle.container();
    let disk = HostMount::new("tmpfs", &bundle.home().join("disk"), "tmpfs", "size=4k");
    fs::write(disk.path().join("filler"), vec![0; 4096]).unwrap();
    let pid_file = disk.path().join("pid");
    let output = c
        .call("create", &["--pid-file", pid_file.to_str().unwrap()])
        .run();
    is_clear(&output);
    output.says("no space left on device").says("pid file");
    assert_eq!(names(disk.path()), [disk.path().join("filler")]);
    assert_eq!(left(&bundle), [""; 0]);
}

#[test]
fn a_full_root_filesystem() {
    differs!(Runc | Crun, "no claim is made for them");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "7"]);
    let disk = HostMount::new(
        "tmpfs",
        &bundle.home().join("disk"),
        "tmpfs",
        "size=8m,nr_inodes=40",
    );
    let root = disk.path().join("rootfs");
    fs::create_dir(&root).unwrap();
    fs::copy(bundle.rootfs("/probe"), root.join("probe")).unwrap();
    bundle.set("/root/path", json!(root));
    let c = bundle.container();
    let _ = fs::write(disk.path().join("filler"), vec![0; 8 << 20]);
    // Directories to mount on need no room on a tmpfs, but inodes.
    for count in 0..40 {
        if fs::create_dir(disk.path().join(count.to_string())).is_err() {
            break;
        }
    }
    let output = c.call("run", NO_FLAGS).run();
    is_clear(&output);
    output.says("no space left on device").says("mounting");
    assert_eq!(left(&bundle), [""; 0]);
    fs::remove_dir(disk.path().join("0")).unwrap();
    is_clear(&c.call("run", NO_FLAGS).run());
    assert_eq!(left(&bundle), [""; 0]);
}

#[test]
fn a_read_only_state_directory() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    let disk = HostMount::tmpfs(&bundle.home().join("disk"));
    disk.attributes(&["ro"]);
    for root in [disk.path().to_path_buf(), disk.path().join("not/there/yet")] {
        for verb in ["create", "run"] {
            rooted(&c, &root, verb)
                .run()
                .fails()
                .says_or_crun("read-only file system", "create");
            assert_eq!(left(&bundle), [""; 0]);
        }
    }
}

#[test]
fn a_state_directory_that_becomes_read_only() {
    differs!(Runc | Crun, "no claim is made for them");
    let bundle = Bundle::new();
    let c = bundle.container();
    let disk = HostMount::tmpfs(&bundle.home().join("disk"));
    let call = |verb: &str| rooted(&c, disk.path(), verb);
    call("create").run().ok();
    call("start").run().ok();
    disk.attributes(&["ro"]);
    call("state").run().ok();
    call("exec").args(["/probe", "exit", "3"]).run().exits(3);
    let output = call("delete").arg("--force").run();
    is_clear(&output);
    output.says("read-only file system");
    disk.attributes(&[]);
    c_is_gone(&call);
    assert_eq!(left(&bundle), [""; 0]);
}

#[test]
fn odd_places_for_the_state_directory() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    let file = bundle.home().join("file");
    fs::write(&file, "").unwrap();
    let long = bundle.home().join("x".repeat(255)).join("y".repeat(255));
    let too_long = bundle.home().join("x".repeat(256));
    for root in [
        file.clone(),
        file.join("below"),
        PathBuf::from("/dev/null"),
        PathBuf::from("/proc/self"),
        too_long,
    ] {
        rooted(&c, &root, "create").run().fails();
        assert_eq!(left(&bundle), [""; 0], "{}", root.display());
    }
    rooted(&c, &long, "run").run().ok();
    assert!(names(&long).is_empty());
    assert_eq!(left(&bundle), [""; 0]);
}

#[test]
fn too_few_processes_for_an_ordinary_user() {
    differs!(Runc | Crun, "Go's runtime ends in its own way");
    let bundle = Bundle::rootless(1000, 1000);
    bundle.args(&["/probe", "exit", "7"]);
    bundle.remove("/process/rlimits");
    let c = bundle.container();
    let mut succeeded = 0;
    for limit in 1..12 {
        let root = bundle.root();
        let dir = bundle.dir();
        let script = format!("ulimit -u {limit} && exec \"$@\"");
        let runtime = integration::Runtime::get().path();
        let call = Call::of("bash", &bundle.home().join("io")).as_user(1000, 1000);
        let call = call
            .args(["-c", &script, "sh"])
            .arg(runtime)
            .arg("--root")
            .arg(root);
        let output = call.arg("run").arg("--bundle").arg(dir).arg(c.id()).run();
        match output.code() {
            Some(7) => succeeded += 1,
            _ => {
                is_clear(&output);
                output.says("resource temporarily unavailable");
            }
        }
        assert_eq!(left(&bundle), [""; 0], "{limit}");
    }
    assert!(succeeded > 0);
}

#[test]
fn a_working_directory_that_may_not_be_read() {
    let bundle = Bundle::rootless(1000, 1000);
    bundle.args(&["/probe", "exit", "7"]);
    let c = bundle.container();
    let shut = bundle.home().join("shut");
    fs::create_dir(&shut).unwrap();
    // Changed to by the caller while that was allowed.
    let script = "exec setpriv --reuid 1000 --regid 1000 --clear-groups \"$@\"";
    fs::set_permissions(&shut, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let call = Call::of("sh", &bundle.home().join("io"))
        .args(["-c", script, "sh"])
        .cwd(&shut);
    let call = call
        .arg(integration::Runtime::get().path())
        .arg("--root")
        .arg(bundle.root());
    call.arg("run")
        .arg("--bundle")
        .arg(bundle.dir())
        .arg(c.id())
        .run()
        .exits(7);
    assert_eq!(left(&bundle), [""; 0]);
}

#[test]
fn words_that_are_no_utf8() {
    differs!(Runc | Crun, "Go and C take any bytes");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "7"]);
    let c = bundle.container();
    let odd = || OsString::from_vec(b"caf\xe9".to_vec());
    let place = bundle.home().join(odd());
    fs::rename(bundle.dir(), &place).unwrap();
    fs::create_dir(bundle.dir()).unwrap();
    for (what, call) in [
        (
            "--bundle",
            bundle.call(["run", "--bundle"]).arg(&place).arg(c.id()),
        ),
        (
            "--root",
            bundle.bare_call().arg("--root").arg(&place).arg("list"),
        ),
        ("an id", bundle.call(["state"]).arg(odd())),
        (
            "--pid-file",
            bundle.call(["run", "--pid-file"]).arg(&place).arg(c.id()),
        ),
        (
            "--log",
            bundle.bare_call().arg("--log").arg(&place).arg("list"),
        ),
    ] {
        let output = call.run();
        is_clear(&output);
        assert!(
            output.stderr.contains("UTF-8"),
            "{what}: {}",
            output.describe()
        );
        assert_eq!(left(&bundle), [""; 0], "{what}");
    }
    let output = bundle.call(["run"]).arg(c.id()).cwd(&place).run();
    is_clear(&output);
    output.says("--bundle").says("is not UTF-8");
    assert_eq!(left(&bundle), [""; 0]);
    fs::remove_dir(bundle.dir()).unwrap();
    fs::rename(&place, bundle.dir()).unwrap();
}

#[test]
fn very_many_and_very_long_words() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let many: Vec<_> = (0..20_000).map(|n| n.to_string()).collect();
    let mut call = c.exec_call(NO_FLAGS, &["/probe", "stat"]);
    for number in 0..500 {
        call = call.env(format!("VARIABLE_{number}"), "x".repeat(2000));
    }
    let seen = call.args(&many).run().ok().json();
    assert_eq!(seen.as_object().unwrap().len(), many.len());
    // The longest word that execve(2) takes has 131071 bytes.
    let long = format!("LONG={}", "x".repeat(130_000));
    let report = c
        .exec_with(&["--env", &long], &["/probe", "report"])
        .ok()
        .json();
    assert!(report["env"].to_string().contains(&long));
    c.call("kill", NO_FLAGS)
        .arg("x".repeat(100_000))
        .run()
        .fails();
    assert_eq!(c.status(), "running");
}

#[test]
fn an_id_as_long_as_a_name_can_be() {
    differs!(Crun, "its cgroup has a prefix, and then no room");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "7"]);
    bundle.set("/linux/cgroupsPath", json!(format!("/{}", bundle.id())));
    let id = |length: usize| {
        format!(
            "{}-{}",
            bundle.id(),
            "x".repeat(length - bundle.id().len() - 1)
        )
    };
    let run = |id: &str| {
        bundle
            .call(["run", "--bundle"])
            .arg(bundle.dir())
            .arg(id)
            .run()
    };
    run(&id(255)).exits(7);
    run(&id(256)).fails();
    run(&id(5000)).fails();
    assert_eq!(left(&bundle), [""; 0]);
}
