//! exec: its flags.

use integration::{Bundle, Container, Value, differs, json, probe_report_of};
use std::fs;
use std::path::PathBuf;

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

/// Writes a process as a file for `--process`.
fn process_file(bundle: &Bundle, process: Value) -> PathBuf {
    let path = bundle.home().join("process.json");
    fs::write(&path, process.to_string()).unwrap();
    path
}

#[test]
fn stdin_stdout_and_stderr_are_the_callers() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let call = c.exec_call(NO_FLAGS, &["/bin/sh", "-c", "cat; echo problem >&2"]);
    let output = call.stdin("some text").run().ok();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("some text", "problem\n")
    );
}

#[test]
fn flags_end_at_the_container_id() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = c.exec(&["/bin/echo", "--user", "1", "-d", "--", "-e"]).ok();
    assert_eq!(output.stdout, "--user 1 -d -- -e\n");
}

#[test]
fn cwd_is_set() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    assert_eq!(report(&c, &["--cwd", "/var/tmp"])["cwd"], "/var/tmp");
    assert_eq!(report(&c, &["--cwd=/etc"])["cwd"], "/etc");
}

#[test]
fn without_the_flag_cwd_is_that_of_the_config() {
    differs!(Crun, "exec starts in / without --cwd");
    let bundle = Bundle::new();
    bundle.set("/process/cwd", json!("/tmp"));
    assert_eq!(report(&running(&bundle), NO_FLAGS)["cwd"], "/tmp");
}

#[test]
fn a_missing_cwd_is_an_error() {
    let bundle = Bundle::new();
    let output = running(&bundle).exec_with(&["--cwd", "/no/dir"], &["/probe", "exit", "0"]);
    output
        .exits(255)
        .says("/no/dir")
        .says("no such file or directory");
}

#[test]
fn env_adds_variables() {
    differs!(Crun, "exec --env starts from an empty environment");
    let bundle = Bundle::new();
    bundle.env("FIRST=1");
    let seen = report(
        &running(&bundle),
        &["--env", "SECOND=2", "--env", "THIRD=a=b c"],
    );
    let env = seen["env"].as_array().unwrap();
    for variable in ["FIRST=1", "SECOND=2", "THIRD=a=b c", "TERM=xterm"] {
        assert!(env.contains(&json!(variable)), "{variable} in {env:?}");
    }
}

#[test]
fn env_wins_over_the_configs() {
    let bundle = Bundle::new();
    bundle.env("COLOUR=blue");
    let c = running(&bundle);
    let output = c
        .exec_with(&["-e", "COLOUR=red"], &["/bin/sh", "-c", "echo $COLOUR"])
        .ok();
    assert_eq!(output.stdout, "red\n");
}

#[test]
fn user_sets_uid_and_gid() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let seen = report(&c, &["--user", "1000:1001"]);
    assert_eq!((&seen["uid"], &seen["gid"]), (&json!(1000), &json!(1001)));
    assert_eq!(seen["all_uids"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(seen["all_gids"], json!([1001, 1001, 1001, 1001]));
}

#[test]
fn user_without_a_gid_keeps_that_of_the_config() {
    differs!(
        Crun < (1, 27),
        "exec --user without a gid is taken for root"
    );
    let bundle = Bundle::new();
    bundle.set("/process/user", json!({"uid": 0, "gid": 7}));
    let seen = report(&running(&bundle), &["-u", "1000"]);
    assert_eq!((&seen["uid"], &seen["gid"]), (&json!(1000), &json!(7)));
}

#[test]
fn a_user_that_is_no_number_is_an_error() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    for user in ["alice", "1x", "1:y"] {
        c.exec_with(&["--user", user], &["/probe", "exit", "0"])
            .fails();
    }
}

#[test]
fn uid_1_is_not_taken_for_root() {
    differs!(
        Crun < (1, 27),
        "exec --user without a gid is taken for root"
    );
    let bundle = Bundle::new();
    let c = running(&bundle);
    assert_eq!(report(&c, &["-u", "1"])["uid"], 1);
    assert_eq!(report(&c, &["-u", "1:2"])["gid"], 2);
}

#[test]
fn home_is_that_of_the_user() {
    differs!(
        Crun < (1, 27),
        "exec --user without a gid is taken for root"
    );
    let bundle = Bundle::new();
    let c = running(&bundle);
    let home = |flags: &[&str]| {
        c.exec_with(flags, &["/bin/sh", "-c", "echo $HOME"])
            .ok()
            .stdout
    };
    assert_eq!(home(&["--user", "1000"]), "/home/alice\n");
    assert_eq!(home(NO_FLAGS), "/root\n");
}

#[test]
fn additional_gids_are_set() {
    differs!(Crun, "has no --additional-gids");
    let bundle = Bundle::new();
    let seen = report(&running(&bundle), &["-g", "2000", "-g", "2001"]);
    assert_eq!(seen["groups"], json!([2000, 2001]));
}

#[test]
fn cap_adds_a_capability() {
    differs!(Crun, "exec --cap replaces the capabilities of the config");
    let bundle = Bundle::new();
    let seen = report(&running(&bundle), &["--cap", "CAP_NET_RAW"]);
    for set in ["bounding", "effective", "permitted"] {
        let names = seen["capabilities"][set].as_array().unwrap();
        assert!(names.contains(&json!("CAP_NET_RAW")), "{set}: {names:?}");
        assert!(names.contains(&json!("CAP_KILL")), "{set}: {names:?}");
    }
}

#[test]
fn cap_leaves_the_inheritable_set_empty() {
    differs!(Crun, "adds it to all five sets");
    differs!(Runc < (1, 2), "adds it to the inheritable set, too");
    let bundle = Bundle::new();
    let seen = report(&running(&bundle), &["--cap", "CAP_NET_RAW"]);
    assert_eq!(seen["capabilities"]["inheritable"], json!([]));
}

/// A list of a newer kernel's capabilities must not make an older runtime useless.
#[test]
fn cap_that_is_not_known_is_left_out() {
    let bundle = Bundle::new();
    bundle.set("/process/capabilities", json!({}));
    let seen = report(&running(&bundle), &["--cap", "CAP_UNKNOWN"]);
    for set in ["bounding", "effective", "permitted", "inheritable"] {
        assert_eq!(seen["capabilities"][set], json!([]), "{set}");
    }
}

#[test]
fn no_new_privs_is_set() {
    let bundle = Bundle::new();
    bundle.set("/process/noNewPrivileges", json!(false));
    let c = running(&bundle);
    assert_eq!(report(&c, NO_FLAGS)["no_new_privs"], false);
    assert_eq!(report(&c, &["--no-new-privs"])["no_new_privs"], true);
}

#[test]
fn a_process_file_replaces_all() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let file = process_file(
        &bundle,
        json!({
            "user": {"uid": 1001, "gid": 1000, "additionalGids": [5]},
            "args": ["/probe", "report"],
            "env": ["ONLY=this"],
            "cwd": "/home",
            "capabilities": {"bounding": ["CAP_CHOWN"]},
            "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
            "noNewPrivileges": false
        }),
    );
    let output = c.call("exec", &["--process", file.to_str().unwrap()]).run();
    let seen = probe_report_of(&output);
    assert_eq!((&seen["uid"], &seen["gid"]), (&json!(1001), &json!(1000)));
    assert_eq!(seen["groups"], json!([5]));
    assert_eq!(seen["env"][0], "ONLY=this");
    assert_eq!(seen["cwd"], "/home");
    assert_eq!(seen["capabilities"]["bounding"], json!(["CAP_CHOWN"]));
    assert_eq!(seen["capabilities"]["effective"], json!([]));
    assert_eq!(seen["no_new_privs"], false);
}

#[test]
fn a_process_file_gives_its_exit_code() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let process =
        json!({"user": {"uid": 0, "gid": 0}, "args": ["/probe", "exit", "9"], "cwd": "/"});
    let file = process_file(&bundle, process);
    c.call("exec", &["-p", file.to_str().unwrap()])
        .run()
        .exits(9);
}

#[test]
fn a_process_file_that_is_missing_or_broken_is_an_error() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    c.call("exec", &["--process", "/no/such/file"])
        .run()
        .fails();
    let file = bundle.home().join("broken.json");
    fs::write(&file, "{\"args\": [").unwrap();
    c.call("exec", &["--process", file.to_str().unwrap()])
        .run()
        .fails();
}

#[test]
fn preserved_fds_come_through() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let path = bundle.home().join("text");
    fs::write(&path, "from outside").unwrap();
    let call = c.exec_call(&["--preserve-fds", "1"], &["/probe", "fd-read", "3"]);
    let output = call.fd(3, fs::File::open(&path).unwrap()).run().ok();
    assert_eq!(output.stdout, "from outside");
}

#[test]
fn a_relative_cgroup_is_taken_from_the_containers() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    fs::create_dir(c.cgroup_dir().join("sub")).unwrap();
    let output = c.exec_with(&["--cgroup", "sub"], &["/probe", "report"]);
    let seen = probe_report_of(&output);
    fs::remove_dir(c.cgroup_dir().join("sub")).unwrap();
    assert_eq!(seen["cgroup"], "/sub");
}

#[test]
fn a_missing_cgroup_is_an_error() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    c.exec_with(&["--cgroup", "nowhere"], &["/probe", "exit", "0"])
        .fails();
}

#[test]
fn a_cgroup_outside_of_the_container_is_refused() {
    differs!(Crun, "allows it before 1.29");
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = c
        .exec_with(&["--cgroup", "../.."], &["/probe", "exit", "0"])
        .fails();
    output.says_any(&["bad sub cgroup path", "is not a sub cgroup path"]);
}

#[test]
fn a_cgroup_for_some_controllers_is_refused() {
    differs!(Crun, "takes it as a path");
    differs!(Runc < (1, 2), "an empty controller was all of them");
    let bundle = Bundle::new();
    let c = running(&bundle);
    for (flags, text) in [
        (&["--cgroup=cpu:sub"][..], "unknown controller cpu"),
        (&["--cgroup=cpu,memory:sub"], "unknown controller"),
        (
            &["--cgroup=,cpu:sub"],
            "invalid --cgroup argument: ,cpu:sub (empty <controller> prefix)",
        ),
        (
            &["--cgroup=cpu:sub", "--cgroup=cpu:other"],
            "invalid --cgroup argument(s): controller cpu specified multiple times",
        ),
        (
            &["--cgroup=a", "--cgroup=b"],
            "invalid --cgroup argument: a (missing <controller>: prefix)",
        ),
    ] {
        c.exec_with(flags, &["/bin/true"]).exits(255).says(text);
    }
}
