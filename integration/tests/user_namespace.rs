//! User namespaces that root makes: mappings, files, devices, users, joining.

use integration::{Bundle, Value, differs, json, probe_report};
use std::fs;
use std::os::unix::fs::MetadataExt;

const NO_FLAGS: &[&str] = &[];

/// A bundle in a user namespace in which id 0 is 100000 outside, with a root filesystem of that owner.
fn bundle() -> Bundle {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    map(&bundle, mapping.clone(), mapping);
    bundle.chown_rootfs(100_000, 100_000);
    bundle
}

fn map(bundle: &Bundle, uids: Value, gids: Value) {
    bundle.set("/linux/uidMappings", uids);
    bundle.set("/linux/gidMappings", gids);
}

#[test]
fn the_mappings_are_those_of_the_config() {
    let report = probe_report(&bundle());
    assert_eq!(report["uid_map"], json!([[0, 100_000, 65_536]]));
    assert_eq!(report["gid_map"], json!([[0, 100_000, 65_536]]));
    assert_eq!(report["setgroups"], "allow");
}

#[test]
fn several_ranges_are_mapped() {
    let bundle = bundle();
    let uids = json!([
        {"containerID": 0, "hostID": 100_000, "size": 1000},
        {"containerID": 1000, "hostID": 5000, "size": 1},
        {"containerID": 2000, "hostID": 200_000, "size": 500}
    ]);
    let gids = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    map(&bundle, uids, gids);
    let report = probe_report(&bundle);
    assert_eq!(
        report["uid_map"],
        json!([[0, 100_000, 1000], [1000, 5000, 1], [2000, 200_000, 500]])
    );
    assert_eq!(report["gid_map"], json!([[0, 100_000, 1000]]));
}

#[test]
fn more_mappings_than_fit_into_one_line_of_words_work() {
    let bundle = bundle();
    let ranges: Vec<Value> = (0..200)
        .map(|n| json!({"containerID": n, "hostID": 100_000 + 2 * n, "size": 1}))
        .collect();
    map(&bundle, json!(ranges), json!(ranges));
    let report = probe_report(&bundle);
    assert_eq!(report["uid_map"].as_array().unwrap().len(), 200);
    assert_eq!(report["uid_map"][199], json!([199, 100_398, 1]));
}

#[test]
fn the_process_is_root_inside_and_not_outside() {
    let bundle = bundle();
    let c = bundle.container();
    c.run_detached();
    let inside = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!((&inside["uid"], &inside["gid"]), (&json!(0), &json!(0)));
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    let uid = status
        .lines()
        .find(|line| line.starts_with("Uid:"))
        .unwrap();
    assert_eq!(
        uid.split_whitespace().collect::<Vec<_>>(),
        ["Uid:", "100000", "100000", "100000", "100000"]
    );
}

#[test]
fn a_user_of_the_container_is_mapped() {
    let bundle = bundle();
    bundle.set(
        "/process/user",
        json!({"uid": 1000, "gid": 1001, "additionalGids": [2000]}),
    );
    let c = bundle.container();
    c.run_detached();
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    assert!(status.contains("Uid:\t101000\t"), "{status}");
    assert!(status.contains("Gid:\t101001\t"), "{status}");
    assert!(status.contains("102000"), "{status}");
}

#[test]
fn an_unmapped_user_is_an_error() {
    let bundle = bundle();
    bundle.set("/process/user", json!({"uid": 70_000, "gid": 0}));
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn files_made_inside_belong_to_the_mapped_user() {
    let bundle = bundle();
    bundle.args(&["/bin/touch", "/tmp/made"]);
    bundle.container().run().ok();
    let file = fs::metadata(bundle.rootfs("/tmp/made")).unwrap();
    assert_eq!((file.uid(), file.gid()), (100_000, 100_000));
}

#[test]
fn files_of_the_hosts_root_belong_to_nobody() {
    let bundle = bundle();
    bundle.write("/etc/hosts-root", "");
    bundle.args(&["/probe", "try", "open", "w", "/etc/hosts-root"]);
    assert_eq!(bundle.container().run().ok().stdout, "EACCES\n");
    bundle.args(&["/probe", "stat", "/etc/hosts-root"]);
    let stat = bundle.container().run().ok().json();
    assert_eq!(stat["/etc/hosts-root"]["uid"], 65_534);
}

#[test]
fn devices_are_there_and_work() {
    let bundle = bundle();
    let script = "echo lost > /dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c; \
                  stat -c %t:%T /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty";
    bundle.args(&["/bin/sh", "-c", script]);
    let stdout = bundle.container().run().ok().stdout;
    let words: Vec<&str> = stdout.split_whitespace().collect();
    assert_eq!(words, ["4", "4", "1:3", "1:5", "1:7", "1:8", "1:9", "5:0"]);
}

#[test]
fn no_device_node_can_be_made() {
    let bundle = bundle();
    bundle.capabilities(&["CAP_MKNOD", "CAP_SYS_ADMIN"]);
    bundle.args(&["/probe", "try", "mknod", "c", "/tmp/null", "1", "3"]);
    assert_eq!(bundle.container().run().ok().stdout, "EPERM\n");
}

#[test]
fn capabilities_count_inside_alone() {
    let bundle = bundle();
    bundle.capabilities(&["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_NICE"]);
    let script = "ip link set lo down && echo net; /probe try sethostname x; \
                  /probe try mount tmp /tmp tmpfs '' ''; /probe try nice -5";
    bundle.args(&["/bin/sh", "-c", script]);
    let stdout = bundle.container().run().ok().stdout;
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines, ["net", "ok", "ok", "EACCES"]);
}

#[test]
fn proc_and_sys_are_the_containers() {
    let bundle = bundle();
    bundle.args(&[
        "/bin/sh",
        "-c",
        "ls /sys/class/net; ls -d /proc/1; cat /proc/self/uid_map",
    ]);
    let stdout = bundle.container().run().ok().stdout;
    let words: Vec<&str> = stdout.split_whitespace().collect();
    assert_eq!(words, ["lo", "/proc/1", "0", "100000", "65536"]);
}

#[test]
fn a_setting_of_the_host_cannot_be_changed() {
    let bundle = bundle();
    bundle.remove("/linux/readonlyPaths");
    bundle.args(&["/probe", "try", "open", "w", "/proc/sys/kernel/panic"]);
    let stdout = bundle.container().run().ok().stdout;
    assert!(
        ["EACCES\n", "EPERM\n", "EROFS\n"].contains(&stdout.as_str()),
        "{stdout}"
    );
}

#[test]
fn exec_joins_the_user_namespace() {
    let bundle = bundle();
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(report["uid_map"], json!([[0, 100_000, 65_536]]));
    let report = c
        .exec_with(&["--user", "1000:1000"], &["/probe", "report"])
        .ok()
        .json();
    assert_eq!(
        (&report["uid"], &report["gid"]),
        (&json!(1000), &json!(1000))
    );
}

#[test]
fn exec_as_an_unmapped_user_is_an_error() {
    differs!(Crun, "the process is run as another user");
    let bundle = bundle();
    let c = bundle.container();
    c.run_detached();
    c.exec_with(&["--user", "70000"], &["/probe", "exit", "0"])
        .fails();
}

#[test]
fn kill_pause_and_delete_reach_it() {
    let bundle = bundle();
    let c = bundle.container();
    c.run_detached();
    c.pause().ok();
    assert_eq!(c.status(), "paused");
    c.resume().ok();
    c.kill("KILL").ok();
    c.wait_stopped();
    c.delete().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn create_and_start_work() {
    let bundle = bundle();
    bundle.args(&["/probe", "write", "/tmp/out", "yes"]);
    let c = bundle.container();
    c.create();
    assert!(!bundle.rootfs("/tmp/out").exists());
    c.start();
    c.wait_stopped();
    assert_eq!(
        fs::read_to_string(bundle.rootfs("/tmp/out")).unwrap(),
        "yes"
    );
}

#[test]
fn bind_mounts_of_the_host_work() {
    differs!(
        Runc < (1, 2),
        "it does not keep the locked flags of the source"
    );
    let bundle = bundle();
    let dir = bundle.home().join("io/shared");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "text").unwrap();
    bundle.mount(json!({"destination": "/mnt", "source": dir, "options": ["bind", "ro"]}));
    bundle.args(&[
        "/bin/sh",
        "-c",
        "cat /mnt/file; /probe try creat /mnt/x 2>/dev/null; /probe try mkdir /mnt/x",
    ]);
    let stdout = bundle.container().run().ok().stdout;
    assert!(
        stdout.starts_with("text") && stdout.ends_with("EROFS\n"),
        "{stdout}"
    );
}

#[test]
fn a_source_that_only_root_can_reach_can_be_bound() {
    differs!(Runc < (1, 2), "sources are opened by the container's root");
    let bundle = bundle();
    let dir = bundle.home().join("io/closed");
    fs::create_dir_all(dir.join("open")).unwrap();
    fs::write(dir.join("open/file"), "text").unwrap();
    fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    bundle.mount(json!({"destination": "/mnt", "source": dir.join("open"), "options": ["bind"]}));
    bundle.args(&["/bin/cat", "/mnt/file"]);
    assert_eq!(bundle.container().run().ok().stdout, "text");
}

#[test]
fn the_terminal_belongs_to_the_mapped_user() {
    let bundle = bundle();
    bundle.set("/process/terminal", json!(true));
    // Newer versions of runc have a word to say about those.
    bundle.remove("/process/capabilities/ambient");
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.args(&[
        "/bin/sh",
        "-c",
        "stat -c %u:%g /dev/pts/0; echo again > /dev/console; echo end",
    ]);
    let mut terminal = integration::Terminal::open();
    let c = bundle.container();
    let run = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    let text = terminal.read_until("end");
    run.wait().ok();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words, ["1000:5", "again", "end"]);
}

#[test]
fn a_user_namespace_without_mappings_is_an_error() {
    let bundle = Bundle::new();
    differs!(Crun, "it maps what it can");
    bundle.namespace(json!({"type": "user"}));
    bundle.container().run().fails().says("mappings");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn mappings_without_a_user_namespace_are_an_error() {
    differs!(Runc < (1, 4), "they are not used");
    differs!(Crun, "they are not used");
    let bundle = Bundle::new();
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    map(&bundle, mapping.clone(), mapping);
    bundle.container().run().fails().says("user namespace");
}

#[test]
fn overlapping_mappings_are_an_error() {
    differs!(Crun, "it leaves the cgroup behind");
    let bundle = bundle();
    let ranges = json!([
        {"containerID": 0, "hostID": 100_000, "size": 10},
        {"containerID": 5, "hostID": 200_000, "size": 10}
    ]);
    map(&bundle, ranges.clone(), ranges);
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_user_namespace_can_be_joined() {
    let holder = bundle();
    let h = holder.container();
    h.run_detached();
    let pid = h.pid();
    let joining = Bundle::new();
    joining.chown_rootfs(100_000, 100_000);
    joining.namespace(json!({"type": "user", "path": format!("/proc/{pid}/ns/user")}));
    let report = probe_report(&joining);
    let expected = fs::metadata(format!("/proc/{pid}/ns/user")).unwrap().ino();
    assert_eq!(report["namespaces"]["user"], expected);
    assert_eq!(report["uid_map"], json!([[0, 100_000, 65_536]]));
    assert_eq!(report["uid"], 0);
}

#[test]
fn a_joined_user_namespace_may_come_with_the_same_mappings() {
    differs!(Runc < (1, 2), "mappings are for new ones");
    let holder = bundle();
    let h = holder.container();
    h.run_detached();
    let joining = bundle();
    joining.namespace(json!({"type": "user", "path": format!("/proc/{}/ns/user", h.pid())}));
    assert_eq!(
        probe_report(&joining)["uid_map"],
        json!([[0, 100_000, 65_536]])
    );
}

#[test]
fn a_joined_user_namespace_with_other_mappings_is_an_error() {
    differs!(Crun, "they are not used");
    let holder = bundle();
    let h = holder.container();
    h.run_detached();
    let joining = bundle();
    let other = json!([{"containerID": 0, "hostID": 200_000, "size": 65_536}]);
    map(&joining, other.clone(), other);
    joining.namespace(json!({"type": "user", "path": format!("/proc/{}/ns/user", h.pid())}));
    joining.container().run().fails();
    assert_eq!(joining.leftovers(), [""; 0]);
}

#[test]
fn a_joined_user_namespace_with_its_network_works() {
    let holder = bundle();
    let h = holder.container();
    h.run_detached();
    let pid = h.pid();
    let joining = Bundle::new();
    joining.chown_rootfs(100_000, 100_000);
    for (kind, file) in [("user", "user"), ("network", "net"), ("ipc", "ipc")] {
        joining.namespace(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
    }
    let report = probe_report(&joining);
    let expected = fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino();
    assert_eq!(report["namespaces"]["net"], expected);
}

#[test]
fn all_namespaces_at_once_work() {
    let bundle = bundle();
    differs!(Runc < (1, 2), "no time namespaces");
    bundle.namespace(json!({"type": "time"}));
    let report = probe_report(&bundle);
    for kind in ["pid", "net", "mnt", "ipc", "uts", "user", "cgroup", "time"] {
        let own = fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino();
        assert_ne!(report["namespaces"][kind], own, "{kind}");
    }
}
