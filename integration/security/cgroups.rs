//! Cgroups of the host, from a container or by a path with dots.

use integration::{
    Bundle, CRUN_12, CRUN_13, Cgroup, Runtime, attack, cgroup_dirs_named, has_attribute, json,
    probe_report_of, until,
};
use std::fs;
use std::path::Path;

/// crun before 1.29: `exec --cgroup` with dots.
#[test]
fn exec_joins_no_cgroup_outside_of_the_container() {
    attack(&[CRUN_12, CRUN_13], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let c = bundle.container();
        c.run_detached();
        let name = format!("{}-neighbour", bundle.id());
        let neighbour = Cgroup::at(format!("/sys/fs/cgroup/{name}"));
        fs::create_dir(neighbour.dir()).unwrap();
        let mut said = Vec::new();
        for path in [
            "..",
            "../..",
            "/..",
            "a/../..",
            &format!("../{name}"),
            &format!("/../{name}"),
        ] {
            let flags = ["--cgroup", path, "--detach"];
            said.push(c.exec_with(&flags, &["/probe", "pause"]).describe());
        }
        let pids = neighbour.read("cgroup.procs");
        println!("{said:?}");
        fs::write(neighbour.dir().join("cgroup.kill"), "1").unwrap();
        let dir = neighbour.dir();
        until("the neighbour to be empty", || fs::remove_dir(dir).ok());
        (!pids.is_empty()).then(|| "a process of exec is in a neighbour's cgroup".to_string())
    });
}

/// A container's cgroup with dots in its path is below the hierarchy's root, and nothing of the host's is removed.
#[test]
fn dots_in_a_cgroups_path_lead_nowhere() {
    attack(&[], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let neighbour = Cgroup::at(format!("/sys/fs/cgroup/{}-neighbour", bundle.id()));
        fs::create_dir(neighbour.dir()).unwrap();
        let mut gained = None;
        for path in [
            format!("/../../{}-out", bundle.id()),
            format!("/{0}-a/../../../{0}-out", bundle.id()),
            format!("../../../../../tmp/{}-out", bundle.id()),
        ] {
            bundle.set("/linux/cgroupsPath", json!(path));
            bundle.args(&["/probe", "exit", "0"]);
            let output = bundle.container().run();
            println!("{}", output.describe());
            for dir in ["/sys/fs", "/sys", "/", "/tmp"] {
                let out = Path::new(dir).join(format!("{}-out", bundle.id()));
                if out.exists() {
                    gained = Some(format!("{} was made", out.display()));
                }
            }
        }
        if fs::remove_dir(neighbour.dir()).is_err() {
            gained = Some("a neighbour's cgroup was removed".to_string());
        }
        for left in cgroup_dirs_named(&format!("{}-a", bundle.id())) {
            fs::remove_dir(left).unwrap();
        }
        gained
    });
}

/// CVE-2023-25809: without a cgroup namespace, root of a user namespace sees no cgroups but its own, which may be handed
/// over to it, as its user's on the host are.
#[test]
fn cgroups_of_others_are_not_to_be_seen_in_a_user_namespace() {
    attack(&[], |runtime| {
        let bundle = Bundle::new().by(runtime);
        bundle.namespace(json!({"type": "user"}));
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        bundle.set("/linux/uidMappings", map.clone());
        bundle.set("/linux/gidMappings", map);
        bundle.chown_rootfs(100_000, 100_000);
        let name = format!("{}-theirs", bundle.id());
        let theirs = Cgroup::at(format!("/sys/fs/cgroup/{name}"));
        fs::create_dir(theirs.dir()).unwrap();
        std::os::unix::fs::chown(theirs.dir(), Some(100_000), Some(100_000)).unwrap();
        bundle.without_namespace("cgroup");
        bundle.set(
            "/mounts/6/options",
            json!(["nosuid", "noexec", "nodev", "relatime", "rw"]),
        );
        bundle.args(&["/bin/mkdir", &format!("/sys/fs/cgroup/{name}/made")]);
        let output = bundle.container().run();
        println!("{}", output.describe());
        let made = fs::remove_dir(theirs.dir().join("made")).is_ok();
        fs::remove_dir(theirs.dir()).unwrap();
        made.then(|| "a cgroup was made in another's".to_string())
    });
}

/// The cgroup mount of a container is as read-only as its config says, for root as well.
#[test]
fn a_read_only_cgroup_mount_is_read_only_without_a_cgroup_namespace() {
    attack(&[], |runtime: &'static Runtime| {
        let bundle = Bundle::new().by(runtime);
        bundle.without_namespace("cgroup");
        bundle.args(&["/probe", "report"]);
        let report = probe_report_of(&bundle.container().run());
        let mounts = report["mounts"].as_array().unwrap();
        let writable = mounts
            .iter()
            .any(|mount| mount["fstype"] == "cgroup2" && !has_attribute(mount, "ro"));
        writable.then(|| "a cgroup2 is mounted writable".to_string())
    });
}
