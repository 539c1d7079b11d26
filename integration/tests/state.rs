//! state: what it says of a container, in each status.

use integration::{Bundle, Call, Runtime, differs, json, probe_path};
use std::fs;

#[test]
fn it_has_what_the_spec_asks_for() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let state = c.state();
    assert!(
        state["ociVersion"].as_str().unwrap().starts_with("1."),
        "{state}"
    );
    assert_eq!(state["id"], c.id());
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], json!(bundle.dir()));
    assert!(state["pid"].as_i64().unwrap() > 0);
}

#[test]
fn the_pid_is_the_inits() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    let pid = c.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let inner = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .unwrap();
    assert_eq!(inner.split_whitespace().last(), Some("1"));
    assert_eq!(
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(),
        "probe\n"
    );
}

#[test]
fn the_pid_stays_the_same_over_start() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let before = c.pid();
    c.start();
    assert_eq!(c.pid(), before);
}

#[test]
fn annotations_are_the_configs() {
    let bundle = Bundle::new();
    bundle.set(
        "/annotations",
        json!({"org.example.one": "1", "org.example.two": "a=b, c"}),
    );
    let c = bundle.container();
    c.create();
    let annotations = &c.state()["annotations"];
    assert_eq!(annotations["org.example.one"], "1");
    assert_eq!(annotations["org.example.two"], "a=b, c");
}

#[test]
fn the_rootfs_is_absolute() {
    differs!(Crun, "gives it as the config does");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    assert_eq!(c.state()["rootfs"], json!(bundle.dir().join("rootfs")));
}

#[test]
fn created_is_a_time_in_utc() {
    let bundle = Bundle::new();
    let before = now();
    let c = bundle.container();
    c.create();
    let state = c.state();
    let created = state["created"].as_str().unwrap();
    assert!(created.ends_with('Z'), "{created}");
    // Times of this form sort as text.
    assert!(
        before.as_str() <= &created[..19] && &created[..19] <= now().as_str(),
        "{created}"
    );
}

#[test]
fn created_does_not_change_with_start() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let before = c.state()["created"].clone();
    c.start();
    assert_eq!(c.state()["created"], before);
}

#[test]
fn status_follows_the_container() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    assert_eq!(c.status(), "created");
    c.start();
    assert_eq!(c.status(), "running");
    c.pause().ok();
    assert_eq!(c.status(), "paused");
    c.resume().ok();
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_stopped();
    assert_eq!(c.status(), "stopped");
}

#[test]
fn the_pid_of_a_stopped_container_is_0() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.kill("KILL").ok();
    c.wait_stopped();
    assert_eq!(c.state()["pid"], 0);
}

#[test]
fn a_zombie_init_is_stopped() {
    let bundle = Bundle::new();
    let c = bundle.container();
    // Makes the runtime's orphan its own child, and never reaps it.
    let mut parent = Call::of(probe_path(), &bundle.home().join("io"))
        .arg("subreaper")
        .arg(Runtime::get().path())
        .arg("--root")
        .arg(bundle.root())
        .args(["create", "--bundle"])
        .arg(bundle.dir())
        .arg(c.id())
        .spawn();
    parent.wait_line("ready");
    let pid = c.pid();
    c.kill("KILL").ok();
    assert!(integration::wait_exit(pid, integration::DEADLINE));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(") Z "), "{stat}");
    let state = c.state();
    assert_eq!(
        (&state["status"], &state["pid"]),
        (&json!("stopped"), &json!(0))
    );
    c.delete().ok();
}

#[test]
fn it_is_indented_by_two_and_has_no_final_newline() {
    differs!(Crun, "indents by four and ends with empty lines");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let text = c.call("state", &[""; 0]).run().ok().stdout;
    assert!(text.starts_with("{\n  \"ociVersion\": "), "{text:?}");
    assert!(text.ends_with("\n}"), "{text:?}");
}

#[test]
fn its_keys_are_in_runcs_order() {
    differs!(Crun, "has another order, and systemd-scope");
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"a": "b"}));
    let c = bundle.container();
    c.create();
    let text = c.call("state", &[""; 0]).run().ok().stdout;
    let keys: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("  \"")?
                .split_once('"')
                .map(|(key, _)| key)
        })
        .collect();
    let wanted = [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ];
    assert_eq!(keys, wanted);
}

#[test]
fn nothing_is_on_stderr() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    assert_eq!(c.call("state", &[""; 0]).run().ok().stderr, "");
}

#[test]
fn an_unknown_container_does_not_exist() {
    let bundle = Bundle::new();
    let output = bundle.call(["state", "unknown"]).run().exits(1);
    let output = output.says_or_crun("container does not exist", "no such file");
    assert_eq!(output.stdout, "");
}

#[test]
fn it_is_the_same_from_any_directory() {
    let bundle = Bundle::new();
    let c = bundle.container();
    bundle
        .call(["create", "-b", "bundle", c.id()])
        .cwd(bundle.home())
        .run()
        .ok();
    let call = c.call("state", &[""; 0]).cwd("/");
    assert_eq!(call.run().ok().json()["bundle"], json!(bundle.dir()));
}

#[test]
fn the_error_goes_to_the_log_as_json() {
    let bundle = Bundle::new();
    let log = bundle.home().join("log");
    let path = log.to_str().unwrap();
    bundle
        .call(["--log", path, "--log-format", "json", "state", "unknown"])
        .run()
        .exits(1);
    let text = fs::read_to_string(&log).unwrap();
    let line: integration::Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line["level"], "error");
    assert!(!line["msg"].as_str().unwrap().is_empty());
    assert!(line["time"].as_str().unwrap().starts_with("20"), "{text}");
}

#[test]
fn the_error_goes_to_the_log_as_text() {
    differs!(
        Crun,
        "writes time and message without the names of the fields"
    );
    let bundle = Bundle::new();
    let log = bundle.home().join("log");
    bundle
        .call(["--log", log.to_str().unwrap(), "state", "unknown"])
        .run()
        .exits(1);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("time=\"20"), "{text}");
    assert!(
        text.ends_with("level=error msg=\"container does not exist\"\n"),
        "{text}"
    );
}

#[test]
fn a_log_is_appended_to() {
    let bundle = Bundle::new();
    let log = bundle.home().join("log");
    fs::write(&log, "first\n").unwrap();
    for _ in 0..2 {
        bundle
            .call(["--log", log.to_str().unwrap(), "state", "unknown"])
            .run()
            .exits(1);
    }
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("first\n"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn the_runtime_says_its_version() {
    let bundle = Bundle::new();
    for flag in ["--version", "-v"] {
        if flag == "-v" && Runtime::get().name() == "crun" {
            continue;
        }
        let output = bundle.bare_call().arg(flag).run().ok();
        let start = format!("{} version ", Runtime::get().name());
        assert!(output.stdout.starts_with(&start), "{}", output.stdout);
        // Docker asks for this line.
        assert!(output.stdout.contains("\ncommit: "), "{}", output.stdout);
    }
}

/// The time as `created` has it, to the second.
fn now() -> String {
    let output = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%S"])
        .output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .trim_end()
        .to_string()
}
