//! exec: a further process in a running container.

use integration::{
    Bundle, Container, FdSocket, Terminal, Value, differs, json, probe_report_of, until, wait_exit,
};
use std::fs;
use std::io::Write;
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

// how it ends

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

// where it runs

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

// flags

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

// detached

#[test]
fn detach_returns_while_the_process_runs() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let file = bundle.home().join("pid");
    let flags = ["--detach", "--pid-file", file.to_str().unwrap()];
    let output = c.exec_with(&flags, &["/probe", "trap"]).ok();
    until("ready", || {
        (fs::read_to_string(&output.out_path).unwrap() == "ready\n").then_some(())
    });
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    let procs = fs::read_to_string(c.cgroup_dir().join("cgroup.procs")).unwrap();
    assert!(
        procs.lines().any(|line| line == pid.to_string()),
        "{pid} in {procs:?}"
    );
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert!(wait_exit(pid, integration::DEADLINE));
    assert_eq!(
        fs::read_to_string(&output.out_path).unwrap(),
        "ready\nTERM\n"
    );
}

#[test]
fn the_pid_file_has_no_newline() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let file = bundle.home().join("pid");
    c.exec_with(
        &["--pid-file", file.to_str().unwrap()],
        &["/probe", "exit", "0"],
    )
    .ok();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.parse::<i32>().is_ok(), "{text:?}");
}

#[test]
fn a_failed_exec_leaves_no_pid_file() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let file = bundle.home().join("pid");
    let flags = ["-d", "--pid-file", file.to_str().unwrap()];
    c.exec_with(&flags, &["/no/such/program"]).exits(255);
    assert!(!file.exists());
}

#[test]
fn the_end_of_the_init_ends_detached_processes() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let file = bundle.home().join("pid");
    c.exec_with(
        &["-d", "--pid-file", file.to_str().unwrap()],
        &["/probe", "pause"],
    )
    .ok();
    let pid: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    c.kill("KILL").ok();
    assert!(wait_exit(pid, integration::DEADLINE));
}

#[test]
fn an_orphan_goes_to_the_init() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    c.exec(&["/probe", "orphan"]).ok();
    let procs = c.cgroup_dir().join("cgroup.procs");
    until("the init to reap the orphan", || {
        (fs::read_to_string(&procs).unwrap().lines().count() == 1).then_some(())
    });
}

// terminals

#[test]
fn detach_with_a_terminal_sends_it_to_the_console_socket() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let socket = FdSocket::bind(bundle.home().join("console"));
    let flags = [
        "-d",
        "-t",
        "--console-socket",
        socket.path().to_str().unwrap(),
    ];
    c.exec_with(&flags, &["/bin/sh", "-c", "tty; read line; echo got $line"])
        .ok();
    let mut terminal = Terminal::from(socket.receive().0);
    terminal.read_until("/dev/pts/0");
    terminal.write("words\n");
    terminal.read_until("got words");
}

#[test]
fn tty_in_the_foreground_is_the_callers() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let mut terminal = Terminal::open();
    terminal.resize(31, 77);
    let call = c
        .exec_call(&["--tty"], &["/probe", "winsize"])
        .terminal(&terminal)
        .spawn();
    // Its first size may still be another; the runtime sets it while the process starts.
    terminal.read_until("31 77");
    terminal.resize(20, 50);
    terminal.read_until("20 50");
    // The interrupt character reaches the process inside.
    terminal.write("\x03");
    call.wait().ok();
}

#[test]
fn a_console_socket_without_detach_is_refused() {
    differs!(Crun, "takes it");
    let bundle = Bundle::new();
    let c = running(&bundle);
    let socket = FdSocket::bind(bundle.home().join("console"));
    let flags = ["--console-socket", socket.path().to_str().unwrap()];
    let output = c.exec_with(&flags, &["/probe", "exit", "0"]).exits(255);
    output.says("cannot use console socket if runc will not detach or allocate tty");
}

#[test]
fn detach_with_a_terminal_needs_a_console_socket() {
    differs!(Crun, "takes it");
    let bundle = Bundle::new();
    let c = running(&bundle);
    let output = c
        .exec_with(&["-d", "-t"], &["/probe", "exit", "0"])
        .exits(255);
    output.says("cannot allocate tty if runc will detach without setting console socket");
}

// many

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
