//! The runtime's own program and processes, as a hostile process in the container sees them.

use crate::NO_FLAGS;
use integration::{Bundle, Call, Container, Runtime, Value, attack_proved_by, naive_exec, until};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// How often something is run under the eyes of the attacker, until it has got at it.
const TRIES: usize = 40;

/// What Docker gives, and a little more.
const RIGHTS: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// With this, a process may look into any other that it sees: no runtime can keep one out that is root of the host's
/// user namespace and has it. The naive control shows by it that the attacker would make use of what it could reach.
const ALL_RIGHTS: &[&str] = &["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"];

/// A container whose first process waits for others to come (`probe prey`).
fn trap(runtime: &'static Runtime, rights: &[&str]) -> Bundle {
    let bundle = Bundle::new().by(runtime);
    bundle.args(&["/probe", "prey"]);
    bundle.capabilities(rights);
    // Programs that are whatever the kernel says the caller's program is.
    symlink("/proc/self/exe", bundle.rootfs("/bin/self")).unwrap();
    let script = bundle.write("/script", "#!/proc/self/exe\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    // It runs until its namespace goes, as the applet of that name.
    symlink("/proc/self/exe", bundle.rootfs("/sleep")).unwrap();
    bundle
}

/// Lets the attacker see what `join` does, again and again, and gives its account.
fn caught(c: &Container<'_>, mut join: impl FnMut()) -> Value {
    // A process that joins is in sight for some microseconds.
    let met = c.bundle().rootfs("/met");
    for round in 0..20 * TRIES {
        if round >= TRIES && met.exists() {
            break;
        }
        join();
    }
    c.bundle().write("/stop", "");
    let said = until("the attacker's account", || {
        let said = c.stdout();
        said.lines().nth(1).map(str::to_string)
    });
    serde_json::from_str(&said).unwrap()
}

/// A program of the host that may be overwritten.
fn copy(bundle: &Bundle, program: &Path) -> PathBuf {
    let path = bundle.home().join(program.file_name().unwrap());
    fs::copy(program, &path).unwrap();
    path
}

fn naive(args: &[&str], judge: impl Fn(&Value, bool) -> Option<String>) -> Option<String> {
    let bundle = trap(Runtime::get(), ALL_RIGHTS);
    let busybox = copy(&bundle, Path::new("/bin/busybox"));
    let before = fs::read(&busybox).unwrap();
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    // Once it is overwritten it cannot be run.
    let whole = || fs::read(&busybox).unwrap() == before;
    let account = caught(&c, || {
        if whole() {
            naive_exec(&busybox, &c, args).run();
        }
    });
    println!("{args:?}: {account}");
    judge(&account, !whole())
}

/// `exec` by a copy of this runtime.
fn careful(
    runtime: &'static Runtime,
    rights: &[&str],
    args: &[&str],
    judge: impl Fn(&Value, bool) -> Option<String>,
) -> Option<String> {
    let bundle = trap(runtime, rights);
    let program = copy(&bundle, runtime.path());
    let before = fs::read(&program).unwrap();
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    let account = caught(&c, || {
        let call = Call::of(&program, &bundle.home().join("io"));
        let call = call.arg("--root").arg(bundle.root()).args(["exec", c.id()]);
        call.args(args).run();
    });
    println!("{args:?}: {account}");
    // Or nothing was tried.
    assert!(account["pids"].as_u64() > Some(1), "{account}");
    let changed = fs::read(&program).unwrap() != before;
    judge(&account, changed)
}

fn overwritten(_: &Value, changed: bool) -> Option<String> {
    changed.then(|| "the program is overwritten".to_string())
}

fn looked_into(account: &Value, _: bool) -> Option<String> {
    let reached = account["reached"].as_array().unwrap();
    (!reached.is_empty()).then(|| format!("{reached:?} of the process that joins"))
}

/// CVE-2019-5736
#[test]
fn the_program_that_execs_proc_self_exe_is_not_overwritten() {
    attack_proved_by(
        || naive(&["/sleep", "0.1"], overwritten),
        |runtime| {
            careful(
                runtime,
                ALL_RIGHTS,
                &["/bin/self", "--version"],
                overwritten,
            )
        },
    );
}

/// CVE-2019-5736: the same by a script's first line.
#[test]
fn the_program_that_interprets_a_script_is_not_overwritten() {
    attack_proved_by(
        || naive(&["/sleep", "0.1"], overwritten),
        |runtime| careful(runtime, ALL_RIGHTS, &["/script"], overwritten),
    );
}

/// CVE-2016-9962
#[test]
fn a_process_that_joins_cannot_be_looked_into() {
    attack_proved_by(
        || naive(&["/sleep", "0.1"], looked_into),
        |runtime| careful(runtime, RIGHTS, &["/probe", "exit", "0"], looked_into),
    );
}

/// CVE-2016-9962: the first process of a container that joins another's pid namespace.
#[test]
fn an_init_that_joins_cannot_be_looked_into() {
    attack_proved_by(
        || naive(&["/sleep", "0.1"], looked_into),
        |runtime| {
            let bundle = trap(runtime, RIGHTS);
            let c = bundle.container();
            c.run_detached();
            c.wait_line("ready");
            let other = Bundle::new().by(runtime);
            let path = format!("/proc/{}/ns/pid", c.pid());
            other.namespace(integration::json!({"type": "pid", "path": path}));
            other.args(&["/probe", "exit", "0"]);
            let account = caught(&c, || {
                let joined = other.container();
                joined.call("run", NO_FLAGS).run().ok();
            });
            println!("{account}");
            assert!(account["pids"].as_u64() > Some(1), "{account}");
            looked_into(&account, false)
        },
    );
}
