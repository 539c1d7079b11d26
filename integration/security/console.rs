//! Terminals: what is swapped below /dev before the container's terminal is mounted on /dev/console.

use crate::NO_FLAGS;
use crate::swaps::{tries, while_swapped};
use integration::{Bundle, Runtime, Terminal, attack, json};
use std::fs;
use std::os::unix::fs::symlink;

/// CVE-2025-52565: on a shared volume at /dev, /dev/pts is swapped all the time for a directory in which the terminal's
/// name leads to a file of /proc. Mounted on /dev/console, that can be written, whatever is made read-only later.
fn pts_is_swapped(runtime: &'static Runtime) -> Option<String> {
    let bundle = Bundle::new().by(runtime);
    let dev = bundle.home().join("volume");
    for name in ["pts", "evil"] {
        // Either of them may come to be below the devpts; the other then is at `pts` now and then.
        fs::create_dir_all(dev.join(name)).unwrap();
        symlink("/proc/sys/kernel/domainname", dev.join(name).join("0")).unwrap();
        symlink("../evil/ptmx", dev.join(name).join("ptmx")).unwrap();
    }
    symlink("pts/ptmx", dev.join("ptmx")).unwrap();
    bundle.set(
        "/mounts/1",
        json!({"destination": "/dev", "type": "bind", "source": dev, "options": ["rbind", "dev"]}),
    );
    crate::without_mounts(&bundle, "/dev/shm");
    crate::without_mounts(&bundle, "/dev/mqueue");
    bundle.set("/process/terminal", json!(true));
    bundle.set("/linux/readonlyPaths", json!(["/proc/sys"]));
    bundle.capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    let write = "test -f /dev/console && /probe try open w /dev/console >/result";
    bundle.args(&["/bin/sh", "-c", write]);
    let result = bundle.write("/result", "");
    while_swapped(&dev.join("pts"), &dev.join("evil"), || {
        (0..tries(runtime)).find_map(|_| {
            let terminal = Terminal::open();
            let c = bundle.container();
            c.call("run", NO_FLAGS).terminal(&terminal).run();
            let opened = fs::read_to_string(&result).unwrap() == "ok\n";
            opened.then(|| "a sysctl can be written through /dev/console".to_string())
        })
    })
}

#[test]
fn a_swapped_dev_pts_does_not_put_a_file_on_dev_console() {
    attack(&[], pts_is_swapped);
}
