//! Descriptors of the host that the runtime has, or was given by a careless caller, as ways out.

use crate::host_side;
use integration::{Bundle, Call, Runtime, attack_proved_by, json, naive_exec};
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The number of the descriptor that the caller forgets to close: a directory of the host.
const LEAKED: i32 = 7;

/// A bundle whose image has `/way` lead to the leaked descriptor.
fn bundle(runtime: &'static Runtime) -> Bundle {
    let bundle = Bundle::new().by(runtime);
    host_side(&bundle);
    symlink(format!("/proc/self/fd/{LEAKED}"), bundle.rootfs("/way")).unwrap();
    bundle
}

fn leak(bundle: &Bundle, call: Call) -> Call {
    call.fd(LEAKED, File::open(bundle.home().join("host")).unwrap())
}

fn gained(stdout: &str) -> Option<String> {
    stdout
        .contains("secret of the host")
        .then(|| "a file of the host was read".to_string())
}

fn naive(args: &[&str]) -> Option<String> {
    let bundle = bundle(Runtime::get());
    let c = bundle.container();
    c.run_detached();
    let call = naive_exec(Path::new("/bin/busybox"), &c, args);
    gained(&leak(&bundle, call).run().stdout)
}

/// CVE-2024-21626, CVE-2016-9962: a descriptor of the caller.
#[test]
fn a_leaked_descriptor_is_closed() {
    let read = ["/bin/cat", "/way/secret"];
    attack_proved_by(
        || naive(&read),
        |runtime| {
            let bundle = bundle(runtime);
            bundle.args(&read);
            let c = bundle.container();
            let run = leak(&bundle, c.call("run", crate::NO_FLAGS)).run();
            c.delete_force();
            bundle.args(&["/probe", "sleep-forever"]);
            c.run_detached();
            let exec = leak(&bundle, c.exec_call(crate::NO_FLAGS, &read)).run();
            gained(&run.stdout).or_else(|| gained(&exec.stdout))
        },
    );
}

/// CVE-2024-21626: the working directory, given in the config and to exec.
#[test]
fn a_leaked_descriptor_is_no_working_directory() {
    let read = ["/bin/cat", "secret"];
    attack_proved_by(
        || naive(&["/bin/sh", "-c", "cd /way; cat secret"]),
        |runtime| {
            let bundle = bundle(runtime);
            let c = bundle.container();
            c.run_detached();
            let mut seen = Vec::new();
            for dir in ["/way", "/proc/self/fd/7", "/proc/thread-self/fd/7/."] {
                let exec = c.exec_call(&["--cwd", dir], &read);
                seen.push(leak(&bundle, exec).run().stdout);
            }
            c.delete_force();
            bundle.args(&read);
            for dir in ["/way", "/proc/self/fd/7", "/proc/self/../self/fd/7"] {
                bundle.set("/process/cwd", json!(dir));
                seen.push(leak(&bundle, c.call("run", crate::NO_FLAGS)).run().stdout);
                c.delete_force();
            }
            gained(&seen.concat())
        },
    );
}
