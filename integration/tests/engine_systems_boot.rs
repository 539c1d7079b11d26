//! How long a system container takes to boot: in a file of its own, for what else boots at the time would be measured too.

use integration::{Call, Engine, Podman, Runtime, Terminal, differs, distribution, test_name};
use std::time::{Duration, Instant};

/// The ratio of the quickest that is allowed.
const RATIO: f64 = 1.5;
const LEAST: usize = 3;
/// A machine that does something else for a while is no reason to fail.
const MOST: usize = 15;

fn podman(args: &[&str]) -> Call {
    Podman::Root.call([""; 0]).args(args)
}

/// How long it takes until somebody can log in on the console, which is told without asking. Everything is started then.
fn boot_time(runtime: &str, flag: &str) -> Duration {
    let (name, mut terminal) = (test_name(), Terminal::open());
    let call = podman(&[&format!("--runtime={runtime}"), "run", "--rm", "-it"]);
    let call = call.args(["--name", &name, flag]).terminal(&terminal);
    let begun = Instant::now();
    let running = call.args(["localhost/systemd", "/sbin/init"]).spawn();
    terminal.read_until("login: ");
    let time = begun.elapsed();
    let ask = ["exec", &name, "systemctl", "is-system-running", "--wait"];
    assert_eq!(podman(&ask).run().stdout, "running\n");
    podman(&["kill", &name]).run().ok();
    running.wait();
    time
}

/// At most half as long again as without a keeper, ids of its own and /proc of its own.
#[test]
fn a_server_boots_as_fast() {
    differs!(Runc | Crun, "no system containers");
    let tar = distribution("systemd");
    let import = podman(&["import", "--quiet"]).arg(tar);
    import.arg("localhost/systemd").run().ok();
    let ours = Runtime::get().path().display().to_string();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let best = |times: &[Duration]| times.iter().min().unwrap().as_secs_f64();
    loop {
        without.push(boot_time("/usr/bin/crun", "--systemd=always"));
        with.push(boot_time(&ours, "--annotation=io.vzrun.system=true"));
        let ratio = best(&with) / best(&without);
        if with.len() >= LEAST && ratio <= RATIO {
            println!("{ratio:.2}: {with:?}, crun: {without:?}");
            return;
        }
        assert!(with.len() < MOST, "{ratio:.2}: {with:?}, crun: {without:?}");
    }
}
