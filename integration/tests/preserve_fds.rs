//! Descriptors that go through to the container: --preserve-fds and LISTEN_FDS.

use integration::{Bundle, Call, Value, differs, json};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

const NO_FLAGS: &[&str] = &[];

/// A file with this text, to be read from its beginning.
fn file(bundle: &Bundle, text: &str) -> OwnedFd {
    let path = bundle.home().join("io").join(text);
    File::create(&path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    File::open(path).unwrap().into()
}

/// The numbers of the descriptors from 3 on in a report.
fn numbers(report: &Value) -> Vec<u64> {
    let fds = report["fds"].as_array().unwrap().iter();
    fds.map(|fd| fd["fd"].as_u64().unwrap())
        .filter(|n| *n > 2)
        .collect()
}

/// The call through a shell that says to be the one that LISTEN_PID names, as an activating service manager would.
fn activated(call: &[&str], bundle: &Bundle, count: &str) -> Call {
    let script = format!(
        "export LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES=one:two; exec {} --root {} \"$@\"",
        integration::Runtime::get().path().display(),
        bundle.root().display(),
    );
    Call::of("/bin/sh", &bundle.home().join("io"))
        .args(["-c", &script, "sh"])
        .args(call)
}

#[test]
fn nothing_but_the_standard_streams_is_passed() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let c = bundle.container();
    let output = c
        .call("run", NO_FLAGS)
        .fd(3, file(&bundle, "a"))
        .fd(7, file(&bundle, "b"))
        .run();
    assert_eq!(numbers(&output.ok().json()), [0; 0]);
}

#[test]
fn preserved_descriptors_keep_their_numbers() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let c = bundle.container();
    let output = c
        .call("run", &["--preserve-fds", "2"])
        .fd(3, file(&bundle, "three"))
        .fd(4, file(&bundle, "four"))
        .fd(5, file(&bundle, "five"))
        .run();
    assert_eq!(numbers(&output.ok().json()), [3, 4]);
}

#[test]
fn a_preserved_descriptor_is_the_callers() {
    let bundle = Bundle::new();
    bundle.args(&["/probe", "fd-read", "4"]);
    let c = bundle.container();
    let output = c
        .call("run", &["--preserve-fds", "2"])
        .fd(3, file(&bundle, "three"))
        .fd(4, file(&bundle, "four"))
        .run();
    assert_eq!(output.ok().stdout, "four");
}

#[test]
fn create_and_start_pass_them_too() {
    let bundle = Bundle::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    bundle.args(&["/probe", "fd-write", "3", "through"]);
    let c = bundle.container();
    c.call("create", &["--preserve-fds", "1"])
        .fd(3, OwnedFd::from(writer))
        .run()
        .ok();
    c.start();
    c.wait_stopped();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    assert_eq!(text, "through");
}

#[test]
fn exec_preserves_descriptors() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let output = c
        .exec_call(&["--preserve-fds", "1"], &["/probe", "report"])
        .fd(3, file(&bundle, "three"))
        .fd(4, file(&bundle, "four"))
        .run();
    assert_eq!(numbers(&output.ok().json()), [3]);
}

#[test]
fn exec_passes_nothing_by_itself() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let output = c
        .exec_call(NO_FLAGS, &["/probe", "report"])
        .fd(3, file(&bundle, "three"))
        .run();
    assert_eq!(numbers(&output.ok().json()), [0; 0]);
}

#[test]
fn a_missing_descriptor_is_an_error() {
    differs!(Runc < (1, 4), "the process is run without it");
    differs!(Crun, "it passes what there is");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.call("create", &["--preserve-fds", "3"])
        .fd(3, file(&bundle, "three"))
        .fd(5, file(&bundle, "five"))
        .run()
        .fails()
        .says("unable to stat preserved-fd 1 (of 3)")
        .says("no such file or directory");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_missing_descriptor_of_exec_is_an_error() {
    differs!(Runc < (1, 4), "the process is run without it");
    differs!(Crun, "it passes what there is");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    c.exec_call(&["--preserve-fds", "1"], &["/probe", "exit", "0"])
        .run()
        .exits(255)
        .says("unable to stat preserved-fd 0 (of 1)");
}

#[test]
fn listen_fds_come_with_their_variables() {
    differs!(Crun, "LISTEN_FDS is missing");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "listen-fds"]);
    let c = bundle.container();
    let dir = bundle.dir();
    let output = activated(
        &["run", "--bundle", dir.to_str().unwrap(), c.id()],
        &bundle,
        "2",
    )
    .fd(3, file(&bundle, "three"))
    .fd(4, file(&bundle, "four"))
    .fd(5, file(&bundle, "five"))
    .run();
    let report = output.ok().json();
    assert_eq!(numbers(&report), [3, 4]);
    let env = report["env"].as_array().unwrap();
    assert!(
        env.contains(&json!("LISTEN_FDS=2")) && env.contains(&json!("LISTEN_PID=1")),
        "{env:?}"
    );
    assert_eq!(report["pid"], 1);
}

#[test]
fn the_names_of_listen_fds_come_too() {
    differs!(Runc | Crun, "names stay behind");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "listen-fds"]);
    let c = bundle.container();
    let dir = bundle.dir();
    let output = activated(
        &["run", "--bundle", dir.to_str().unwrap(), c.id()],
        &bundle,
        "2",
    )
    .fd(3, file(&bundle, "three"))
    .fd(4, file(&bundle, "four"))
    .run();
    let env = output.ok().json()["env"].clone();
    assert!(
        env.as_array()
            .unwrap()
            .contains(&json!("LISTEN_FDNAMES=one:two")),
        "{env}"
    );
}

#[test]
fn preserved_descriptors_come_after_listen_fds() {
    differs!(Crun, "it counts both from 3");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "report"]);
    let c = bundle.container();
    let dir = bundle.dir();
    let call = [
        "run",
        "--preserve-fds",
        "1",
        "--bundle",
        dir.to_str().unwrap(),
        c.id(),
    ];
    let output = activated(&call, &bundle, "2")
        .fd(3, file(&bundle, "three"))
        .fd(4, file(&bundle, "four"))
        .fd(5, file(&bundle, "five"))
        .fd(6, file(&bundle, "six"))
        .run();
    assert_eq!(numbers(&output.ok().json()), [3, 4, 5]);
}

#[test]
fn listen_fds_of_another_process_are_not_ours() {
    differs!(Crun, "it takes them");
    let bundle = Bundle::new();
    bundle.args(&["/probe", "listen-fds"]);
    let c = bundle.container();
    let output = c
        .call("run", NO_FLAGS)
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .fd(3, file(&bundle, "three"))
        .run();
    let report = output.ok().json();
    assert_eq!(numbers(&report), [0; 0]);
    assert_eq!(report["env"], json!([]));
}

#[test]
fn exec_has_no_part_in_socket_activation() {
    differs!(Crun, "it takes them");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let output = activated(&["exec", c.id(), "/probe", "listen-fds"], &bundle, "1")
        .fd(3, file(&bundle, "three"))
        .run();
    let report = output.ok().json();
    assert_eq!(numbers(&report), [0; 0]);
    assert_eq!(report["env"], json!([]));
}
