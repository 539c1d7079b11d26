//! Waiting for a system container: `start --wait` and `run --detach --wait` come back when its init has said READY=1.

use integration::{Bundle, Container, Value, differs, json, until};
use std::time::Duration;

/// Is ready when the file /go is there.
const ON_DEMAND: &str = "while ! test -e /go; do sleep 0.02; done; /probe notify STATUS=up READY=1; touch /said; exec sleep 1000";
const NO_FLAGS: &[&str] = &[];

fn system(script: &str) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.args(&["/bin/sh", "-c", script]);
    bundle
}

fn ready(c: &Container<'_>) -> Value {
    c.state()["system"]["ready"].clone()
}

#[track_caller]
fn wait_running(c: &Container<'_>) {
    until("running", || {
        (c.exists() && c.status() == "running").then_some(())
    });
}

#[test]
fn start_waits_until_init_is_ready() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(ON_DEMAND);
    let c = bundle.container();
    c.create();
    assert_eq!(ready(&c), Value::Null);
    let start = c.call("start", &["--wait", "--timeout", "100s"]).spawn();
    wait_running(&c);
    assert_eq!(ready(&c), false);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", start.pid())).unwrap();
    assert!(!stat.contains(") Z "), "start has not waited");
    bundle.write("go", "");
    start.wait().ok();
    assert_eq!(ready(&c), true);
    let list = bundle.call(["list", "--systems"]).run().ok().stdout;
    let words: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words[3..5], ["busybox", "yes"], "{list}");

    // Each boot for itself, whatever the last one has said.
    std::fs::remove_file(bundle.rootfs("go")).unwrap();
    std::fs::remove_file(bundle.rootfs("said")).unwrap();
    c.exec_with(
        &["--cap", "CAP_SYS_BOOT"],
        &["/bin/busybox", "reboot", "-f"],
    );
    until("the next boot", || {
        (c.state()["system"]["reboots"] == 1 && ready(&c) == false).then_some(())
    });
    bundle.write("go", "");
    until("readiness", || (ready(&c) == true).then_some(()));
}

#[test]
fn run_waits_until_init_is_ready() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system("sleep 0.3; touch /late; /probe notify READY=1; exec sleep 1000");
    let c = bundle.container();
    c.call("run", &["--detach", "--wait"]).run().ok();
    assert!(bundle.rootfs("late").exists());
    assert_eq!(ready(&c), true);
}

#[test]
fn one_that_ends_or_is_late_is_told() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system("exit 3");
    let c = bundle.container();
    let ended = "the container has ended before its init said that it is ready";
    let run = c.call("run", &["--detach", "--wait"]).run();
    run.exits(1).says(ended);
    assert_eq!(bundle.leftovers(), [""; 0]);
    c.create();
    c.call("start", &["--wait"]).run().exits(1).says(ended);
    assert_eq!(c.status(), "stopped");
    c.delete().ok();

    // What is no word of readiness counts for nothing, nor does the word of one who is not root.
    let bundle =
        system("/probe notify READY=0 STATUS=READY=1 X_READY=1; touch /said; exec sleep 1000");
    let c = bundle.container();
    c.create();
    let start = c.call("start", &["--wait", "--timeout", "300ms"]).run();
    start
        .exits(1)
        .says("has not said within 300ms that it is ready");
    assert_eq!(c.status(), "running");
    until("all is said", || {
        bundle.rootfs("said").exists().then_some(())
    });
    let socket = ["--env", "NOTIFY_SOCKET=/run/host/notify", "--user"];
    let as_user = |user| {
        c.exec_with(
            &[&socket[..], &[user]].concat(),
            &["/probe", "notify", "READY=1"],
        )
    };
    as_user("1000:1000").exits(125).says("Permission denied");
    assert_eq!(ready(&c), false);
    as_user("0").ok();
    until("readiness", || (ready(&c) == true).then_some(()));
}

#[test]
fn what_init_says_is_always_heard() {
    differs!(Runc | Crun, "no system containers");
    // More than the kernel queues: one who is not heard waits in sendmsg(2) for ever.
    let bundle = system(
        "i=0; while test $i -lt 100; do /probe notify STATUS=$i READY=1; i=$((i+1)); done; touch /said; exec sleep 1000",
    );
    let c = bundle.container();
    c.call("run", &["--detach", "--wait"]).run().ok();
    until("all is said", || {
        bundle.rootfs("said").exists().then_some(())
    });
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    differs!(Runc | Crun, "no system containers");
    let plain = Bundle::new();
    plain.args(&["/bin/sleep", "1000"]);
    let c = plain.container();
    c.call("run", &["--detach", "--wait"])
        .run()
        .exits(1)
        .says("it is no system container");
    assert_eq!(plain.leftovers(), [""; 0]);
    c.create();
    c.call("start", &["--wait"])
        .run()
        .exits(1)
        .says("it is no system container");
    assert_eq!(c.status(), "created");

    let bundle = system("exec sleep 1000");
    let c = bundle.container();
    c.call("run", &["--wait"])
        .run()
        .exits(1)
        .says("--wait: only with --detach");
    for (flags, text) in [
        (&["--timeout", "5s"][..], "--timeout: only with --wait"),
        (&["--wait", "--timeout", "0"], "must be greater than 0"),
    ] {
        let flags = [&["--detach"], flags].concat();
        c.call("run", &flags).run().exits(1).says(text);
    }
    bundle.push(
        "/process/env",
        json!("NOTIFY_SOCKET=/run/notify/notify.sock"),
    );
    c.create();
    c.call("start", &["--wait"])
        .run()
        .exits(1)
        .says("a notify socket of somebody else's");
    assert_eq!(c.status(), "created");
    c.call("start", NO_FLAGS).run().ok();
    wait_running(&c);
    assert_eq!(ready(&c), Value::Null);
    let env = c.exec(&["/bin/sh", "-c", "tr '\\0' '\\n' </proc/1/environ"]);
    let env = env.ok().stdout;
    assert!(
        env.contains("NOTIFY_SOCKET=/run/notify/notify.sock\n"),
        "{env}"
    );
    assert_eq!(env.matches("NOTIFY_SOCKET").count(), 1, "{env}");
    c.exec(&["test", "!", "-e", "/run/host/notify"]).ok();
}

#[test]
fn waiting_costs_nothing() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system("exec sleep 1000");
    let c = bundle.container();
    c.create();
    let start = c.call("start", &["--wait", "--timeout", "2s"]).run();
    assert!(start.elapsed >= Duration::from_secs(2));
    start.exits(1);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", c.pid())).unwrap();
    let stat = stat.rsplit(") ").next().unwrap();
    let ticks: Vec<&str> = stat.split(' ').collect();
    // utime and stime of the keeper, in hundredths of a second: all of them of its start.
    let used: u64 = ticks[11..13]
        .iter()
        .map(|n| n.parse::<u64>().unwrap())
        .sum();
    assert!(used <= 10, "{stat}");
}
