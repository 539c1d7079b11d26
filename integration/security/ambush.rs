//! A process that joins, as root of the container sees it who has CAP_SYS_PTRACE and no user namespace: no runtime can keep
//! him from looking into it, and from taking it over. So there must be nothing in it that he has not anyway.

use integration::{
    Bundle, CRUN_13, Call, Kind, RUNC_13, Runtime, Value, attack, json, until, wait_exit,
};
use rustix::process::Signal;
use std::time::Duration;

/// Runtimes that let their joining process be seen with all that they have.
const CONTROLS: &[&str] = &[RUNC_13, CRUN_13];

/// As many joins are lain in wait for.
const TRIES: usize = 12;

const RIGHTS: &[&str] = &[
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_KILL",
    "CAP_SYS_PTRACE",
];

/// What the caller of the runtime has in its environment, for itself.
const SECRET: &str = "7c1d-of-the-caller-93ab";

/// What was seen of processes on the way in.
fn booty(runtime: &'static Runtime, change: impl Fn(&Bundle)) -> Value {
    let bundle = Bundle::new().by(runtime);
    let backwards: String = SECRET.chars().rev().collect();
    bundle.args(&["/probe", "ambush", &backwards]);
    bundle.capabilities(RIGHTS);
    change(&bundle);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    for _ in 0..TRIES {
        let call = Call::of(runtime.path(), &bundle.home().join("io"));
        let call = call.arg("--root").arg(bundle.root()).args(["exec", c.id()]);
        let call = call.args(["/probe", "exit", "0"]);
        let running = call.env("SECRET", SECRET).spawn();
        if runtime.kind() == Kind::Vzrun {
            running.wait().ok();
            continue;
        }
        // An original waits for ever for a child that was stopped at the wrong moment.
        if !wait_exit(running.pid(), Duration::from_secs(5)) {
            running.kill(Signal::KILL);
        }
        running.wait();
    }
    bundle.write("/stop", "");
    let said = until("the attacker's account", || {
        let said = c.stdout();
        said.lines().nth(1).map(str::to_string)
    });
    println!("{}: {said}", runtime.path().display());
    serde_json::from_str(&said).unwrap()
}

fn gained(runtime: &'static Runtime, change: impl Fn(&Bundle)) -> Option<String> {
    let account = booty(runtime, change);
    let gained = account["gained"].as_array().unwrap();
    // Or there was nothing to be seen.
    assert!(account["caught"].as_u64() > Some(0), "{account}");
    (!gained.is_empty()).then(|| format!("{gained:?} of the process that joins"))
}

fn docker_profile(bundle: &Bundle) {
    let profile: Value = serde_json::from_str(include_str!("../profiles/docker.json")).unwrap();
    bundle.set("/linux/seccomp", profile);
}

#[test]
fn a_process_that_joins_has_nothing_that_the_container_has_not() {
    attack(CONTROLS, |runtime| gained(runtime, |_| ()));
}

#[test]
fn a_process_that_joins_has_its_filter() {
    attack(CONTROLS, |runtime| {
        gained(runtime, |bundle| {
            docker_profile(bundle);
            bundle.set("/process/noNewPrivileges", json!(false));
        })
    });
}

#[test]
fn a_process_that_joins_has_its_filter_with_no_new_privileges() {
    attack(CONTROLS, |runtime| {
        gained(runtime, |bundle| {
            docker_profile(bundle);
            bundle.set("/process/noNewPrivileges", json!(true));
        })
    });
}

#[test]
fn a_process_that_joins_as_a_user_has_nothing_more() {
    attack(CONTROLS, |runtime| {
        gained(runtime, |bundle| {
            bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}))
        })
    });
}
