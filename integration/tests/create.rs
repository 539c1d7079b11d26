//! create: ids, pid file, bundle, and the program that is to run.

use integration::{Bundle, differs, json, probe_report};
use std::fs;
use std::path::Path;

const NO_FLAGS: &[&str] = &[];

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

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}
