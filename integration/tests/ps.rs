//! ps: the processes of a container.

use integration::{Bundle, Container, differs, json, until};
use std::fs;

const NO_FLAGS: &[&str] = &[];

/// Starts a container of three processes.
fn spawning(bundle: &Bundle) -> Container<'_> {
    bundle.args(&["/probe", "spawn", "2"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    c
}

fn sorted_pids(c: &Container) -> Vec<i64> {
    let procs = fs::read_to_string(c.cgroup_dir().join("cgroup.procs")).unwrap();
    let mut pids: Vec<i64> = procs.lines().map(|line| line.parse().unwrap()).collect();
    pids.sort_unstable();
    pids
}

#[test]
fn the_table_has_every_process() {
    let bundle = Bundle::new();
    let c = spawning(&bundle);
    let output = c.call("ps", NO_FLAGS).run().ok();
    assert!(output.stdout.lines().next().unwrap().contains("PID"));
    for pid in sorted_pids(&c) {
        let has = |line: &str| line.split_whitespace().any(|word| word == pid.to_string());
        assert!(output.stdout.lines().any(has), "{pid} in {}", output.stdout);
    }
}

#[test]
fn the_table_is_that_of_ps_ef() {
    differs!(Crun, "prints pids only");
    let bundle = Bundle::new();
    let c = spawning(&bundle);
    let output = c.call("ps", NO_FLAGS).run().ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for column in ["UID", "PPID", "CMD"] {
        assert!(lines[0].contains(column), "{column} in {lines:?}");
    }
    assert!(lines[1].ends_with("/probe spawn 2"), "{lines:?}");
    assert!(lines[2].ends_with("/probe pause"), "{lines:?}");
}

#[test]
fn options_go_to_ps() {
    differs!(Crun, "takes none");
    let bundle = Bundle::new();
    let c = spawning(&bundle);
    let output = c
        .call("ps", NO_FLAGS)
        .args(["-e", "-o", "pid,comm"])
        .run()
        .ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["PID", "COMMAND"]
    );
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[1..].iter().all(|line| line.ends_with(" probe")),
        "{lines:?}"
    );
}

#[test]
fn options_without_a_pid_column_are_an_error() {
    differs!(Crun, "takes none");
    let bundle = Bundle::new();
    let c = spawning(&bundle);
    c.call("ps", NO_FLAGS)
        .args(["-e", "-o", "comm"])
        .run()
        .exits(1)
        .says("pid");
}

#[test]
fn json_is_an_array_of_pids() {
    let bundle = Bundle::new();
    let c = spawning(&bundle);
    let mut list: Vec<i64> = c
        .call("ps", &["--format", "json"])
        .run()
        .ok()
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|pid| pid.as_i64().unwrap())
        .collect();
    list.sort_unstable();
    assert_eq!(list, sorted_pids(&c));
}

#[test]
fn json_is_one_line() {
    differs!(Crun, "indents it");
    let bundle = Bundle::new();
    let c = spawning(&bundle);
    let output = c.call("ps", &["-f", "json"]).run().ok();
    assert_eq!(
        output.stdout.trim_end().lines().count(),
        1,
        "{}",
        output.stdout
    );
}

#[test]
fn a_created_container_has_its_init() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let output = c.call("ps", &["-f", "json"]).run().ok();
    assert_eq!(output.json(), json!([c.pid()]));
}

#[test]
fn an_exec_process_is_there_too() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.exec_with(&["-d"], &["/probe", "pause"]).ok();
    let output = c.call("ps", &["-f", "json"]).run().ok();
    assert_eq!(output.json().as_array().unwrap().len(), 2);
}

#[test]
fn processes_in_groups_below_are_there_too() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    fs::create_dir(c.cgroup_dir().join("sub")).unwrap();
    c.exec_with(&["-d", "--cgroup", "sub"], &["/probe", "pause"])
        .ok();
    let output = c.call("ps", &["-f", "json"]).run().ok();
    assert_eq!(output.json().as_array().unwrap().len(), 2);
}

#[test]
fn a_paused_container_can_be_looked_at() {
    let bundle = Bundle::new();
    let c = spawning(&bundle);
    c.pause().ok();
    let output = c.call("ps", &["-f", "json"]).run().ok();
    assert_eq!(output.json().as_array().unwrap().len(), 3);
}

#[test]
fn a_stopped_container_has_none() {
    differs!(Crun, "an empty list, or an error");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.kill("KILL").ok();
    c.wait_stopped();
    let output = c.call("ps", &["-f", "json"]).run().ok();
    assert_eq!(output.stdout, "null\n");
    let output = c.call("ps", NO_FLAGS).run().ok();
    assert_eq!(output.stdout.lines().count(), 1, "{}", output.stdout);
}

#[test]
fn processes_of_others_are_not_there() {
    let bundle = Bundle::new();
    let (one, two) = (bundle.container_named("one"), bundle.container_named("two"));
    one.run_detached();
    two.run_detached();
    let output = one.call("ps", &["-f", "json"]).run().ok();
    assert_eq!(output.json(), json!([one.pid()]));
}

#[test]
fn an_unknown_format_is_an_error() {
    let bundle = Bundle::new();
    let c = spawning(&bundle);
    let output = c.call("ps", &["--format", "xml"]).run().exits(1);
    output.says_or_crun("invalid format option", "invalid format");
}

#[test]
fn an_unknown_container_does_not_exist() {
    let bundle = Bundle::new();
    let output = bundle.call(["ps", "unknown"]).run().fails();
    output.says_or_crun("container does not exist", "no such file");
}

/// With the keeper, whose pid is the one that engines know: what it uses is the container's, too.
#[test]
fn those_of_a_system_container_are_there_over_its_reboots() {
    differs!(Runc | Crun, "no system containers");
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.args(&["/bin/sh", "-c", "/bin/sleep 1000 & wait"]);
    let c = bundle.container();
    c.run_detached();
    let lines = |count: usize| {
        until(&format!("{count} processes"), || {
            let output = c.call("ps", NO_FLAGS).args(["-e", "-o", "pid,ppid,comm"]);
            let text = output.run().ok().stdout;
            let lines: Vec<Vec<String>> = text
                .lines()
                .skip(1)
                .map(|line| line.split_whitespace().map(str::to_string).collect())
                .collect();
            (lines.len() == count).then_some(lines)
        })
    };
    let check = |lines: &[Vec<String>]| {
        let keeper = c.pid().to_string();
        let init = &lines[1][0];
        assert_eq!(
            (&lines[0][0], &lines[1][1]),
            (&keeper, &keeper),
            "{lines:?}"
        );
        assert_eq!(lines[0][2], "vzrun-keeper");
        assert_eq!(&lines[2][1], init, "{lines:?}");
        let output = c.call("ps", &["--format", "json"]).run().ok();
        let pids: Vec<i64> = lines.iter().map(|line| line[0].parse().unwrap()).collect();
        assert_eq!(output.json(), json!(pids));
        init.clone()
    };
    let first = check(&lines(3));
    c.exec_with(&["-d"], &["/bin/sleep", "1000"]).ok();
    lines(4);
    c.exec_with(
        &["--cap", "CAP_SYS_BOOT"],
        &["/bin/busybox", "reboot", "-f"],
    );
    until("the reboot", || {
        (c.state()["system"]["reboots"] == 1).then_some(())
    });
    assert_ne!(check(&lines(3)), first);
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}
