//! create, start, run: the way of a container through its states, and what stops it on that way.

use integration::{Bundle, Runtime, differs, json, probe_report, wait_exit};
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::time::Duration;

const NO_FLAGS: &[&str] = &[];

#[test]
fn a_container_goes_through_its_states() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    assert_eq!(c.status(), "created");
    c.start();
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_stopped();
    c.delete().ok();
    assert!(!c.exists());
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn create_and_start_print_nothing() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "pause"]);
    let c = bundle.container();
    for output in [c.create(), c.start()] {
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    }
}

#[test]
fn nothing_of_the_container_runs_before_start() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "write", "/tmp/here", "yes"]);
    let c = bundle.container();
    c.create();
    assert!(!bundle.rootfs("/tmp/here").exists());
    c.start();
    c.wait_stopped();
    assert_eq!(
        fs::read_to_string(bundle.rootfs("/tmp/here")).unwrap(),
        "yes"
    );
}

#[test]
fn the_init_lives_on_when_the_runtime_is_gone() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let stat = fs::read_to_string(format!("/proc/{}/stat", c.pid())).unwrap();
    let parent: i32 = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let parent_exe = fs::read_link(format!("/proc/{parent}/exe")).unwrap_or_default();
    assert_ne!(parent_exe, Runtime::get().path());
}

#[test]
fn a_config_changed_after_create_changes_nothing() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "write", "/tmp/who", "first"]);
    let c = bundle.container();
    c.create();
    bundle.args(&["/probe", "write", "/tmp/who", "second"]);
    c.start();
    c.wait_stopped();
    assert_eq!(
        fs::read_to_string(bundle.rootfs("/tmp/who")).unwrap(),
        "first"
    );
}

#[test]
fn a_config_removed_after_create_is_not_missed() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    fs::remove_file(bundle.dir().join("config.json")).unwrap();
    c.start();
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_stopped();
    c.delete().ok();
}

#[test]
fn an_id_can_be_used_again_after_delete() {
    let bundle = Bundle::new();
    for _ in 0..2 {
        let c = bundle.container();
        c.run_detached();
        c.delete_force().ok();
    }
}

#[test]
fn two_containers_share_a_bundle() {
    let bundle = Bundle::new();
    let (one, two) = (bundle.container_named("one"), bundle.container_named("two"));
    one.run_detached();
    two.run_detached();
    assert_ne!(one.pid(), two.pid());
    one.delete_force().ok();
    assert_eq!(two.status(), "running");
}

#[test]
fn the_same_id_in_another_root_is_another_container() {
    let bundle = Bundle::new();
    bundle.set("/linux/cgroupsPath", json!(format!("/{}-a", bundle.id())));
    let c = bundle.container();
    c.run_detached();
    bundle.set("/linux/cgroupsPath", json!(format!("/{}-b", bundle.id())));
    let other = bundle.home().join("other-root");
    let call = |verb: &[&str]| bundle.bare_call().arg("--root").arg(&other).args(verb);
    call(&["run", "-d", "--bundle"])
        .arg(bundle.dir())
        .arg(c.id())
        .run()
        .ok();
    let theirs = call(&["state", c.id()]).run().ok().json();
    call(&["delete", "--force", c.id()]).run().ok();
    assert_ne!(theirs["pid"], c.pid());
    assert_eq!(c.status(), "running");
}

#[test]
fn the_root_directory_is_made() {
    let bundle = Bundle::new();
    let root = bundle.home().join("a/b/c");
    let call = |verb: &[&str]| bundle.bare_call().arg("--root").arg(&root).args(verb);
    call(&["create", "--bundle"])
        .arg(bundle.dir())
        .arg(bundle.id())
        .run()
        .ok();
    assert!(root.join(bundle.id()).is_dir());
    call(&["delete", "--force", bundle.id()]).run().ok();
    assert!(!root.join(bundle.id()).exists());
}

// run

#[test]
fn run_gives_the_exit_code_of_the_process() {
    let bundle = Bundle::new();
    for code in [0, 1, 7, 255] {
        bundle.args(&["/probe", "exit", &code.to_string()]);
        bundle.container().run().exits(code);
    }
}

#[test]
fn run_gives_128_and_the_signal_that_ended_the_process() {
    let bundle = Bundle::new();
    bundle.without_namespace("pid");
    for (signal, code) in [("KILL", 137), ("USR1", 138), ("TERM", 143)] {
        bundle.args(&["/probe", "kill-self", signal]);
        bundle.container().run().exits(code);
    }
}

#[test]
fn run_passes_stdin_stdout_and_stderr_through() {
    let bundle = Bundle::new();
    bundle.args(&["/bin/sh", "-c", "cat; echo problem >&2"]);
    let c = bundle.container();
    let output = c.call("run", NO_FLAGS).stdin("some text").run().ok();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("some text", "problem\n")
    );
}

#[test]
fn run_deletes_the_container_at_its_end() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "3"]);
    bundle.container().run().exits(3);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn run_keep_leaves_the_stopped_container() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "3"]);
    let c = bundle.container();
    c.call("run", &["--keep"]).run().exits(3);
    assert_eq!(c.status(), "stopped");
    c.delete().ok();
}

#[test]
fn run_in_the_foreground_forwards_signals() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "trap"]);
    let c = bundle.container();
    let mut running = c.spawn_run();
    running.wait_line("ready");
    for (signal, line) in [
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::HUP, "HUP"),
    ] {
        running.kill(signal);
        running.wait_line(line);
    }
    running.wait().ok();
}

#[test]
fn run_waits_while_the_container_runs() {
    let bundle = Bundle::new();
    let c = bundle.container();
    let mut running = c.spawn_run();
    running.wait_line("ready");
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    running.wait().exits(137);
    assert!(!c.exists());
}

#[test]
fn run_detached_returns_while_the_container_runs() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "trap"]);
    let c = bundle.container();
    c.run_detached();
    assert_eq!(c.status(), "running");
    c.wait_line("ready");
    c.kill("TERM").ok();
    c.wait_stopped();
    assert_eq!(c.stdout(), "ready\nTERM\n");
}

#[test]
fn a_detached_container_stays_known_when_it_has_ended() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_stopped();
    assert_eq!(c.state()["pid"], 0);
    c.delete().ok();
}

#[test]
fn run_of_an_orphan_maker_ends_with_the_main_process() {
    let bundle = Bundle::new();
    bundle.args(&["/bin/sh", "-c", "/probe pause & exit 4"]);
    bundle.container().run().exits(4);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

// pid file

#[test]
fn create_writes_the_pid_file_without_a_newline() {
    let bundle = Bundle::new();
    let file = bundle.home().join("pid");
    let c = bundle.container();
    c.call("create", &["--pid-file", file.to_str().unwrap()])
        .run()
        .ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), c.pid().to_string());
}

#[test]
fn run_writes_the_pid_file() {
    let bundle = Bundle::new();
    let file = bundle.home().join("pid");
    let c = bundle.container();
    c.call("run", &["-d", "--pid-file", file.to_str().unwrap()])
        .run()
        .ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), c.pid().to_string());
}

#[test]
fn a_relative_pid_file_is_in_the_callers_directory() {
    differs!(
        Crun,
        "writes a relative pid file into the bundle's directory"
    );
    let bundle = Bundle::new();
    let c = bundle.container();
    c.call("create", &["--pid-file", "pid"])
        .cwd(bundle.home())
        .run()
        .ok();
    assert_eq!(
        fs::read_to_string(bundle.home().join("pid")).unwrap(),
        c.pid().to_string()
    );
}

#[test]
fn an_old_pid_file_is_replaced() {
    let bundle = Bundle::new();
    let file = bundle.home().join("pid");
    fs::write(&file, "1234567890123456789\n").unwrap();
    let c = bundle.container();
    c.call("create", &["--pid-file", file.to_str().unwrap()])
        .run()
        .ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), c.pid().to_string());
}

#[test]
fn a_pid_file_that_cannot_be_written_fails_create_and_leaves_nothing() {
    let bundle = Bundle::new();
    let c = bundle.container();
    let file = bundle.home().join("no/such/dir/pid");
    c.call("create", &["--pid-file", file.to_str().unwrap()])
        .run()
        .fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

// ids

#[test]
fn an_id_in_use_is_refused() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let pid = c.pid();
    c.call("create", NO_FLAGS)
        .run()
        .exits(1)
        .says("already exists");
    c.call("run", NO_FLAGS)
        .run()
        .exits(1)
        .says("already exists");
    assert_eq!((c.status().as_str(), c.pid()), ("created", pid));
}

#[test]
fn the_text_for_an_id_in_use_is_runcs() {
    differs!(Crun, "its text is: container `X` already exists");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    c.call("create", NO_FLAGS)
        .run()
        .says("container with given ID already exists");
}

#[test]
fn an_id_with_a_slash_is_refused() {
    let bundle = Bundle::new();
    for id in ["a/b", "../a", "/a"] {
        let call = bundle
            .call(["create", "--bundle"])
            .arg(bundle.dir())
            .arg(id);
        call.run()
            .exits(1)
            .says_or_crun("invalid container ID format", "invalid character");
    }
    assert_eq!(bundle.state_ids(), [""; 0]);
}

#[test]
fn odd_ids_are_refused() {
    differs!(Crun, "takes any id without a slash");
    let bundle = Bundle::new();
    for id in [".", "..", "a b", "a\nb", "ä", "a:b", "a*", "a@b"] {
        let call = bundle
            .call(["create", "--bundle"])
            .arg(bundle.dir())
            .arg(id);
        call.run().exits(1).says("invalid container ID format");
    }
    assert_eq!(bundle.state_ids(), [""; 0]);
}

#[test]
fn an_empty_id_is_refused() {
    let bundle = Bundle::new();
    let call = bundle
        .call(["create", "--bundle"])
        .arg(bundle.dir())
        .arg("");
    call.run()
        .exits(1)
        .says_or_crun("container id cannot be empty", "already exists");
}

#[test]
fn an_id_may_have_letters_digits_and_some_signs() {
    let bundle = Bundle::new();
    let c = bundle.container_named("A_z.0+9-x");
    c.create();
    assert_eq!(c.state()["id"], c.id());
    c.delete().ok();
}

#[test]
fn a_missing_or_extra_argument_is_a_usage_error() {
    let bundle = Bundle::new();
    for verb in ["create", "start", "state", "delete", "pause"] {
        bundle.call([verb]).run().exits(1);
        bundle.call([verb, "a", "b"]).run().exits(1);
    }
    assert_eq!(bundle.state_ids(), [""; 0]);
}

// start

#[test]
fn an_unknown_container_does_not_exist() {
    let bundle = Bundle::new();
    for verb in ["start", "state", "kill", "delete", "pause", "resume"] {
        let output = bundle.call([verb, "unknown"]).run().exits(1);
        output.says_or_crun("container does not exist", "no such file or directory");
    }
}

#[test]
fn a_running_container_is_not_started_again() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let output = c.call("start", NO_FLAGS).run().exits(1);
    output.says_or_crun("cannot start an already running container", "exec.fifo");
    assert_eq!(c.status(), "running");
}

#[test]
fn a_stopped_container_is_not_started_again() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_stopped();
    let output = c.call("start", NO_FLAGS).run().exits(1);
    output.says_or_crun(
        "cannot start a container that has stopped",
        "is not running",
    );
}

#[test]
fn a_container_killed_before_start_is_not_started() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    c.kill("KILL").ok();
    c.wait_stopped();
    let output = c.call("start", NO_FLAGS).run().exits(1);
    output.says_or_crun(
        "cannot start a container that has stopped",
        "is not running",
    );
}

// bundle

#[test]
fn the_bundle_defaults_to_the_callers_directory() {
    let bundle = Bundle::new();
    let c = bundle.container();
    bundle.call(["create", c.id()]).cwd(bundle.dir()).run().ok();
    assert_eq!(c.state()["bundle"], json!(bundle.dir()));
}

#[test]
fn a_relative_bundle_is_found_from_the_callers_directory() {
    let bundle = Bundle::new();
    let c = bundle.container();
    bundle
        .call(["create", "-b", "bundle", c.id()])
        .cwd(bundle.home())
        .run()
        .ok();
    assert_eq!(c.state()["bundle"], json!(bundle.dir()));
    c.start();
}

#[test]
fn a_missing_bundle_is_an_error() {
    let bundle = Bundle::new();
    let call = bundle.call(["create", "-b", "/no/such/bundle", bundle.id()]);
    call.run().exits(1).says("no such file or directory");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_missing_config_is_an_error() {
    let bundle = Bundle::new();
    fs::remove_file(bundle.dir().join("config.json")).unwrap();
    let output = bundle.container().call("create", NO_FLAGS).run().exits(1);
    output.says_or_crun(
        "JSON specification file config.json not found",
        "config.json",
    );
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn broken_configs_are_errors() {
    let bundle = Bundle::new();
    for text in [
        "",
        "{",
        "[]",
        "nonsense",
        "{\"ociVersion\": \"1.0.2\"",
        "{\"process\": 7}",
    ] {
        bundle.raw_config(text);
        bundle
            .container()
            .call("create", NO_FLAGS)
            .run()
            .exits(1)
            .fails();
        assert_eq!(bundle.leftovers(), [""; 0], "after {text:?}");
    }
}

#[test]
fn an_absolute_root_path_is_taken_as_it_is() {
    let bundle = Bundle::new();
    let elsewhere = bundle.home().join("elsewhere");
    fs::rename(bundle.rootfs("/"), &elsewhere).unwrap();
    bundle.set("/root/path", json!(elsewhere));
    assert_eq!(probe_report(&bundle)["uid"], 0);
}

#[test]
fn a_missing_root_filesystem_is_an_error() {
    let bundle = Bundle::new();
    bundle.set("/root/path", json!("no-such-dir"));
    bundle
        .container()
        .call("create", NO_FLAGS)
        .run()
        .exits(1)
        .says("no-such-dir");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

// the executable

#[test]
fn a_program_without_a_slash_is_found_in_the_containers_path() {
    let bundle = Bundle::new();
    bundle.args(&["tool"]);
    bundle.write("/usr/local/bin/tool", "#!/bin/sh\necho found\n");
    set_mode(&bundle.rootfs("/usr/local/bin/tool"), 0o755);
    assert_eq!(bundle.container().run().ok().stdout, "found\n");
}

#[test]
fn a_program_that_is_not_in_the_path_fails_create() {
    let bundle = Bundle::new();
    bundle.args(&["no-such-program"]);
    let output = bundle.container().call("create", NO_FLAGS).run().exits(1);
    let output = output.says("no-such-program");
    output.says_or_crun(
        "executable file not found in $PATH",
        "not found in $PATH: No such file",
    );
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_missing_program_fails_create() {
    let bundle = Bundle::new();
    bundle.args(&["/no/such/program"]);
    let output = bundle.container().call("create", NO_FLAGS).run().exits(1);
    output
        .says("/no/such/program")
        .says("no such file or directory");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_program_that_may_not_be_executed_fails_create() {
    let bundle = Bundle::new();
    bundle.write("/plain", "text");
    bundle.args(&["/plain"]);
    let output = bundle.container().call("create", NO_FLAGS).run().exits(1);
    output.says_or_crun("permission denied", "is not executable");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_directory_is_no_program() {
    let bundle = Bundle::new();
    bundle.args(&["/tmp"]);
    let output = bundle.container().call("create", NO_FLAGS).run().exits(1);
    output.says_or_crun("is a directory", "not a regular file");
}

#[test]
fn a_failed_run_leaves_nothing() {
    let bundle = Bundle::new();
    bundle.args(&["/no/such/program"]);
    bundle.container().run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn empty_args_are_refused() {
    let bundle = Bundle::new();
    bundle.args(NO_FLAGS);
    bundle
        .container()
        .call("create", NO_FLAGS)
        .run()
        .exits(1)
        .says_or_crun("args", "cannot find");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_wrong_interpreter_fails_run() {
    let bundle = Bundle::new();
    bundle.write("/script", "#!/no/such/interpreter\n");
    set_mode(&bundle.rootfs("/script"), 0o755);
    bundle.args(&["/script"]);
    bundle
        .container()
        .run()
        .exits(1)
        .says("no such file or directory");
}

// death at odd moments

#[test]
fn an_init_killed_before_start_is_seen_as_stopped() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let pid = c.pid();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL)
        .unwrap();
    assert!(wait_exit(pid, Duration::from_secs(10)));
    c.wait_status("stopped");
    c.delete().ok();
}

#[test]
fn a_foreground_run_killed_leaves_a_container_that_can_be_deleted() {
    differs!(Crun, "run saves its state after the process has begun");
    let bundle = Bundle::new();
    let c = bundle.container();
    let mut running = c.spawn_run();
    running.wait_line("ready");
    running.kill(Signal::KILL);
    assert_eq!(running.wait().signal(), Some(9));
    assert!(c.exists());
    c.delete_force().ok();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}
