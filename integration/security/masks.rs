//! Masked paths that an image tries to keep uncovered, or to have covered with what it likes.

use crate::without_mounts;
use integration::{Bundle, RUNC_12, RUNC_13, Runtime, attack, json};
use std::fs;
use std::os::unix::fs::symlink;

/// CVE-2025-31133, youki CVE-2025-62161: /dev/null of the image is a link, so what it leads to covers the masked file.
fn null_is_a_link(runtime: &'static Runtime) -> Option<String> {
    let bundle = Bundle::new().by(runtime);
    without_mounts(&bundle, "/dev");
    bundle.write("/etc/secret", "secret");
    bundle.write("/etc/chosen", "chosen");
    symlink("/etc/chosen", bundle.rootfs("/dev/null")).unwrap();
    bundle.set("/linux/maskedPaths", json!(["/etc/secret"]));
    // Not by stdout: an old runc takes that for the null device.
    let result = bundle.write("/result", "");
    bundle.args(&["/bin/sh", "-c", "cat /etc/secret >/result"]);
    let output = bundle.container().run();
    println!("{}", output.describe());
    let read = fs::read_to_string(result).unwrap();
    (!read.is_empty()).then(|| format!("the masked file shows {read:?}"))
}

#[test]
fn a_link_at_dev_null_does_not_come_over_a_masked_file() {
    attack(&[RUNC_12, RUNC_13], null_is_a_link);
}

/// CVE-2025-31133: the same link is missing at first, so nothing masks.
#[test]
fn a_missing_dev_null_does_not_leave_a_file_unmasked() {
    attack(&[], |runtime| {
        let bundle = Bundle::new().by(runtime);
        without_mounts(&bundle, "/dev");
        symlink("/nowhere", bundle.rootfs("/dev/null")).unwrap();
        bundle.set("/linux/maskedPaths", json!(["/etc/secret"]));
        bundle.write("/etc/secret", "secret");
        bundle.args(&["/probe", "read", "/etc/secret"]);
        let output = bundle.container().run();
        (output.stdout.contains("secret")).then(|| "the masked file was read".to_string())
    });
}
