//! Hooks of a system container: those inside of it run as those of any container, at the first boot and, if the annotation
//! io.vzrun.reboot_hooks says so, at each.

use integration::{Bundle, Container, Terminal, Value, differs, json, probe_path, until};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const REBOOT_HOOKS: &str = "io.vzrun.reboot_hooks";
const NO_FLAGS: &[&str] = &[];

/// One whose program writes into /order, as its hooks do. These are somebody else's than the host's root.
fn system(again: Option<&str>) -> (Bundle, PathBuf) {
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    if let Some(again) = again {
        bundle.set(&format!("/annotations/{REBOOT_HOOKS}"), json!(again));
    }
    bundle.args(&["/bin/sh", "-c", "echo init >>/order; exec sleep 1000"]);
    let order = bundle.write("order", "");
    fs::set_permissions(&order, Permissions::from_mode(0o666)).unwrap();
    let outside = format!("echo create >>{}", order.display());
    bundle.set("/hooks/createContainer", json!([script(&outside)]));
    let inside = "echo start >>/order";
    bundle.set("/hooks/startContainer", json!([script(inside)]));
    (bundle, order)
}

fn script(text: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", text]})
}

#[track_caller]
fn order_is(order: &PathBuf, words: &str) {
    let read = || fs::read_to_string(order).unwrap().replace('\n', " ");
    let lines = words.split(' ').count();
    until(words, || {
        (read().split_whitespace().count() >= lines).then_some(())
    });
    assert_eq!(read().trim(), words);
}

#[track_caller]
fn reboot(c: &Container<'_>) {
    let before = c.state()["system"]["reboots"].as_u64().unwrap();
    c.exec_with(
        &["--cap", "CAP_SYS_BOOT"],
        &["/bin/busybox", "reboot", "-f"],
    );
    until("the reboot", || {
        (c.state()["system"]["reboots"] == before + 1).then_some(())
    });
}

#[test]
fn hooks_of_the_first_boot() {
    differs!(Runc | Crun, "no system containers");
    let (bundle, order) = system(None);
    let c = bundle.container();
    c.create();
    order_is(&order, "create");
    c.start();
    order_is(&order, "create start init");
    reboot(&c);
    order_is(&order, "create start init init");
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn hooks_of_each_boot() {
    differs!(Runc | Crun, "no system containers");
    for (again, boot) in [
        ("createContainer", "create init"),
        ("startContainer", "start init"),
        ("startContainer,createContainer", "create start init"),
    ] {
        let (bundle, order) = system(Some(again));
        let c = bundle.container();
        c.run_detached();
        let mut words = "create start init".to_owned();
        for _ in 0..3 {
            order_is(&order, &words);
            reboot(&c);
            words = format!("{words} {boot}");
        }
        order_is(&order, &words);
        c.delete_force().ok();
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

/// What a hook has seen, boot by boot.
fn seen(file: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn create_container_hooks_run_in_the_boots_namespaces_on_the_hosts_root() {
    differs!(Runc | Crun, "no system containers");
    let (bundle, order) = system(Some("createContainer"));
    let file = bundle.write("seen", "");
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    // Where the rootfs is on the host, it is the container's: what is mounted there is seen inside, and nowhere else.
    fs::create_dir(bundle.rootfs("given")).unwrap();
    let given = bundle.rootfs("given");
    let mount = format!(
        "mount -t tmpfs tmpfs {0} && touch {0}/by-the-hook",
        given.display()
    );
    let probe = json!({"path": probe_path(), "args": ["probe", "hook", file]});
    bundle.set("/hooks/createContainer", json!([probe, script(&mount)]));
    let c = bundle.container();
    c.run_detached();
    order_is(&order, "start init");
    let namespaces = |c: &Container<'_>| {
        let report = c.exec(&["/probe", "report"]).ok().stdout;
        let report: Value = serde_json::from_str(&report).unwrap();
        report["namespaces"].clone()
    };
    for boot in 1..=2 {
        let seen = seen(&file);
        assert_eq!(seen.len(), boot);
        let last = &seen[boot - 1];
        let inside = namespaces(&c);
        for kind in ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"] {
            assert_eq!(last["namespaces"][kind], inside[kind], "{kind}");
        }
        let state: Value = serde_json::from_str(last["stdin"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&state["id"], &state["pid"], &state["status"]),
            (&json!(bundle.id()), &json!(1), &json!("creating"))
        );
        let root = std::os::unix::fs::MetadataExt::ino(&fs::metadata("/").unwrap());
        assert_eq!(last["root"]["ino"], root);
        c.exec(&["test", "-e", "/given/by-the-hook"]).ok();
        assert!(!given.join("by-the-hook").exists());
        if boot == 1 {
            reboot(&c);
            order_is(&order, "start init init");
        }
    }
    // Of the host nothing is left in it.
    let mounts = c.exec(&["cat", "/proc/1/mountinfo"]).ok().stdout;
    let on_root = mounts
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/"));
    assert_eq!(on_root.count(), 1, "{mounts}");
    assert!(!mounts.contains("/order"), "{mounts}");
}

#[test]
fn with_a_terminal_and_the_hosts_ids() {
    differs!(Runc | Crun, "no system containers");
    let (bundle, order) = system(Some("createContainer,startContainer"));
    bundle.set("/annotations/io.vzrun.userns", json!("false"));
    bundle.set("/process/terminal", json!(true));
    bundle.args(&[
        "/bin/sh",
        "-c",
        "test -t 0 && echo init >>/order; exec sleep 1000",
    ]);
    let c = bundle.container();
    let terminal = Terminal::open();
    let running = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    order_is(&order, "create start init");
    reboot(&c);
    order_is(&order, "create start init create start init");
    c.kill("KILL").ok();
    running.wait().exits(137);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn hooks_that_fail() {
    differs!(Runc | Crun, "no system containers");
    for (point, text) in [
        ("createContainer", "error running createContainer hook #0"),
        ("startContainer", "error running startContainer hook #0"),
    ] {
        let (bundle, _) = system(None);
        bundle.set(&format!("/hooks/{point}"), json!([script("exit 7")]));
        bundle.container().run().exits(1).says(text);
        assert_eq!(bundle.leftovers(), [""; 0]);

        // At a reboot it is the container's end.
        let (bundle, order) = system(Some(point));
        let once = bundle.write("once", "");
        let once = match point {
            "createContainer" => once.display().to_string(),
            _ => "/once".to_owned(),
        };
        bundle.set(
            &format!("/hooks/{point}"),
            json!([script(&format!("rm {once}"))]),
        );
        let c = bundle.container();
        let running = c.spawn_run();
        until("init", || {
            let order = fs::read_to_string(&order).unwrap();
            order.contains("init").then_some(())
        });
        c.exec_with(
            &["--cap", "CAP_SYS_BOOT"],
            &["/bin/busybox", "reboot", "-f"],
        );
        running.wait().exits(1).says(text);
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn hooks_of_the_host_are_no_hooks_of_a_reboot() {
    differs!(Runc | Crun, "no system containers");
    for (name, text) in [
        ("poststart", "these hooks run on the host"),
        ("startcontainer", "there are no such hooks"),
    ] {
        let (bundle, _) = system(Some(name));
        bundle.container().run().exits(1).says(text);
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}
