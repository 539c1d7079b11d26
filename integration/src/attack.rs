//! Attacks on a runtime: first on one that is known to be open to them, then on the one under test.
//!
//! An attack that fails says little as long as nobody has seen it work. So each one is tried here on this machine, each
//! time, on an old runtime (`hack/env-old`), or, where none is old enough, on something that joins a container without
//! any care ([`naive_exec`]): there it must work.

use crate::{Call, Container, Kind, Runtime, test_name};
use std::path::Path;

/// runc 1.1.5, of Debian 12.
pub const RUNC_12: &str = "/opt/bookworm/runc";
/// crun 1.8.1, of Debian 12.
pub const CRUN_12: &str = "/opt/bookworm/crun";
/// runc 1.1.15, of Debian 13.
pub const RUNC_13: &str = "/usr/sbin/runc";
/// crun 1.21, of Debian 13.
pub const CRUN_13: &str = "/usr/bin/crun";
/// The crun of Debian's unstable suite.
pub const CRUN_SID: &str = "/opt/sid/crun";

/// Tries an attack on the runtimes at the paths `works_on`, where it must work, and on the runtime under test, where it
/// must not. `try_on` gives in words what it has gained, or none. On an original under test it may work; that is a
/// difference to be listed.
#[track_caller]
pub fn attack(works_on: &[&str], try_on: impl Fn(&'static Runtime) -> Option<String>) {
    for path in works_on {
        let Some(open) = Runtime::at(path) else {
            eprintln!("SKIPPED {}: needs {path} to be tried on", test_name());
            return;
        };
        works(path, try_on(open));
    }
    holds(try_on(Runtime::get()));
}

/// The same with a control of its own kind, in place of an old runtime.
#[track_caller]
pub fn attack_proved_by(
    control: impl Fn() -> Option<String>,
    try_on: impl Fn(&'static Runtime) -> Option<String>,
) {
    works("the control", control());
    holds(try_on(Runtime::get()));
}

#[track_caller]
fn works(on: &str, gained: Option<String>) {
    let gained = gained.unwrap_or_else(|| panic!("no proof: on {on} the attack works no longer"));
    println!("{on}: {gained}");
}

#[track_caller]
fn holds(gained: Option<String>) {
    let under_test = Runtime::get();
    match gained {
        None => {}
        Some(gained) if under_test.kind() != Kind::Vzrun => {
            under_test.print_difference(&format!("the attack works: {gained}"));
        }
        Some(gained) => panic!("the attack works: {gained}"),
    }
}

/// What `exec` would be without any care: busybox (or a copy of it) joins the namespaces of the container's init, with
/// whatever descriptors it has, and runs the command.
pub fn naive_exec<S: AsRef<str>>(busybox: &Path, container: &Container<'_>, args: &[S]) -> Call {
    // By a shell, for an attacker may have overwritten it.
    Call::of("/bin/sh", &container.bundle().home().join("io"))
        .args(["-c", "exec \"$0\" \"$@\""])
        .arg(busybox)
        .args(["nsenter", "-t"])
        .arg(container.pid().to_string())
        .args(["-m", "-p", "-u", "-i", "-n", "--"])
        .args(args.iter().map(AsRef::as_ref))
}
