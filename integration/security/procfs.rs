//! Other things in the place of /proc and /sys, and writes to /proc that are led elsewhere.

use integration::{Bundle, CRUN_12, CRUN_13, RUNC_12, RUNC_13, attack, json};
use std::fs;
use std::os::unix::fs::symlink;

/// A volume that looks like a procfs where the runtime writes to.
fn false_procfs(bundle: &Bundle) -> String {
    let dir = bundle.home().join("false");
    for sub in ["self/attr/apparmor", "self/fd", "sys/net/ipv4", "1"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    for file in [
        "self/attr/exec",
        "self/attr/apparmor/exec",
        "sys/net/ipv4/ip_forward",
    ] {
        fs::write(dir.join(file), "").unwrap();
    }
    dir.to_str().unwrap().to_string()
}

fn bind(source: &str, destination: &str) -> integration::Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind"]})
}

/// Runs it; gained is a container whose /proc is the volume.
fn is_false(bundle: &Bundle, path: &str) -> Option<String> {
    bundle.args(&["/bin/sh", "-c", &format!("test -d {path} && ! grep -q ' {path} proc ' /proc/self/mountinfo; test -e {path}/marked && echo false")]);
    let output = bundle.container().run();
    println!("{}", output.describe());
    output
        .stdout
        .contains("false")
        .then(|| format!("{path} is the volume"))
}

/// CVE-2019-16884, CVE-2019-19921, crun CVE-2019-18837: a volume of the image at /proc.
#[test]
fn a_volume_does_not_become_proc() {
    attack(&[CRUN_12, CRUN_13], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let volume = false_procfs(&bundle);
        fs::write(format!("{volume}/marked"), "").unwrap();
        bundle.set("/mounts/0", bind(&volume, "/proc"));
        is_false(&bundle, "/proc")
    });
}

/// CVE-2019-16884: a volume at the place where the label is written.
#[test]
fn a_volume_does_not_become_a_part_of_proc() {
    attack(&[CRUN_12, CRUN_13], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let volume = false_procfs(&bundle);
        fs::write(format!("{volume}/marked"), "").unwrap();
        bundle.mount(bind(&volume, "/proc/sys"));
        is_false(&bundle, "/proc/sys")
    });
}

/// CVE-2023-27561, CVE-2023-28642, youki CVE-2025-54867: /proc or /sys of the image is a link to a directory of the
/// image, so that what is done at /proc is done there.
#[test]
fn a_link_at_proc_or_sys_is_not_followed() {
    for name in ["/proc", "/sys"] {
        attack(&[], |runtime| {
            let bundle = Bundle::new().by(runtime);
            fs::remove_dir(bundle.rootfs(name)).unwrap();
            fs::create_dir(bundle.rootfs("/elsewhere")).unwrap();
            symlink("elsewhere", bundle.rootfs(name)).unwrap();
            bundle.args(&[
                "/bin/sh",
                "-c",
                "cat /elsewhere/self/comm; ls /elsewhere/class",
            ]);
            let output = bundle.container().run();
            println!("{}", output.describe());
            (output.code() == Some(0) || !output.stdout.is_empty())
                .then(|| format!("{name} is mounted at /elsewhere"))
        });
    }
}

/// A hook on the host that swaps the image's /proc, with the procfs on it, for `/evil`, when all mounts are there: at just
/// this moment somebody who has the root filesystem, too, would have to win a race. The procfs then is at `/true-proc`,
/// and what is not in `/evil` leads there.
fn proc_is_swapped(bundle: &Bundle) {
    for name in ["self", "thread-self", "mounts"] {
        symlink(
            format!("/true-proc/{name}"),
            bundle.rootfs("/evil").join(name),
        )
        .unwrap();
    }
    let root = bundle.rootfs("");
    let root = root.display();
    let script = format!("mv {root}/proc {root}/true-proc; mv {root}/evil {root}/proc");
    bundle.set(
        "/hooks/createRuntime",
        json!([{"path": "/bin/sh", "args": ["sh", "-euc", script], "env": ["PATH=/usr/bin:/bin"]}]),
    );
}

/// CVE-2025-52881, youki CVE-2025-62596: a sysctl is written to a file that the attacker has chosen.
#[test]
fn a_sysctl_is_not_written_to_another_file() {
    attack(&[RUNC_12, RUNC_13], |runtime| {
        let bundle = Bundle::new().by(runtime);
        let chosen = bundle.write("/chosen", "");
        fs::create_dir_all(bundle.rootfs("/evil/sys/net/ipv4")).unwrap();
        symlink("/chosen", bundle.rootfs("/evil/sys/net/ipv4/ip_forward")).unwrap();
        proc_is_swapped(&bundle);
        bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
        bundle.set("/linux/readonlyPaths", json!([]));
        bundle.set("/linux/maskedPaths", json!([]));
        bundle.args(&["/probe", "exit", "0"]);
        let output = bundle.container().run();
        println!("{}", output.describe());
        let written = fs::read_to_string(chosen).unwrap();
        (!written.is_empty()).then(|| format!("the chosen file holds {written:?}"))
    });
}

/// CVE-2025-52881: the same for what is to be read-only below /proc.
#[test]
fn what_is_protected_is_the_true_proc() {
    attack(&[RUNC_12, RUNC_13], |runtime| {
        let bundle = Bundle::new().by(runtime);
        fs::create_dir_all(bundle.rootfs("/evil/sys")).unwrap();
        proc_is_swapped(&bundle);
        let path = "/true-proc/sys/kernel/domainname";
        bundle.capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
        bundle.args(&["/probe", "try", "open", "w", path]);
        let output = bundle.container().run();
        println!("{}", output.describe());
        (output.stdout == "ok\n").then(|| "a read-only sysctl can be written".to_string())
    });
}
