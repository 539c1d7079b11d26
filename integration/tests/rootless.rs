//! The commands as an ordinary user: with a range of subordinate ids (tester) and without one (nosub).

use integration::{
    Bundle, Call, Container, Runtime, Terminal, Value, differs, json, needs, probe_report,
};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

const NO_FLAGS: &[&str] = &[];

/// A user of the test environment.
#[derive(Clone, Copy)]
struct User {
    id: u32,
    /// The first of the 65536 ids in /etc/subuid and /etc/subgid.
    ids: Option<u32>,
}

/// The user of this name, if the machine has it.
fn user(name: &str) -> Option<User> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let id = line.split(':').nth(2)?.parse().ok()?;
    let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let ids = subuid.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(':')?
            .split(':')
            .next()?
            .parse()
            .ok()
    });
    Some(User { id, ids })
}

impl User {
    /// A bundle with the one id mapped.
    fn bundle(self) -> Bundle {
        Bundle::rootless(self.id, self.id)
    }

    /// A bundle with all subordinate ids mapped.
    fn wide_bundle(self) -> Bundle {
        let bundle = self.bundle();
        let mapping = json!([
            {"containerID": 0, "hostID": self.id, "size": 1},
            {"containerID": 1, "hostID": self.ids.unwrap(), "size": 65_536}
        ]);
        bundle.set("/linux/uidMappings", mapping.clone());
        bundle.set("/linux/gidMappings", mapping);
        bundle
    }
}

/// The user without subordinate ids, or the end of the test.
macro_rules! nosub {
    () => {{
        let user = user("nosub");
        needs!(user.is_some(), "the user nosub of hack/env");
        user.unwrap()
    }};
}

/// The user with subordinate ids, or the end of the test.
macro_rules! tester {
    () => {{
        let user = user("tester");
        needs!(
            user.is_some_and(|user| user.ids.is_some()),
            "the user tester of hack/env"
        );
        user.unwrap()
    }};
}

#[test]
fn a_container_runs_with_a_single_id() {
    let user = nosub!();
    let report = probe_report(&user.bundle());
    assert_eq!(report["uid_map"], json!([[0, user.id, 1]]));
    assert_eq!(report["gid_map"], json!([[0, user.id, 1]]));
    assert_eq!(report["setgroups"], "deny");
    assert_eq!(
        (&report["uid"], &report["gid"], &report["pid"]),
        (&json!(0), &json!(0), &json!(1))
    );
}

#[test]
fn a_container_runs_with_subordinate_ids() {
    let user = tester!();
    let report = probe_report(&user.wide_bundle());
    assert_eq!(
        report["uid_map"],
        json!([[0, user.id, 1], [1, user.ids.unwrap(), 65_536]])
    );
    assert_eq!(
        report["gid_map"],
        json!([[0, user.id, 1], [1, user.ids.unwrap(), 65_536]])
    );
    assert_eq!(report["setgroups"], "allow");
}

#[test]
fn a_process_runs_as_a_subordinate_user() {
    let user = tester!();
    let bundle = user.wide_bundle();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1001}));
    let c = bundle.container();
    c.run_detached();
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    let first = user.ids.unwrap() - 1;
    assert!(
        status.contains(&format!("Uid:\t{}\t", first + 1000)),
        "{status}"
    );
    assert!(
        status.contains(&format!("Gid:\t{}\t", first + 1001)),
        "{status}"
    );
}

#[test]
fn a_process_has_subordinate_groups() {
    differs!(Runc, "additional groups are refused");
    let user = tester!();
    let bundle = user.wide_bundle();
    bundle.set("/process/user/additionalGids", json!([5, 2000]));
    assert_eq!(probe_report(&bundle)["groups"], json!([5, 2000]));
}

#[test]
fn a_range_that_is_not_the_users_is_refused() {
    differs!(Crun, "it leaves the state directory behind");
    let user = nosub!();
    let bundle = user.bundle();
    let mapping = json!([
        {"containerID": 0, "hostID": user.id, "size": 1},
        {"containerID": 1, "hostID": 300_000, "size": 65_536}
    ]);
    bundle.set("/linux/uidMappings", mapping.clone());
    bundle.set("/linux/gidMappings", mapping);
    bundle.container().run().fails().says("newuidmap");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn without_newuidmap_the_one_id_is_mapped() {
    differs!(Runc | Crun, "it is an error");
    let user = nosub!();
    let bundle = user.bundle();
    let mapping = json!([
        {"containerID": 0, "hostID": user.id, "size": 1},
        {"containerID": 1, "hostID": 300_000, "size": 65_536}
    ]);
    bundle.set("/linux/uidMappings", mapping.clone());
    bundle.set("/linux/gidMappings", mapping);
    bundle.args(&["/probe", "report"]);
    let output = bundle
        .container()
        .call("run", NO_FLAGS)
        .env("PATH", "/nowhere")
        .run();
    assert_eq!(output.ok().json()["uid_map"], json!([[0, user.id, 1]]));
}

#[test]
fn a_container_goes_through_its_states() {
    let user = nosub!();
    let bundle = user.bundle();
    let c = bundle.container();
    c.create();
    assert_eq!(c.status(), "created");
    c.start();
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_stopped();
    c.delete().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn exit_statuses_come_through() {
    let user = nosub!();
    let bundle = user.bundle();
    bundle.args(&["/probe", "exit", "23"]);
    bundle.container().run().exits(23);
}

#[test]
fn exec_joins_the_container() {
    let user = nosub!();
    let bundle = user.bundle();
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(report["uid_map"], json!([[0, user.id, 1]]));
    assert_eq!(report["uid"], 0);
    assert_ne!(report["pid"], 1);
}

#[test]
fn exec_as_a_subordinate_user_works() {
    let user = tester!();
    let bundle = user.wide_bundle();
    let c = bundle.container();
    c.run_detached();
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
fn list_and_state_know_the_owner() {
    let user = nosub!();
    let bundle = user.bundle();
    let c = bundle.container();
    c.run_detached();
    let list = bundle.call(["list", "--format", "json"]).run().ok().json();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["id"], c.id());
    assert_eq!(list[0]["owner"], "nosub");
}

#[test]
fn the_default_root_is_in_the_users_runtime_directory() {
    let user = nosub!();
    let bundle = user.bundle();
    let runtime_dir = bundle.home().join("io/xdg");
    fs::create_dir(&runtime_dir).unwrap();
    chown(&runtime_dir, Some(user.id), Some(user.id)).unwrap();
    fs::set_permissions(&runtime_dir, fs::Permissions::from_mode(0o700)).unwrap();
    let call = |args: &[&str]| {
        bundle
            .bare_call()
            .env("XDG_RUNTIME_DIR", &runtime_dir)
            .args(args)
            .run()
    };
    let dir = bundle.dir();
    call(&[
        "run",
        "--detach",
        "--bundle",
        dir.to_str().unwrap(),
        bundle.id(),
    ])
    .ok();
    let state = runtime_dir.join(Runtime::get().name()).join(bundle.id());
    let is_there = state.is_dir();
    call(&["delete", "--force", bundle.id()]).ok();
    assert!(is_there, "{}", state.display());
}

#[test]
fn files_made_inside_are_the_users() {
    let user = nosub!();
    let bundle = user.bundle();
    bundle.args(&["/bin/touch", "/tmp/made"]);
    bundle.container().run().ok();
    let file = fs::metadata(bundle.rootfs("/tmp/made")).unwrap();
    assert_eq!((file.uid(), file.gid()), (user.id, user.id));
}

#[test]
fn files_of_a_subordinate_user_have_its_id() {
    let user = tester!();
    let bundle = user.wide_bundle();
    bundle.capabilities(&["CAP_CHOWN"]);
    bundle.args(&["/bin/sh", "-c", "touch /tmp/made && chown 33:34 /tmp/made"]);
    bundle.container().run().ok();
    let file = fs::metadata(bundle.rootfs("/tmp/made")).unwrap();
    let first = user.ids.unwrap() - 1;
    assert_eq!((file.uid(), file.gid()), (first + 33, first + 34));
}

#[test]
fn devices_are_there_and_work() {
    let user = nosub!();
    let bundle = user.bundle();
    let script = "echo lost > /dev/null && head -c 4 /dev/zero | wc -c; stat -c %t:%T /dev/null /dev/urandom";
    bundle.args(&["/bin/sh", "-c", script]);
    let stdout = bundle.container().run().ok().stdout;
    assert_eq!(
        stdout.split_whitespace().collect::<Vec<_>>(),
        ["4", "1:3", "1:9"]
    );
}

#[test]
fn the_hosts_sysfs_is_there_read_only() {
    let user = nosub!();
    let bundle = user.bundle();
    bundle.args(&[
        "/bin/sh",
        "-c",
        "test -d /sys/kernel && echo there; /probe try mkdir /sys/x",
    ]);
    let stdout = bundle.container().run().ok().stdout;
    assert!(
        stdout.starts_with("there\n") && !stdout.ends_with("ok\n"),
        "{stdout}"
    );
}

#[test]
fn a_network_of_its_own_has_loopback() {
    let user = nosub!();
    let bundle = user.bundle();
    bundle.namespace(json!({"type": "network"}));
    let report = probe_report(&bundle);
    assert_eq!(report["network"]["lo"]["up"], true);
}

#[test]
fn a_proc_of_its_own_and_the_sysfs_of_its_network() {
    let user = nosub!();
    let bundle = user.bundle();
    bundle.namespace(json!({"type": "network"}));
    let mut config = bundle.config();
    for mount in config["mounts"].as_array_mut().unwrap() {
        if mount["destination"] == "/sys" {
            *mount = json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
                            "options": ["nosuid", "noexec", "nodev", "ro"]});
        }
    }
    bundle.set_config(config);
    bundle.args(&["/probe", "list", "/sys/class/net"]);
    let listed = bundle.container().run().ok().json();
    assert_eq!(listed["/sys/class/net"], json!(["lo"]));
}

#[test]
fn a_sysfs_without_a_network_of_its_own_is_that_of_the_host() {
    differs!(Runc, "it is an error");
    let user = nosub!();
    let bundle = user.bundle();
    let mut config = bundle.config();
    for mount in config["mounts"].as_array_mut().unwrap() {
        if mount["destination"] == "/sys" {
            *mount = json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
                            "options": ["nosuid", "noexec", "nodev", "ro"]});
        }
    }
    bundle.set_config(config);
    bundle.args(&["/bin/sh", "-c", "test -d /sys/kernel && echo there"]);
    assert_eq!(bundle.container().run().ok().stdout, "there\n");
}

#[test]
fn a_lower_oom_score_is_passed_over() {
    differs!(
        Runc | Crun,
        "it is an error for a caller without any privileges"
    );
    let user = nosub!();
    let bundle = user.bundle();
    bundle.set("/process/oomScoreAdj", json!(-500));
    let own: i64 = fs::read_to_string("/proc/self/oom_score_adj")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(probe_report(&bundle)["oom_score_adj"].as_i64().unwrap() >= own);
}

#[test]
fn groups_that_are_not_mapped_are_refused() {
    differs!(Crun, "they are left out");
    let user = nosub!();
    let bundle = user.bundle();
    bundle.set("/process/user/additionalGids", json!([2000]));
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_user_that_is_not_mapped_is_refused() {
    let user = nosub!();
    let bundle = user.bundle();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 0}));
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_config_without_a_user_namespace_is_refused() {
    differs!(Crun, "it makes one itself");
    let user = nosub!();
    let bundle = user.bundle();
    bundle.without_namespace("user");
    bundle.remove("/linux/uidMappings");
    bundle.remove("/linux/gidMappings");
    bundle.container().run().fails().says("user namespace");
}

#[test]
fn a_terminal_works() {
    let user = nosub!();
    let bundle = user.bundle();
    bundle.set("/process/terminal", json!(true));
    bundle.args(&[
        "/bin/sh",
        "-c",
        "tty; echo through > /dev/console; read word; echo \"<$word>\"",
    ]);
    let mut terminal = Terminal::open();
    // The user must be able to open its own terminal.
    let slave = terminal.slave();
    rustix::fs::fchown(&slave, Some(rustix::fs::Uid::from_raw(user.id)), None).unwrap();
    let c = bundle.container();
    let run = c.call("run", NO_FLAGS).terminal(&terminal).spawn();
    terminal.read_until("through");
    terminal.write("typed\n");
    terminal.read_until("<typed>");
    run.wait().ok();
}

#[test]
fn hooks_run_as_the_user() {
    let user = nosub!();
    let bundle = user.bundle();
    let file = bundle.home().join("io/hooked");
    fs::write(&file, "").unwrap();
    chown(&file, Some(user.id), None).unwrap();
    let script = format!("id -u > {}", file.display());
    bundle.set(
        "/hooks/createRuntime",
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]),
    );
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run().ok();
    assert_eq!(fs::read_to_string(file).unwrap(), format!("{}\n", user.id));
}

#[test]
fn a_pid_file_is_the_users() {
    let user = nosub!();
    let bundle = user.bundle();
    let file = bundle.home().join("bundle/pid");
    let c = bundle.container();
    c.call("run", &["--detach", "--pid-file", file.to_str().unwrap()])
        .run()
        .ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), c.pid().to_string());
    assert_eq!(fs::metadata(file).unwrap().uid(), user.id);
}

#[test]
fn the_root_of_another_user_is_refused() {
    let user = nosub!();
    let bundle = user.bundle();
    chown(bundle.root(), Some(0), Some(0)).unwrap();
    fs::set_permissions(bundle.root(), fs::Permissions::from_mode(0o755)).unwrap();
    bundle
        .call([
            "create",
            "--bundle",
            bundle.dir().to_str().unwrap(),
            "other",
        ])
        .run()
        .fails()
        .says_or_crun("permission denied", "cannot create state directory");
}

#[test]
fn root_can_see_and_delete_a_users_container() {
    let user = nosub!();
    let bundle = user.bundle();
    let c = bundle.container();
    c.run_detached();
    let root = |verb: &[&str]| {
        Call::new(&bundle.home().join("io"))
            .arg("--root")
            .arg(bundle.root())
            .args(verb)
            .run()
    };
    let state: Value = root(&["state", c.id()]).ok().json();
    assert_eq!(state["status"], "running");
    root(&["delete", "--force", c.id()]).ok();
    assert!(!c.exists());
}

/// `spec --rootless` of the runtime itself, made the bundle's config.
fn own_spec(bundle: &Bundle) -> Value {
    let dir = bundle.home().join("bundle");
    fs::remove_file(dir.join("config.json")).unwrap();
    let spec = bundle
        .bare_call()
        .args(["spec", "--rootless", "--bundle"])
        .arg(&dir);
    spec.cwd(&dir).run().ok();
    serde_json::from_str(&fs::read_to_string(dir.join("config.json")).unwrap()).unwrap()
}

#[test]
fn the_runtimes_own_rootless_spec_runs() {
    let user = nosub!();
    let bundle = user.bundle();
    let mut config = own_spec(&bundle);
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/probe", "report"]);
    bundle.set_config(config);
    let report = bundle.container().run().ok().json();
    assert_eq!(report["uid_map"], json!([[0, user.id, 1]]));
}

/// Whether the container's processes are in a cgroup that has its name.
fn has_cgroup(c: &Container) -> bool {
    !integration::cgroup_dirs_named(c.id()).is_empty()
}

#[test]
fn a_delegated_cgroup_is_used_and_removed() {
    let user = tester!();
    let bundle = user.wide_bundle();
    let delegated = std::path::Path::new("/sys/fs/cgroup")
        .join(bundle.id())
        .join("mine");
    fs::create_dir_all(&delegated).unwrap();
    let above = delegated.parent().unwrap();
    for dir in [above, &delegated] {
        chown(dir, Some(user.id), Some(user.id)).unwrap();
        for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(dir.join(file), Some(user.id), Some(user.id)).unwrap();
        }
    }
    let name = format!("{}-c", bundle.id());
    let path = format!("/{}/{name}", bundle.id());
    bundle.set("/linux/cgroupsPath", json!(path));
    let c = bundle.container_named("c");
    // The caller must be in a cgroup that is the user's own to move a process from it.
    let script = "echo 0 > \"$0/cgroup.procs\" && exec setpriv --reuid \"$1\" --regid \"$1\" --clear-groups -- \
                  \"$2\" --root \"$3\" run --detach --bundle \"$4\" \"$5\"";
    Call::of("/bin/sh", &bundle.home().join("io"))
        .args(["-c", script])
        .arg(&delegated)
        .arg(user.id.to_string())
        .arg(Runtime::get().path())
        .arg(bundle.root())
        .arg(bundle.dir())
        .arg(c.id())
        .run()
        .ok();
    assert!(has_cgroup(&c));
    let procs = fs::read_to_string(above.join(&name).join("cgroup.procs")).unwrap();
    assert_eq!(procs.trim(), c.pid().to_string());
    c.delete_force().ok();
    assert!(!has_cgroup(&c));
    fs::remove_dir(&delegated).unwrap();
    fs::remove_dir(above).unwrap();
}
