//! The host's /dev/null, which all of the host uses: nobody in a container may change its mode or owner. Root of a
//! container without a user namespace is its owner, wherever he can reach the node.

use crate::alone;
use integration::{Bundle, CRUN_13, Container, RUNC_13, Runtime, attack, json, until};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

const NULL: &str = "/dev/null";
const CHANGE: &str = "667";

/// Does it, and tells whether the mode has changed; then all is as it was.
fn changed(what: impl FnOnce()) -> Option<String> {
    let mode = || fs::metadata(NULL).unwrap().permissions().mode() & 0o777;
    let before = mode();
    what();
    let after = mode();
    fs::set_permissions(NULL, Permissions::from_mode(before)).unwrap();
    (before != after).then(|| format!("the host's {NULL} is {after:o}"))
}

/// Whoever the owner is: crun gives the node away, in another test at the same time.
fn owner(runtime: &'static Runtime) -> Bundle {
    let bundle = Bundle::new().by(runtime);
    bundle.capabilities(&["CAP_FOWNER"]);
    bundle
}

fn change(place: &str) -> [&str; 3] {
    ["/bin/chmod", CHANGE, place]
}

/// By what covers a masked file.
#[test]
fn a_masked_file_is_no_way_to_the_hosts_null() {
    let _alone = alone();
    attack(&[], |runtime| {
        let bundle = owner(runtime);
        bundle.write("/etc/secret", "secret");
        bundle.set("/linux/maskedPaths", json!(["/etc/secret", "/proc/keys"]));
        ["/etc/secret", "/proc/keys"].iter().find_map(|place| {
            bundle.args(&change(place));
            changed(|| drop(bundle.container().run()))
        })
    });
}

/// By the caller's stdin, stdout and stderr, of the first process.
#[test]
fn the_callers_streams_are_no_way_to_the_hosts_null() {
    let _alone = alone();
    attack(&[], |runtime| {
        let bundle = owner(runtime);
        let by_image = owner(runtime);
        // There is nothing that could take the place of the caller's, or what does is the image's.
        crate::without_mounts(&by_image, "/dev");
        std::os::unix::fs::symlink("/etc/passwd", by_image.rootfs("/dev/null")).unwrap();
        [bundle, by_image].iter().find_map(|bundle| {
            bundle.args(&change("/proc/self/fd/0"));
            changed(|| drop(bundle.container().run()))
        })
    });
}

/// And of a process of exec; also where the container's own is gone.
fn by_exec(runtime: &'static Runtime, spoil: impl Fn(&Container<'_>)) -> Option<String> {
    let bundle = owner(runtime);
    let c = bundle.container();
    c.run_detached();
    spoil(&c);
    changed(|| {
        // Not by pipes, as runc has it in the foreground.
        let pid_file = bundle.home().join("pid");
        let flags = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
        let script = "chmod 667 /proc/self/fd/0; : >/tmp/done";
        c.exec_with(&flags, &["/bin/sh", "-c", script]).ok();
        let done = bundle.rootfs("/tmp/done");
        until("the change to have been tried", || {
            done.exists().then_some(())
        });
    })
}

#[test]
fn the_streams_of_exec_are_no_way_to_the_hosts_null() {
    let _alone = alone();
    attack(&[RUNC_13, CRUN_13], |runtime| by_exec(runtime, |_| ()));
    attack(&[], |runtime| {
        by_exec(runtime, |c| {
            c.exec(&["/bin/rm", "/dev/null"]).ok();
        })
    });
}
