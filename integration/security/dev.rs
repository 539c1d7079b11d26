//! Images whose /dev, or something in it, leads to the host.

use crate::{change, host_side, tree, without_mounts};
use integration::{Bundle, CRUN_12, CRUN_13, RUNC_12, RUNC_13, Runtime, attack};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

/// A bundle whose image has /dev as a link with this target, and what came of running it on the host's side.
fn dev_is_a_link(runtime: &'static Runtime, target: Option<&str>, mounted: bool) -> Option<String> {
    let bundle = Bundle::new().by(runtime);
    let host = host_side(&bundle);
    for dir in ["pts", "shm", "mqueue"] {
        fs::create_dir(host.join(dir)).unwrap();
    }
    fs::write(host.join("ptmx"), "of the host").unwrap();
    fs::remove_dir(bundle.rootfs("/dev")).unwrap();
    let target = target.map_or_else(|| host.clone(), PathBuf::from);
    symlink(target, bundle.rootfs("/dev")).unwrap();
    if !mounted {
        without_mounts(&bundle, "/dev");
    }
    let before = tree(&host);
    bundle.args(&["/probe", "exit", "0"]);
    let output = bundle.container().run();
    println!("{}", output.describe());
    // Through the link it is made; a link in its place tells as well.
    let ptmx = fs::symlink_metadata(host.join("ptmx"));
    let replaced = ptmx.is_ok_and(|ptmx| ptmx.is_symlink());
    change(&before, &tree(&host))
        .or_else(|| replaced.then(|| "ptmx of the host was replaced".to_string()))
}

/// CVE-2026-41579
#[test]
fn a_link_at_dev_to_the_host_makes_nothing_there() {
    attack(&[RUNC_12, RUNC_13], |runtime| {
        dev_is_a_link(runtime, None, true)
    });
}

/// CVE-2026-41579
#[test]
fn a_link_at_dev_up_to_the_host_makes_nothing_there() {
    attack(&[RUNC_12, RUNC_13], |runtime| {
        dev_is_a_link(runtime, Some("../../host"), true)
    });
}

/// CVE-2026-41579
#[test]
fn a_link_at_dev_through_all_of_the_host_makes_nothing_there() {
    attack(&[], |runtime| {
        dev_is_a_link(runtime, Some("../../../../../../../../host"), true)
    });
}

/// CVE-2026-47766: without a mount on /dev.
#[test]
fn a_link_at_dev_without_a_mount_makes_nothing_on_the_host() {
    attack(&[CRUN_12, CRUN_13, RUNC_12], |runtime| {
        dev_is_a_link(runtime, None, false)
    });
    attack(&[CRUN_12, CRUN_13, RUNC_12], |runtime| {
        dev_is_a_link(runtime, Some("../../host"), false)
    });
}

/// crun CVE-2026-88264: /dev/console is a link to a file that is not there yet.
#[test]
fn a_link_at_dev_console_makes_nothing_on_the_host() {
    attack(&[CRUN_12], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let host = host_side(&bundle);
        let before = tree(&host);
        without_mounts(&bundle, "/dev");
        symlink(host.join("made"), bundle.rootfs("/dev/console")).unwrap();
        bundle.mount(
            integration::json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}),
        );
        bundle.set("/process/terminal", integration::json!(true));
        bundle.args(&["/probe", "exit", "0"]);
        let terminal = integration::Terminal::open();
        let c = bundle.container();
        let output = c.call("run", crate::NO_FLAGS).terminal(&terminal).run();
        println!("{}", output.describe());
        change(&before, &tree(&host))
    });
}

/// crun CVE-2026-88265: /dev/null is a link to a file of the host in a volume, that the container's user may not even read.
/// It must not become a standard stream, nor change its owner. The number of its device is that of any file that is none, so
/// streams that are files were taken for it.
#[test]
fn a_link_at_dev_null_gives_no_file_of_the_host_away() {
    attack(&[CRUN_12, CRUN_13], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let host = host_side(&bundle);
        let secret = host.join("secret");
        let state = || {
            let meta = fs::metadata(&secret).unwrap();
            (meta.uid(), meta.gid(), fs::read_to_string(&secret).unwrap())
        };
        let before = state();
        without_mounts(&bundle, "/dev");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        bundle.mount(integration::json!({"destination": "/vol", "type": "bind",
            "source": host, "options": ["rbind"]}));
        symlink("/vol/secret", bundle.rootfs("/dev/null")).unwrap();
        let uid = integration::json!({"uid": 1000, "gid": 1000});
        bundle.set("/process/user", uid);
        bundle.args(&["/bin/sh", "-c", "cat >/tmp/read; echo overwritten"]);
        let read = bundle.write("/tmp/read", "");
        std::os::unix::fs::chown(&read, Some(1000), Some(1000)).unwrap();
        let c = bundle.container();
        for call in [
            c.call("run", crate::NO_FLAGS).stdin("of the caller"),
            c.call("run", crate::NO_FLAGS),
        ] {
            println!("{}", call.run().describe());
            c.delete_force();
        }
        let read = fs::read_to_string(read).unwrap();
        let changed = state() != before;
        (changed || read.contains("secret")).then(|| format!("{before:?} is {:?}", state()))
    });
}
