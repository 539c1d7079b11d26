//! What the init of a system container finds by systemd's container interface, whichever init it is.

use integration::{Bundle, differs, json};
use std::fs;

fn system() -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.args(&["/bin/sh", "-c", "exec sleep 1000"]);
    bundle
}

/// As on a machine, unless the config says otherwise: what is mounted later is seen by services that have a mount namespace of
/// their own. Nothing of that gets out.
#[test]
fn mounts_are_shared_inside() {
    differs!(Runc | Crun, "no system containers");
    for (propagation, shared) in [
        (None, true),
        (Some("rslave"), false),
        (Some("rprivate"), false),
    ] {
        let bundle = system();
        if let Some(word) = propagation {
            bundle.set("/linux/rootfsPropagation", json!(word));
        }
        fs::create_dir_all(bundle.rootfs("mnt")).unwrap();
        let c = bundle.container();
        c.run_detached();
        let mount = "mount -t tmpfs tmpfs /mnt && touch /mnt/file";
        c.exec_with(&["--cap", "CAP_SYS_ADMIN"], &["/bin/sh", "-c", mount])
            .ok();
        let mounts = c.exec(&["/bin/cat", "/proc/1/mountinfo"]).ok().stdout;
        for place in ["/", "/proc", "/run", "/mnt"] {
            let line = mounts
                .lines()
                .find(|line| line.split(' ').nth(4) == Some(place));
            let line = line.unwrap_or_else(|| panic!("{place}: {mounts}"));
            assert_eq!(line.contains(" shared:"), shared, "{propagation:?}: {line}");
        }
        assert!(!bundle.rootfs("mnt/file").exists());
        let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!host.contains(&format!("{}/mnt ", bundle.id())), "{host}");
    }
}
