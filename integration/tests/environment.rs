//! process.env and where HOME comes from.

use integration::{Bundle, Value, differs, json, probe_report, probe_report_of};
use std::fs::File;

fn env_of(bundle: &Bundle) -> Vec<String> {
    let report = probe_report(bundle);
    let list = report["env"].as_array().unwrap();
    list.iter()
        .map(|v| v.as_str().unwrap().to_string())
        .collect()
}

fn with_env(env: Value) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/process/env", env);
    bundle
}

fn home_of(bundle: &Bundle) -> Vec<String> {
    let mut env = env_of(bundle);
    env.retain(|v| v.starts_with("HOME="));
    env
}

#[test]
fn variables_reach_the_process_as_they_are() {
    let bundle = with_env(json!([
        "HOME=/x",
        "A=b=c",
        "EMPTY=",
        "SPACE= a b ",
        "LINE=a\nb"
    ]));
    let mut env = env_of(&bundle);
    env.sort_unstable();
    assert_eq!(
        env,
        ["A=b=c", "EMPTY=", "HOME=/x", "LINE=a\nb", "SPACE= a b "]
    );
}

#[test]
fn nothing_of_the_callers_environment_comes_in() {
    let bundle = with_env(json!(["HOME=/x"]));
    bundle.args(&["/probe", "report"]);
    let c = bundle.container();
    let call = c.call("run", &[""; 0]).env("FOREIGN", "1");
    let report = probe_report_of(&call.run());
    assert_eq!(report["env"], json!(["HOME=/x"]));
}

#[test]
fn the_order_is_kept() {
    let bundle = with_env(json!(["Z=1", "HOME=/x", "A=2", "M=3"]));
    assert_eq!(env_of(&bundle), ["Z=1", "HOME=/x", "A=2", "M=3"]);
}

#[test]
fn the_last_of_two_equal_names_wins() {
    differs!(Crun, "hands both on");
    differs!(Runc < (1, 3), "keeps the place of the first");
    let bundle = with_env(json!(["A=1", "B=2", "A=3", "HOME=/x"]));
    assert_eq!(env_of(&bundle), ["B=2", "A=3", "HOME=/x"]);
}

#[test]
fn names_that_begin_alike_are_not_equal() {
    let bundle = with_env(json!(["A=1", "AB=2", "HOME=/x"]));
    assert_eq!(env_of(&bundle), ["A=1", "AB=2", "HOME=/x"]);
}

#[test]
fn a_variable_without_an_equals_sign_is_refused() {
    differs!(Crun, "hands it on");
    let bundle = with_env(json!(["NOTHING"]));
    bundle.container().run().fails().says("missing '='");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_variable_without_a_name_is_refused() {
    differs!(Crun, "hands it on");
    let bundle = with_env(json!(["=x"]));
    bundle
        .container()
        .run()
        .fails()
        .says("name cannot be empty");
}

#[test]
fn a_variable_with_a_nul_is_refused() {
    differs!(Crun, "cuts it off");
    let bundle = with_env(json!(["A=b\u{0}c"]));
    bundle.container().run().fails().says("nul byte");
}

#[test]
fn home_comes_from_the_user_database() {
    let bundle = Bundle::new();
    assert_eq!(home_of(&bundle), ["HOME=/root"]);
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(home_of(&bundle), ["HOME=/home/alice"]);
}

#[test]
fn home_of_the_config_stays() {
    let bundle = Bundle::new();
    bundle.env("HOME=/elsewhere");
    assert_eq!(home_of(&bundle), ["HOME=/elsewhere"]);
}

#[test]
fn an_empty_home_is_as_good_as_none() {
    differs!(Crun, "leaves it empty");
    let bundle = Bundle::new();
    bundle.env("HOME=");
    assert_eq!(home_of(&bundle), ["HOME=/root"]);
}

#[test]
fn an_unknown_user_is_at_home_in_the_root_directory() {
    let bundle = Bundle::new();
    bundle.set("/process/user/uid", json!(4711));
    assert_eq!(home_of(&bundle), ["HOME=/"]);
}

#[test]
fn without_a_user_database_home_is_the_root_directory() {
    let bundle = Bundle::new();
    std::fs::remove_file(bundle.rootfs("/etc/passwd")).unwrap();
    assert_eq!(home_of(&bundle), ["HOME=/"]);
}

#[test]
fn junk_in_the_user_database_is_passed_over() {
    let bundle = Bundle::new();
    let mut junk = b"\xff\xfe\0:::\n:::::::::\nx\nbroken:x:1000\n+::::::\n".to_vec();
    junk.extend_from_slice(b"late:x:1000:1000::/late:/bin/sh\n");
    bundle.write("/etc/passwd", junk);
    bundle.set("/process/user/uid", json!(77));
    assert_eq!(home_of(&bundle), ["HOME=/"]);
}

#[test]
fn a_user_database_that_is_a_symlink_stays_within_the_root_filesystem() {
    let bundle = Bundle::new();
    std::fs::remove_file(bundle.rootfs("/etc/passwd")).unwrap();
    std::os::unix::fs::symlink("../../../../../etc/users", bundle.rootfs("/etc/passwd")).unwrap();
    bundle.write("/etc/users", "root:x:0:0::/inside:/bin/sh\n");
    assert_eq!(home_of(&bundle), ["HOME=/inside"]);
}

#[test]
fn a_fifo_as_the_user_database_does_not_hang() {
    differs!(Runc | Crun, "open it and wait for ever");
    let bundle = Bundle::new();
    std::fs::remove_file(bundle.rootfs("/etc/passwd")).unwrap();
    let io = bundle.home().join("io");
    let fifo = bundle.rootfs("/etc/passwd");
    integration::Call::of("mkfifo", &io).arg(fifo).run().ok();
    assert_eq!(home_of(&bundle), ["HOME=/"]);
}

#[test]
fn a_huge_user_database_does_not_hang() {
    differs!(Runc | Crun, "read all of it");
    let bundle = Bundle::new();
    let file = File::create(bundle.rootfs("/etc/passwd")).unwrap();
    file.set_len(10 << 40).unwrap();
    assert_eq!(home_of(&bundle), ["HOME=/"]);
}

#[test]
fn without_env_there_is_no_environment() {
    differs!(Runc < (1, 3), "adds HOME");
    differs!(Crun, "adds HOME");
    let bundle = Bundle::new();
    bundle.remove("/process/env");
    assert_eq!(env_of(&bundle), [""; 0]);
}

#[test]
fn an_empty_env_gets_home() {
    let bundle = with_env(json!([]));
    assert_eq!(env_of(&bundle), ["HOME=/root"]);
}

#[test]
fn a_null_env_is_as_good_as_none() {
    differs!(Crun, "adds HOME");
    differs!(Runc < (1, 3), "adds HOME");
    let bundle = with_env(Value::Null);
    assert_eq!(env_of(&bundle), [""; 0]);
}

#[test]
fn exec_gets_the_environment_of_the_config() {
    let bundle = with_env(json!(["A=1", "HOME=/x"]));
    let c = bundle.container();
    c.run_detached();
    let report = c.exec(&["/probe", "report"]).ok().json();
    assert_eq!(report["env"], json!(["A=1", "HOME=/x"]));
}

#[test]
fn many_large_variables_arrive() {
    let value = "x".repeat(10_000);
    let env: Vec<String> = (0..100).map(|n| format!("V{n}={value}")).collect();
    let bundle = with_env(json!(env));
    bundle.env("HOME=/x");
    let got = env_of(&bundle);
    assert_eq!(got[..100], env[..]);
}
