//! process.apparmorProfile, process.selinuxLabel and linux.mountLabel, on a host without these modules: to run without
//! what was asked for would be worse than not to run.

use integration::{Bundle, differs, json, needs, probe_report};
use std::path::Path;

fn has_apparmor() -> bool {
    Path::new("/sys/kernel/security/apparmor").exists()
}

fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

fn quick() -> Bundle {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    bundle
}

#[test]
fn an_apparmor_profile_needs_apparmor() {
    differs!(Crun, "passes over it in newer versions");
    needs!(!has_apparmor(), "a host without AppArmor");
    for profile in ["docker-default", "unconfined"] {
        let bundle = quick();
        bundle.set("/process/apparmorProfile", json!(profile));
        bundle.container().run().fails().says("apparmor");
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn an_empty_apparmor_profile_is_none() {
    differs!(Crun, "wants AppArmor also for an empty name");
    let bundle = quick();
    bundle.set("/process/apparmorProfile", json!(""));
    bundle.container().run().ok();
}

#[test]
fn exec_refuses_an_apparmor_profile_without_apparmor() {
    differs!(Crun, "passes over it in newer versions");
    needs!(!has_apparmor(), "a host without AppArmor");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let output = c.exec_with(&["--apparmor", "docker-default"], &["/probe", "exit", "0"]);
    output.fails().says("apparmor");
}

#[test]
fn a_selinux_label_needs_selinux() {
    differs!(
        Crun,
        "fails at the label of the keyring, without a word of SELinux"
    );
    needs!(!has_selinux(), "a host without SELinux");
    let bundle = quick();
    bundle.set(
        "/process/selinuxLabel",
        json!("system_u:system_r:container_t:s0:c1,c2"),
    );
    bundle
        .container()
        .run()
        .fails()
        .says("selinux label is specified in config, but selinux is disabled or not supported");
}

#[test]
fn an_empty_selinux_label_is_none() {
    differs!(Crun, "wants SELinux also for an empty label");
    let bundle = quick();
    bundle.set("/process/selinuxLabel", json!(""));
    bundle.set("/linux/mountLabel", json!(""));
    bundle.container().run().ok();
}

#[test]
fn a_mount_label_needs_selinux() {
    differs!(Crun, "passes over it");
    needs!(!has_selinux(), "a host without SELinux");
    let bundle = quick();
    bundle.set(
        "/linux/mountLabel",
        json!("system_u:object_r:container_file_t:s0:c1,c2"),
    );
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_mount_context_type_that_does_not_exist_is_refused() {
    differs!(Runc | Crun, "does not look at it, or not without SELinux");
    let bundle = quick();
    bundle.set(
        "/linux/mountLabel",
        json!("system_u:object_r:container_file_t:s0:c1,c2"),
    );
    bundle.set("/annotations/run.oci.mount_context_type", json!("size=1"));
    bundle.container().run().fails().says("mount_context_type");
}

#[test]
fn without_labels_the_process_has_none() {
    needs!(
        !has_apparmor() && !has_selinux(),
        "a host without AppArmor and SELinux"
    );
    let report = probe_report(&Bundle::new());
    let current = report["attr_current"].as_str().unwrap_or_default();
    assert!(!current.contains("container"), "{current}");
}
