//! exec: a further process in a running container, where it runs and how it ends.

use integration::{Bundle, Container, Value, differs, json, probe_report_of, until};
use std::fs;
use std::io::Write;

const NO_FLAGS: &[&str] = &[];

/// Starts the bundle's container.
fn running(bundle: &Bundle) -> Container<'_> {
    let c = bundle.container();
    c.run_detached();
    c
}

/// What a process sees that is started with these flags.
#[track_caller]
fn report(c: &Container, flags: &[&str]) -> Value {
    probe_report_of(&c.exec_with(flags, &["/probe", "report"]))
}

#[test]
fn exec_gives_the_exit_code() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    for code in [0, 1, 42, 255] {
        c.exec(&["/probe", "exit", &code.to_string()]).exits(code);
    }
}

#[test]
fn exec_gives_128_and_the_signal() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    for (signal, code) in [("KILL", 137), ("USR1", 138), ("TERM", 143)] {
        c.exec(&["/probe", "kill-self", signal]).exits(code);
    }
}

#[test]
fn a_program_that_is_not_in_the_path_gives_255() {
    let bundle = Bundle::new();
    let output = running(&bundle).exec(&["no-such-program"]).exits(255);
    output.says("no-such-program").says_or_crun(
        "exec: \"no-such-program\": executable file not found in $PATH",
        "not found in $PATH",
    );
}

#[test]
fn a_missing_program_gives_255() {
    let bundle = Bundle::new();
    let output = running(&bundle).exec(&["/no/such/program"]).exits(255);
    output
        .says("/no/such/program")
        .says("no such file or directory");
}

#[test]
fn a_program_that_may_not_be_executed_gives_255() {
    let bundle = Bundle::new();
    bundle.write("/plain", "text");
    let output = running(&bundle).exec(&["/plain"]).exits(255);
    output.says_or_crun("permission denied", "not executable");
}

#[test]
fn a_directory_gives_255() {
    let bundle = Bundle::new();
    running(&bundle)
        .exec(&["/tmp"])
        .exits(255)
        .says_or_crun("is a directory", "not a regular file");
}

#[test]
fn an_unknown_container_gives_255() {
    differs!(Crun, "gives 1");
    let bundle = Bundle::new();
    let output = bundle
        .call(["exec", "unknown", "/probe", "exit", "0"])
        .run();
    output
        .exits(255)
        .says("exec failed: container does not exist");
}

#[test]
fn a_stopped_container_is_refused() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    c.kill("KILL").ok();
    c.wait_stopped();
    let output = c.exec(&["/probe", "exit", "0"]).fails();
    output.says_or_crun("cannot exec in a stopped container", "is not running");
}

#[test]
fn refusals_give_255() {
    differs!(Crun, "gives 1");
    let bundle = Bundle::new();
    let c = running(&bundle);
    c.pause().ok();
    c.exec(&["/probe", "exit", "0"]).exits(255);
    c.resume().ok();
    c.exec_with(&["--user", "x"], &["/probe", "exit", "0"])
        .exits(255);
    c.exec(NO_FLAGS).exits(255).says("args cannot be empty");
}

#[test]
fn a_paused_container_is_refused() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    c.pause().ok();
    let output = c.exec(&["/probe", "exit", "0"]).fails();
    output.says_or_crun(
        "cannot exec in a paused container (use --ignore-paused to override)",
        "is paused",
    );
    c.resume().ok();
    c.exec(&["/probe", "exit", "0"]).ok();
}

#[test]
fn ignore_paused_waits_for_the_thaw() {
    differs!(Crun, "has no --ignore-paused");
    let bundle = Bundle::new();
    let c = running(&bundle);
    c.pause().ok();
    let call = c
        .exec_call(&["--ignore-paused"], &["/probe", "exit", "6"])
        .spawn();
    // The process is in the frozen cgroup, so nothing can be heard of it till then.
    let procs = c.cgroup_dir().join("cgroup.procs");
    until("a second process in the cgroup", || {
        (fs::read_to_string(&procs).unwrap().lines().count() > 1).then_some(())
    });
    c.resume().ok();
    call.wait().exits(6);
}

#[test]
fn a_created_container_takes_exec() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    c.exec(&["/probe", "exit", "5"]).exits(5);
    assert_eq!(c.status(), "created");
}

#[test]
fn it_is_in_the_namespaces_of_the_init() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let seen = report(&c, NO_FLAGS);
    for name in ["pid", "net", "ipc", "uts", "mnt", "cgroup", "user"] {
        let link = fs::read_link(format!("/proc/{}/ns/{name}", c.pid())).unwrap();
        let inode = link
            .to_str()
            .unwrap()
            .trim_end_matches(']')
            .rsplit('[')
            .next()
            .unwrap();
        assert_eq!(seen["namespaces"][name].to_string(), inode, "{name}");
    }
}

#[test]
fn it_is_in_the_cgroup_of_the_init() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let call = c.exec_call(&["--detach"], &["/probe", "pause"]);
    call.run().ok();
    let procs = fs::read_to_string(c.cgroup_dir().join("cgroup.procs")).unwrap();
    assert_eq!(procs.lines().count(), 2, "{procs:?}");
    assert_eq!(report(&c, NO_FLAGS)["cgroup"], "/");
}

#[test]
fn it_is_not_pid_1_and_has_no_parent_there() {
    let bundle = Bundle::new();
    let seen = report(&running(&bundle), NO_FLAGS);
    assert_ne!(seen["pid"], 1);
    assert_eq!(seen["ppid"], 0);
}

#[test]
fn it_has_a_session_of_its_own() {
    let bundle = Bundle::new();
    let seen = report(&running(&bundle), NO_FLAGS);
    assert_eq!(seen["sid"], seen["pid"]);
    assert_eq!(seen["pgid"], seen["pid"]);
}

#[test]
fn it_has_no_fds_but_stdio() {
    let bundle = Bundle::new();
    let seen = report(&running(&bundle), NO_FLAGS);
    let fds: Vec<i64> = seen["fds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fd| fd["fd"].as_i64().unwrap())
        .collect();
    assert_eq!(fds, [0, 1, 2]);
}

#[test]
fn it_has_what_the_config_says_of_the_process() {
    let bundle = Bundle::new();
    bundle.set(
        "/process/user",
        json!({"uid": 1000, "gid": 1001, "additionalGids": [2000, 2001]}),
    );
    bundle.env("COLOUR=blue");
    let seen = report(&running(&bundle), NO_FLAGS);
    assert_eq!((&seen["uid"], &seen["gid"]), (&json!(1000), &json!(1001)));
    assert_eq!(seen["groups"], json!([2000, 2001]));
    assert!(
        seen["env"]
            .as_array()
            .unwrap()
            .contains(&json!("COLOUR=blue"))
    );
    assert_eq!(
        seen["capabilities"]["bounding"].as_array().unwrap().len(),
        3
    );
}

#[test]
fn it_has_no_new_privs_as_the_config_says() {
    differs!(Crun, "exec sets it only with --no-new-privs");
    let bundle = Bundle::new();
    assert_eq!(report(&running(&bundle), NO_FLAGS)["no_new_privs"], true);
}

#[test]
fn it_has_the_rlimits_of_the_config() {
    differs!(Crun, "exec leaves the caller's rlimits");
    let bundle = Bundle::new();
    bundle.set(
        "/process/rlimits",
        json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]),
    );
    let seen = report(&running(&bundle), NO_FLAGS);
    assert_eq!(
        seen["rlimits"]["RLIMIT_NOFILE"],
        json!({"soft": 64, "hard": 128})
    );
}

#[test]
fn a_file_written_by_it_is_in_the_root_filesystem() {
    let bundle = Bundle::new();
    running(&bundle)
        .exec(&["/probe", "write", "/tmp/new", "text"])
        .ok();
    assert_eq!(
        fs::read_to_string(bundle.rootfs("/tmp/new")).unwrap(),
        "text"
    );
}

#[test]
fn many_at_once_keep_their_exit_codes() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let calls: Vec<_> = (1..=20)
        .map(|code| {
            let call = c.exec_call(
                NO_FLAGS,
                &["/probe".into(), "exit".into(), code.to_string()],
            );
            (code, call.spawn())
        })
        .collect();
    for (code, call) in calls {
        call.wait().exits(code);
    }
}

#[test]
fn a_killed_exec_leaves_the_container_running() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let mut call = c.exec_call(NO_FLAGS, &["/probe", "sleep-forever"]).spawn();
    call.wait_line("ready");
    call.kill(rustix::process::Signal::KILL);
    assert_eq!(call.wait().signal(), Some(9));
    assert_eq!(c.status(), "running");
    c.exec(&["/probe", "exit", "3"]).exits(3);
}

#[test]
fn signals_to_exec_reach_the_process() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let mut call = c.exec_call(NO_FLAGS, &["/probe", "trap"]).spawn();
    call.wait_line("ready");
    call.kill(rustix::process::Signal::USR1);
    call.wait_line("USR1");
    call.kill(rustix::process::Signal::TERM);
    call.wait().ok();
}

#[test]
fn a_large_output_comes_whole() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let script = "dd if=/dev/zero bs=65536 count=64 2>/dev/null | tr '\\0' x";
    let call = c
        .exec_call(NO_FLAGS, &["/bin/sh", "-c", script])
        .stdout_fd(writer)
        .spawn();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    call.wait().ok();
    assert_eq!(bytes.len(), 64 * 65536);
    assert!(bytes.iter().all(|byte| *byte == b'x'));
}

#[test]
fn a_pipe_as_stdin_is_read_as_it_fills() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let script = "while read line; do echo got $line; done";
    let mut call = c
        .exec_call(NO_FLAGS, &["/bin/sh", "-c", script])
        .stdin_fd(reader)
        .spawn();
    for word in ["one", "two"] {
        writeln!(writer, "{word}").unwrap();
        call.wait_line(&format!("got {word}"));
    }
    drop(writer);
    call.wait().ok();
}
