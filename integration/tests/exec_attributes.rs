//! What the process of an `exec` is, where it is not what the config says: by flags and by a process file.

use integration::{Bundle, Container, Output, Value, differs, json};

fn running(bundle: &Bundle) -> Container<'_> {
    let c = bundle.container();
    c.run_detached();
    c
}

#[track_caller]
fn report(c: &Container, flags: &[&str]) -> Value {
    c.exec_with(flags, &["/probe", "report"]).ok().json()
}

/// `exec --process` of the bundle's process with a change.
fn exec_process(bundle: &Bundle, c: &Container, change: impl FnOnce(&mut Value)) -> Output {
    let mut process = bundle.config()["process"].clone();
    process["args"] = json!(["/probe", "report"]);
    change(&mut process);
    let file = bundle.home().join("process.json");
    std::fs::write(&file, process.to_string()).unwrap();
    c.exec_with(&["--process", file.to_str().unwrap()], &[""; 0])
}

#[test]
fn user_sets_all_uids_and_gids() {
    let bundle = Bundle::new();
    let report = report(&running(&bundle), &["--user", "1000:1001"]);
    assert_eq!(report["all_uids"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(report["all_gids"], json!([1001, 1001, 1001, 1001]));
}

#[test]
fn a_user_that_is_not_quite_a_number_is_refused() {
    differs!(Crun, "takes what it can read");
    let bundle = Bundle::new();
    let c = running(&bundle);
    for user in ["", "x", "1x", "0x1", "1:", ":1", "1:x", "1:2:3", "-1"] {
        let output = c.exec_with(&["--user", user], &["/probe", "exit", "0"]);
        if user.is_empty() && output.code() == Some(0) {
            // As good as no flag, for runc.
            continue;
        }
        output.exits(255);
    }
}

#[test]
fn a_user_of_more_than_32_bits_is_refused() {
    differs!(Runc | Crun, "takes the low 32 bits");
    let bundle = Bundle::new();
    let c = running(&bundle);
    for user in ["4294967296", "99999999999", "0:4294967296", "4294967295"] {
        let output = c.exec_with(&["--user", user], &["/probe", "exit", "0"]);
        output.exits(255);
    }
}

#[test]
fn an_unmapped_user_is_refused() {
    differs!(Crun, "runs as another user then");
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 2000}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    let c = running(&bundle);
    let output = c.exec_with(&["--user", "2000"], &["/probe", "exit", "0"]);
    output
        .fails()
        .says_any(&["cannot setuid to unmapped", "cannot set uid to unmapped"]);
}

#[test]
fn home_follows_the_user() {
    differs!(Crun, "keeps what the config's user has");
    let bundle = Bundle::new();
    let c = running(&bundle);
    for (user, home) in [
        ("0", "HOME=/root"),
        ("1001", "HOME=/home/bob"),
        ("77", "HOME=/"),
    ] {
        let env = report(&c, &["--user", user])["env"].clone();
        assert!(
            env.as_array().unwrap().contains(&json!(home)),
            "{user}: {env}"
        );
    }
}

#[test]
fn the_last_of_two_equal_variables_wins() {
    differs!(Crun, "hands both on");
    let bundle = Bundle::new();
    bundle.env("A=1");
    let env = report(&running(&bundle), &["--env", "A=2", "--env", "A=3"])["env"].clone();
    let mut seen = env.as_array().unwrap().clone();
    seen.retain(|v| v.as_str().unwrap().starts_with("A="));
    assert_eq!(seen, [json!("A=3")]);
}

#[test]
fn a_variable_without_an_equals_sign_is_refused() {
    differs!(Crun, "hands it on");
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = c.exec_with(&["--env", "NOTHING"], &["/probe", "exit", "0"]);
    output.exits(255).says("missing '='");
}

#[test]
fn the_groups_are_those_of_the_config() {
    let bundle = Bundle::new();
    bundle.set("/process/user/additionalGids", json!([7, 9]));
    let groups = report(&running(&bundle), &[])["groups"].clone();
    for gid in [7, 9] {
        assert!(groups.as_array().unwrap().contains(&json!(gid)), "{groups}");
    }
}

#[test]
fn a_process_file_sets_the_user() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = exec_process(&bundle, &c, |process| {
        process["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [2000]});
    });
    let report = output.ok().json();
    assert_eq!(
        (&report["uid"], &report["gid"]),
        (&json!(1000), &json!(1001))
    );
    assert_eq!(report["groups"], json!([2000]));
}

#[test]
fn a_process_file_sets_the_umask() {
    differs!(Runc, "exec has the umask of its caller");
    differs!(Crun, "takes the config's");
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = exec_process(&bundle, &c, |process| {
        process["user"]["umask"] = json!(0o77)
    });
    assert_eq!(output.ok().json()["umask"], "0077");
}

#[test]
fn a_process_file_sets_no_new_privs() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    for wanted in [true, false] {
        let output = exec_process(&bundle, &c, |process| {
            process["noNewPrivileges"] = json!(wanted);
        });
        assert_eq!(output.ok().json()["no_new_privs"], wanted);
    }
}

#[test]
fn a_process_file_sets_the_oom_score_adj() {
    differs!(Runc, "takes the config's");
    differs!(Crun, "leaves the caller's");
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = exec_process(&bundle, &c, |process| process["oomScoreAdj"] = json!(432));
    assert_eq!(output.ok().json()["oom_score_adj"], 432);
}

#[test]
fn a_process_file_sets_the_io_priority() {
    differs!(Runc < (1, 2), "does not know ioPriority");
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = exec_process(&bundle, &c, |process| {
        process["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 5});
    });
    assert_eq!(
        output.ok().json()["ioprio"],
        json!({"class": 2, "value": 5})
    );
}

#[test]
fn a_process_file_sets_the_environment() {
    let bundle = Bundle::new();
    bundle.env("A=1");
    let c = running(&bundle);
    let output = exec_process(&bundle, &c, |process| {
        process["env"] = json!(["B=2", "HOME=/x"])
    });
    assert_eq!(output.ok().json()["env"], json!(["B=2", "HOME=/x"]));
}

#[test]
fn a_process_file_sets_the_working_directory() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = exec_process(&bundle, &c, |process| process["cwd"] = json!("/home/alice"));
    assert_eq!(output.ok().json()["cwd"], "/home/alice");
}

#[test]
fn a_process_file_without_args_is_refused() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    exec_process(&bundle, &c, |process| process["args"] = json!([])).fails();
}

#[test]
fn a_limit_that_may_not_be_raised_is_an_error() {
    differs!(
        Runc | Crun,
        "covered for run; here only the exit code counts, which crun has as 1"
    );
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = exec_process(&bundle, &c, |process| {
        process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": u64::MAX}]);
    });
    output.exits(255).says("RLIMIT_NOFILE");
}

#[test]
fn the_environment_of_the_caller_stays_outside() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = c
        .exec_call(&[""; 0], &["/probe", "report"])
        .env("FOREIGN", "1")
        .run();
    let env = output.ok().json()["env"].to_string();
    assert!(!env.contains("FOREIGN"), "{env}");
}
