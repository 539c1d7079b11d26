//! process.user: ids, groups, umask, and whose the standard streams are.

use integration::{Bundle, differs, json, probe_report};
use std::fs;
use std::os::unix::fs::MetadataExt;

fn as_user(user: integration::Value) -> integration::Value {
    let bundle = Bundle::new();
    bundle.set("/process/user", user);
    probe_report(&bundle)
}

/// A bundle with a user namespace that maps ids 0 to 1999 to 100000 and up.
fn mapped() -> Bundle {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 2000}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    bundle
}

#[test]
fn all_uids_and_gids_are_set() {
    let report = as_user(json!({"uid": 1000, "gid": 1001}));
    assert_eq!(report["all_uids"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(report["all_gids"], json!([1001, 1001, 1001, 1001]));
}

#[test]
fn ids_need_not_be_in_the_user_database() {
    let report = as_user(json!({"uid": 54321, "gid": 54322}));
    assert_eq!(
        (&report["uid"], &report["gid"]),
        (&json!(54321), &json!(54322))
    );
}

#[test]
fn ids_have_32_bits() {
    differs!(Runc, "its ids end at 2147483647");
    let report = as_user(json!({"uid": 4_294_967_294u32, "gid": 3_000_000_000u32}));
    assert_eq!(report["uid"], 4_294_967_294u32);
    assert_eq!(report["gid"], 3_000_000_000u32);
}

#[test]
fn a_user_without_ids_is_root() {
    let report = as_user(json!({}));
    assert_eq!((&report["uid"], &report["gid"]), (&json!(0), &json!(0)));
}

#[test]
fn additional_gids_are_set() {
    let report = as_user(json!({"uid": 1000, "gid": 1000, "additionalGids": [2000, 5, 2001]}));
    let mut groups: Vec<u64> = report["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g.as_u64().unwrap())
        .collect();
    groups.sort_unstable();
    groups.retain(|gid| *gid != 1000);
    assert_eq!(groups, [5, 2000, 2001]);
}

#[test]
fn the_groups_of_the_user_database_are_not_added() {
    let report = as_user(json!({"uid": 1000, "gid": 1000}));
    assert_eq!(report["groups"], json!([]));
}

#[test]
fn umask_is_0022_by_default() {
    assert_eq!(as_user(json!({"uid": 0, "gid": 0}))["umask"], "0022");
}

#[test]
fn umask_is_set() {
    let report = as_user(json!({"uid": 0, "gid": 0, "umask": 0o137}));
    assert_eq!(report["umask"], "0137");
}

#[test]
fn umask_0_is_not_the_default() {
    let report = as_user(json!({"uid": 0, "gid": 0, "umask": 0}));
    assert_eq!(report["umask"], "0000");
}

#[test]
fn exec_has_the_umask_of_the_config() {
    differs!(Runc, "exec has the umask of its caller");
    let bundle = Bundle::new();
    bundle.set("/process/user/umask", json!(0o27));
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(report["umask"], "0027");
}

#[test]
fn a_umask_with_other_bits_is_refused() {
    differs!(Runc | Crun, "umask(2) drops the bits that it does not know");
    let bundle = Bundle::new();
    bundle.set("/process/user/umask", json!(0o1777));
    bundle.container().run().fails().says("umask");
}

#[test]
fn ids_that_are_no_numbers_are_refused() {
    differs!(Crun, "takes the part of them that fits");
    for user in [
        json!({"uid": "root", "gid": 0}),
        json!({"uid": 0, "gid": 1.5}),
        json!({"uid": 4_294_967_296u64, "gid": 0}),
    ] {
        let bundle = Bundle::new();
        bundle.set("/process/user", user);
        bundle.container().run().fails();
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn a_user_in_a_user_namespace_has_the_mapped_ids_on_the_host() {
    let bundle = mapped();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1001}));
    let c = bundle.container();
    c.run_detached();
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    let ids = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split('\t').nth(1).unwrap().to_string()
    };
    assert_eq!(
        (ids("Uid:"), ids("Gid:")),
        ("101000".into(), "101001".into())
    );
    c.wait_line("ready");
}

#[test]
fn an_unmapped_uid_is_refused() {
    let bundle = mapped();
    bundle.set("/process/user", json!({"uid": 2000, "gid": 0}));
    bundle.container().run().fails().says_any(&[
        "cannot setuid to unmapped",
        "cannot set uid to unmapped",
        "setresuid",
    ]);
}

#[test]
fn an_unmapped_gid_is_refused() {
    let bundle = mapped();
    bundle.set("/process/user", json!({"uid": 0, "gid": 2000}));
    bundle.container().run().fails().says_any(&[
        "cannot setgid to unmapped",
        "cannot set gid to unmapped",
        "setresgid",
    ]);
}

#[test]
fn unmapped_additional_gids_are_refused() {
    differs!(Crun, "leaves its cgroup behind");
    let bundle = mapped();
    bundle.set("/process/user/additionalGids", json!([7, 2000]));
    bundle.container().run().fails();
}

#[test]
fn additional_gids_work_in_a_user_namespace() {
    let bundle = mapped();
    bundle.set("/process/user/additionalGids", json!([7, 1999]));
    let groups = probe_report(&bundle)["groups"].clone();
    let has = |gid: u32| groups.as_array().unwrap().contains(&json!(gid));
    assert!(has(7) && has(1999), "{groups}");
}

#[test]
fn files_of_the_process_belong_to_the_user() {
    let bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1001}));
    bundle.args(&["/probe", "write", "/tmp/mine", "x"]);
    bundle.container().run().ok();
    let meta = fs::metadata(bundle.rootfs("/tmp/mine")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1000, 1001));
    assert_eq!(meta.mode() & 0o777, 0o644);
}

#[test]
fn the_user_can_open_its_pipes_again() {
    let bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.args(&["/bin/sh", "-c", "echo again > /proc/self/fd/1"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let c = bundle.container();
    c.call("run", &[""; 0]).stdout_fd(writer).run().ok();
    assert_eq!(std::io::read_to_string(reader).unwrap(), "again\n");
}

#[test]
fn dev_null_as_a_standard_stream_keeps_its_owner() {
    differs!(Crun, "gives /dev/null away when there is a user namespace");
    let bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run().ok();
    assert_eq!(fs::metadata("/dev/null").unwrap().uid(), 0);
}

#[test]
fn keep_original_groups_keeps_the_groups_of_the_caller() {
    differs!(Runc, "the annotation is crun's");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    bundle.set("/annotations/run.oci.keep_original_groups", json!("1"));
    // The caller gets its groups from setpriv(1).
    let io = bundle.home().join("io");
    let runtime = integration::Runtime::get().path();
    let root = bundle.root();
    let output = integration::Call::of("setpriv", &io)
        .args(["--groups", "2000,2001", "--"])
        .arg(runtime)
        .arg("--root")
        .arg(&root)
        .args(["run", "--bundle"])
        .arg(bundle.dir())
        .arg(bundle.id())
        .run()
        .ok();
    assert_eq!(output.json()["groups"], json!([2000, 2001]));
}

#[test]
fn without_the_annotation_the_groups_of_the_caller_are_dropped() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let io = bundle.home().join("io");
    let output = integration::Call::of("setpriv", &io)
        .args(["--groups", "2000,2001", "--"])
        .arg(integration::Runtime::get().path())
        .arg("--root")
        .arg(bundle.root())
        .args(["run", "--bundle"])
        .arg(bundle.dir())
        .arg(bundle.id())
        .run()
        .ok();
    assert_eq!(output.json()["groups"], json!([]));
}

#[test]
fn a_rootless_container_is_root_of_the_callers_ids() {
    let bundle = Bundle::rootless(1000, 1000);
    let report = probe_report(&bundle);
    assert_eq!(report["all_uids"], json!([0, 0, 0, 0]));
    assert_eq!(report["uid_map"], json!([[0, 1000, 1]]));
    assert_eq!(report["umask"], "0022");
}

#[test]
fn a_rootless_container_has_no_groups_to_give() {
    differs!(Crun, "passes over it");
    let bundle = Bundle::rootless(1000, 1000);
    bundle.args(&["/probe", "exit", "0"]);
    bundle.set("/process/user/additionalGids", json!([0]));
    bundle.container().run().fails();
}

#[test]
fn a_rootless_container_cannot_be_a_user_that_is_not_mapped() {
    let bundle = Bundle::rootless(1000, 1000);
    bundle.args(&["/probe", "exit", "0"]);
    bundle.set("/process/user", json!({"uid": 1, "gid": 0}));
    bundle.container().run().fails();
}
