//! Hosts that lack something: a controller, a writable hierarchy, any hierarchy at all; and paths that would lead out of it.

use integration::{
    Bundle, Call, Container, Kind, Runtime, cgroup_dirs_named, differs, has_controller, json, needs,
};

/// A call of the runtime after this script has changed the mounts, which nobody else sees.
fn in_other_mounts(bundle: &Bundle, script: &str, args: &[&str]) -> Call {
    Call::of("unshare", &bundle.home().join("io"))
        .args(["--mount", "sh", "-euc"])
        .arg(format!("{script}\nexec \"$@\""))
        .arg("sh")
        .arg(Runtime::get().path())
        .arg("--root")
        .arg(bundle.root())
        .args(args)
}

fn run_in(bundle: &Bundle, script: &str) -> Call {
    let dir = bundle.dir();
    let words = ["run", "--bundle", dir.to_str().unwrap(), bundle.id()];
    in_other_mounts(bundle, script, &words)
}

const READ_ONLY: &str = "mount -o remount,bind,ro /sys/fs/cgroup";
const HYBRID: &str = "mount -t tmpfs tmpfs /mnt && mkdir /mnt/unified && mount --bind /sys/fs/cgroup /mnt/unified && \
    mount --rbind /mnt /sys/fs/cgroup";

/// What a failed `run` leaves: nothing.
fn assert_gone(c: &Container<'_>) {
    assert_eq!(c.leftovers(), Vec::<String>::new());
}

#[test]
fn a_limit_without_its_controller_names_it_and_leaves_nothing() {
    for (controller, resources) in [
        ("memory", json!({"memory": {"limit": 100_000_000}})),
        ("pids", json!({"pids": {"limit": 100}})),
        ("cpu", json!({"cpu": {"shares": 512}})),
        ("cpuset", json!({"cpu": {"cpus": "0"}})),
        (
            "io",
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 1_000_000}]}}),
        ),
        ("memory", json!({"unified": {"memory.high": "100000000"}})),
    ] {
        needs!(!has_controller(controller), "a host without controllers");
        let bundle = Bundle::new();
        bundle.set("/linux/resources", resources);
        bundle.args(&["/bin/true"]);
        let c = bundle.container();
        let output = c.run().fails().says(controller);
        if Runtime::get().kind() == Kind::Vzrun {
            output
                .says(&format!("controller {controller:?} not available"))
                .says("systemd.unified_cgroup_hierarchy=1");
            assert_gone(&c);
        }
    }
}

#[test]
fn a_read_only_hierarchy_is_an_error_that_leaves_nothing() {
    let bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    let output = run_in(&bundle, READ_ONLY).run().fails();
    if Runtime::get().kind() == Kind::Vzrun {
        output
            .says("read-only file system")
            .says("--cgroup-manager=disabled");
    }
    assert_gone(&bundle.container());
}

#[test]
fn without_cgroups_a_read_only_hierarchy_will_do() {
    differs!(Runc, "it has no --cgroup-manager");
    let bundle = Bundle::new();
    bundle.args(&["/bin/echo", "here"]);
    let dir = bundle.dir();
    let words = [
        "--cgroup-manager=disabled",
        "run",
        "--bundle",
        dir.to_str().unwrap(),
        bundle.id(),
    ];
    let output = in_other_mounts(&bundle, READ_ONLY, &words).run().ok();
    assert_eq!(output.stdout, "here\n");
}

#[test]
fn a_hybrid_host_has_it_at_unified() {
    differs!(Runc | Crun, "on a hybrid host it wants cgroup v1");
    let bundle = Bundle::new();
    let dir = bundle.dir();
    let words = [
        "run",
        "--detach",
        "--bundle",
        dir.to_str().unwrap(),
        bundle.id(),
    ];
    in_other_mounts(&bundle, HYBRID, &words).run().ok();
    let c = bundle.container();
    assert_eq!(c.cgroup().processes(), [c.pid()]);
    for words in [
        &["exec", bundle.id(), "/bin/true"][..],
        &["pause", bundle.id()],
        &["resume", bundle.id()],
        &["delete", "--force", bundle.id()],
    ] {
        in_other_mounts(&bundle, HYBRID, words).run().ok();
    }
    assert_gone(&c);
}

#[test]
fn no_hierarchy_at_all_is_an_error_that_says_what_to_do() {
    let bundle = Bundle::new();
    bundle.args(&["/bin/true"]);
    let output = run_in(&bundle, "umount --lazy /sys/fs/cgroup")
        .run()
        .fails();
    if Runtime::get().kind() == Kind::Vzrun {
        output.says("boot with systemd.unified_cgroup_hierarchy=1");
    }
    assert_gone(&bundle.container());
}

/// As in a container that has the host's cgroup namespace and sees its own cgroup alone.
#[test]
fn a_part_of_the_hierarchy_will_do() {
    differs!(Crun, "it looks for the host's path");
    let bundle = Bundle::new();
    let name = format!("outer-{}", bundle.id());
    let script = format!(
        "mkdir -p /sys/fs/cgroup/{name}/leaf && echo 0 > /sys/fs/cgroup/{name}/leaf/cgroup.procs && \
        mount --bind /sys/fs/cgroup/{name} /sys/fs/cgroup"
    );
    bundle.args(&["/bin/echo", "here"]);
    let output = run_in(&bundle, &script).run();
    let outer = cgroup_dirs_named(&name);
    let left = cgroup_dirs_named(bundle.id());
    for dir in outer.iter().rev() {
        // The one that the test is about, and one made below it on the way to the container's.
        let _ = std::fs::remove_dir(dir.join("leaf"));
        std::fs::remove_dir(dir).unwrap();
    }
    assert_eq!(output.ok().stdout, "here\n");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn dots_do_not_lead_out_of_the_hierarchy() {
    differs!(Crun, "it takes the path as it is");
    let bundle = Bundle::new();
    let name = format!("dots-{}", bundle.id());
    bundle.set(
        "/linux/cgroupsPath",
        json!(format!("/../../none/../{name}")),
    );
    let c = bundle.container();
    c.run_detached();
    assert_eq!(c.cgroup().path(), std::path::Path::new("/").join(&name));
    c.delete_force().ok();
    assert!(cgroup_dirs_named(&name).is_empty());
}

#[test]
fn the_root_of_the_hierarchy_is_nobodys() {
    differs!(Runc, "it tries to use it");
    for path in ["/", "/..", "/a/.."] {
        let bundle = Bundle::new();
        bundle.set("/linux/cgroupsPath", json!(path));
        bundle.args(&["/bin/true"]);
        bundle.container().run().fails();
        assert_gone(&bundle.container());
    }
}
