//! System containers (io.vzrun.system): a keeper, an init that can be rebooted, the power switch.

use integration::{Bundle, Container, Runtime, differs, json, until};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

/// Writes down each boot: how much is left in /run of the last one, and which process this is.
const BOOT: &str = "echo $(ls /run | grep -c left) $$ >>/log; touch /run/left; exec sleep 1000";
const REBOOT: [&str; 3] = ["/bin/busybox", "reboot", "-f"];
const POWEROFF: [&str; 3] = ["/bin/busybox", "poweroff", "-f"];
const MAY_BOOT: [&str; 2] = ["--cap", "CAP_SYS_BOOT"];

/// A bundle of one whose init is this shell script.
fn system(script: &str) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.mount(json!({"destination": "/run", "type": "tmpfs", "source": "tmpfs"}));
    bundle.args(&["/bin/sh", "-c", script]);
    bundle
}

/// What the boots have written down, once there are so many.
#[track_caller]
fn boots(bundle: &Bundle, count: usize) -> Vec<String> {
    until(&format!("boot {count}"), || {
        let log = fs::read_to_string(bundle.rootfs("log")).unwrap_or_default();
        let lines: Vec<String> = log.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// Its container, once the first boot has been written down.
#[track_caller]
fn booted(bundle: &Bundle) -> Container<'_> {
    let c = bundle.container();
    c.run_detached();
    boots(bundle, 1);
    c
}

/// A script of the container's that can be executed.
fn program(bundle: &Bundle, path: &str, text: &str) {
    bundle.write(path, text);
    fs::set_permissions(bundle.rootfs(path), Permissions::from_mode(0o755)).unwrap();
}

fn namespace(c: &Container<'_>, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{}/ns/{kind}", c.pid())).unwrap();
    link.display().to_string()
}

#[test]
fn a_hundred_reboots() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = booted(&bundle);
    let same = |c: &Container<'_>| {
        let kinds = ["net", "ipc", "uts", "user", "cgroup"].map(|kind| namespace(c, kind));
        (c.pid(), kinds)
    };
    let at_first = same(&c);
    for reboot in 1..=100 {
        // The init that calls it takes the caller along.
        c.exec_with(&MAY_BOOT, &REBOOT);
        boots(&bundle, reboot + 1);
        assert_eq!(c.status(), "running");
    }
    assert_eq!(same(&c), at_first);
    assert_eq!(boots(&bundle, 101), ["0 1"; 101]);
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn power_off_is_the_end() {
    differs!(Runc | Crun, "no system containers");
    for call in [POWEROFF, ["/bin/busybox", "halt", "-f"]] {
        let bundle = system("touch /ready; exec sleep 1000");
        let c = bundle.container();
        let running = c.spawn_run();
        until("init", || bundle.rootfs("ready").exists().then_some(()));
        c.exec_with(&MAY_BOOT, &call);
        running.wait().exits(0);
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn the_end_of_init_is_the_containers() {
    differs!(Runc | Crun, "no system containers");
    for (script, code) in [("exit 7", 7), ("exit 0", 0)] {
        system(script).container().run().exits(code);
    }
    let bundle = system("touch /ready; exec sleep 1000");
    let c = bundle.container();
    let running = c.spawn_run();
    until("init", || bundle.rootfs("ready").exists().then_some(()));
    c.kill("KILL").ok();
    running.wait().exits(137);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn what_its_owner_is_told() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = booted(&bundle);
    let told = || c.state()["system"].clone();
    let first = told();
    assert_eq!(
        (&first["init"], &first["reboots"]),
        (&json!("busybox"), &json!(0))
    );
    assert_eq!(first["ids"]["size"], 65_536);
    for reboot in 1..=2 {
        c.exec_with(&MAY_BOOT, &REBOOT);
        boots(&bundle, reboot + 1);
    }
    let now = told();
    assert_eq!((&now["reboots"], &now["ids"]), (&json!(2), &first["ids"]));
    assert!(now["uptime"].as_u64().unwrap() < 60, "{now}");
    // Another container beside it is told of as ever.
    let plain = Bundle::new();
    plain.args(&["/bin/sleep", "1000"]);
    let name = format!("{}-plain", bundle.id());
    let call = bundle.call([
        "run",
        "--detach",
        "--bundle",
        plain.dir().to_str().unwrap(),
        &name,
    ]);
    call.run().ok();
    let list = |flags: &[&str]| bundle.call([&["list"], flags].concat()).run().ok().stdout;
    let all = list(&[]);
    assert_eq!(all.lines().count(), 3, "{all}");
    assert!(
        all.starts_with("ID ") && all.lines().next().unwrap().ends_with("OWNER"),
        "{all}"
    );
    let json: integration::Value = list(&["--format", "json"]).parse().unwrap();
    let keys = |one: usize| json[one].as_object().unwrap().contains_key("system");
    assert_eq!((keys(0), keys(1)), (true, false), "{json}");
    let systems = list(&["--systems"]);
    let words: Vec<&str> = systems.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        (words[0], words[3], words[6]),
        (bundle.id(), "busybox", "2"),
        "{systems}"
    );
    assert_eq!(systems.lines().count(), 2, "{systems}");
    assert_eq!(list(&["--systems", "-q"]), format!("{}\n", bundle.id()));
    bundle.call(["delete", "--force", &name]).run().ok();
    c.kill("KILL").ok();
    c.wait_stopped();
    let stopped = told();
    assert_eq!(
        (stopped.get("init"), &stopped["reboots"]),
        (None, &json!(2))
    );
}

#[test]
fn a_created_one_waits_for_start() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = bundle.container();
    c.create();
    assert_eq!(c.status(), "created");
    assert!(!bundle.rootfs("log").exists());
    c.exec(&["/bin/true"]).ok();
    c.start();
    boots(&bundle, 1);
    assert_eq!(c.status(), "running");
}

#[test]
fn what_exec_joins_is_inits() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = booted(&bundle);
    let ps = c
        .exec(&["/bin/busybox", "ps", "-o", "pid,args"])
        .ok()
        .stdout;
    let lines: Vec<Vec<&str>> = ps.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 3, "{ps}");
    assert!(
        lines[1][0] == "1" && lines[1].ends_with(&["sleep", "1000"]),
        "{ps}"
    );
    let cgroup = c
        .exec(&["/bin/sh", "-c", "grep ^0: /proc/self/cgroup"])
        .ok();
    assert_eq!(cgroup.stdout, "0::/init.scope\n");
    // Who goes in by the pid that the engine knows sees the container's files.
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", c.pid())).unwrap();
    assert!(mounts.contains(" /run "), "{mounts}");
    let host = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_ne!(namespace(&c, "mnt"), host.display().to_string());
}

#[test]
fn the_keeper_cannot_be_looked_into() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = booted(&bundle);
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    assert!(status.starts_with("Name:\tvzrun-keeper\n"), "{status}");
    // Undumpable: its files belong to the host's root, whoever it is.
    let uid = std::os::unix::fs::MetadataExt::uid(
        &fs::metadata(format!("/proc/{}/mem", c.pid())).unwrap(),
    );
    assert_eq!(uid, 0);
    // One for the kernel's private procfs, the cgroup, the mounts, the signals, the view, init and its start, the reboots, readiness and
    // its socket, and 0 to 2.
    let fds = fs::read_dir(format!("/proc/{}/fd", c.pid()))
        .unwrap()
        .count();
    assert!(fds <= 13, "{fds}");
}

/// busybox as init, with what it needs.
fn busybox_init(bundle: &Bundle) {
    fs::create_dir_all(bundle.rootfs("sbin")).unwrap();
    symlink("../bin/busybox", bundle.rootfs("sbin/init")).unwrap();
    let table = "::sysinit:/bin/sh -c 'echo boot >>/log'\n::ctrlaltdel:/bin/busybox reboot\n::shutdown:/bin/sh -c 'echo orderly >>/log'\n";
    bundle.write("etc/inittab", table);
    bundle.args(&["/sbin/init"]);
    bundle.capabilities(&["CAP_SYS_BOOT", "CAP_KILL"]);
}

#[test]
fn term_is_an_orderly_shutdown_and_int_a_reboot() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system("");
    busybox_init(&bundle);
    let c = bundle.container();
    let running = c.spawn_run();
    assert_eq!(boots(&bundle, 1), ["boot"]);
    // Till then busybox has no signal handlers.
    until("init at rest", || {
        let ps = c.exec(&["/bin/busybox", "ps", "-o", "args"]).stdout;
        (ps.lines().count() == 3).then_some(())
    });
    c.kill("INT").ok();
    assert_eq!(boots(&bundle, 3), ["boot", "orderly", "boot"]);
    until("init at rest", || {
        let ps = c.exec(&["/bin/busybox", "ps", "-o", "args"]).stdout;
        (ps.lines().count() == 3).then_some(())
    });
    c.kill("TERM").ok();
    running.wait().exits(0);
    assert_eq!(boots(&bundle, 4), ["boot", "orderly", "boot", "orderly"]);
}

#[test]
fn in_a_user_namespace_root_has_the_power_switch() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(
        "echo boot >>/log; cat /data/file >>/log; while read line; do :; done </run/fifo; exec sleep 1000",
    );
    bundle.args(&[
        "/bin/sh",
        "-c",
        "cat /data/file >>/log; test $(wc -l </log) -gt 4 && exec busybox poweroff -f; exec busybox reboot -f",
    ]);
    bundle.namespace(json!({"type": "user"}));
    for kind in ["uidMappings", "gidMappings"] {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        bundle.set(&format!("/linux/{kind}"), map);
    }
    let data = bundle.home().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "of the host\n").unwrap();
    bundle.mount(json!({"destination": "/data", "source": data, "options": ["bind", "ro"]}));
    bundle.chown_rootfs(100_000, 100_000);
    bundle.container().run().exits(0);
    assert_eq!(boots(&bundle, 5), ["of the host"; 5]);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn an_init_that_is_gone_at_a_reboot_is_told() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system("exec busybox reboot -f");
    bundle.args(&["/bin/once"]);
    bundle.capabilities(&["CAP_SYS_BOOT"]);
    let text = "#!/bin/sh\nrm /bin/once; exec busybox reboot -f\n";
    program(&bundle, "bin/once", text);
    let output = bundle.container().run().exits(1);
    output.says("exec: \"/bin/once\"");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn the_keepers_death_is_the_containers() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = booted(&bundle);
    c.kill("KILL").ok();
    c.wait_stopped();
    c.delete().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn paused_and_resumed() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    let c = booted(&bundle);
    c.pause().ok();
    assert_eq!(c.status(), "paused");
    c.resume().ok();
    c.exec_with(&MAY_BOOT, &REBOOT);
    boots(&bundle, 2);
}

#[test]
fn by_the_programs_name_and_by_its_init() {
    differs!(Runc | Crun, "no system containers");
    let bundle = Bundle::new();
    let name = bundle.home().join("vzrun-system");
    symlink(Runtime::get().path(), &name).unwrap();
    let own_cgroup = ["/bin/sh", "-c", "grep ^0: /proc/self/cgroup"];
    let script: Vec<&str> = own_cgroup.to_vec();
    bundle.args(&script);
    let said = |bundle: &Bundle, program: &std::path::Path| {
        let words =
            ["--root", bundle.root().to_str().unwrap(), "run", "--bundle"].map(str::to_owned);
        let words = words
            .into_iter()
            .chain([bundle.dir().display().to_string(), bundle.id().to_owned()]);
        integration::Call::of(program, &bundle.home().join("io"))
            .args(words)
            .run()
            .ok()
            .stdout
    };
    assert_eq!(said(&bundle, &name), "0::/init.scope\n");
    let plain = said(&bundle, Runtime::get().path());
    assert_ne!(plain, "0::/init.scope\n");
    for (value, system) in [("false", false), ("auto", false), ("true", true)] {
        bundle.set("/annotations", json!({"io.vzrun.system": value}));
        assert_eq!(
            said(&bundle, &name) == "0::/init.scope\n",
            system,
            "{value}"
        );
    }
    bundle.set("/annotations", json!({"io.vzrun.system": "auto"}));
    fs::create_dir_all(bundle.rootfs("sbin")).unwrap();
    let init = "#!/bin/sh\ngrep ^0: /proc/self/cgroup\n";
    program(&bundle, "sbin/init", init);
    bundle.args(&["/sbin/init"]);
    assert_eq!(said(&bundle, Runtime::get().path()), "0::/init.scope\n");
}

#[test]
fn what_it_cannot_be_is_said() {
    differs!(Runc | Crun, "no system containers");
    let refused = |change: &dyn Fn(&Bundle), text: &str| {
        let bundle = system("true");
        change(&bundle);
        bundle.container().run().exits(1).says(text);
        assert_eq!(bundle.leftovers(), [""; 0], "{text}");
    };
    let annotation =
        |bundle: &Bundle| bundle.set("/annotations", json!({"io.vzrun.system": "yes"}));
    refused(
        &annotation,
        "annotation io.vzrun.system: \"yes\" is none of true, false and auto",
    );
    refused(
        &|bundle| bundle.without_namespace("pid"),
        "needs a new pid namespace",
    );
    let overlay = |bundle: &Bundle| {
        bundle.mount(json!({"destination": "/mnt", "type": "overlay", "source": "overlay", "options": ["lowerdir=/:/tmp"]}));
    };
    refused(&overlay, "the mount on /mnt: a system container");
    let bundle = system("exec sleep 1000");
    let c = bundle.container();
    c.run_detached();
    c.call(
        "checkpoint",
        &[
            "--image-path",
            bundle.home().join("images").to_str().unwrap(),
        ],
    )
    .run()
    .exits(1)
    .says("a system container cannot be checkpointed yet");
    assert_eq!(c.status(), "running");
}
