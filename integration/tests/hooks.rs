//! The six kinds of hooks: when and where they run, what they are told, and what a failing one does.

use integration::{Bundle, Output, Value, differs, json, probe_path};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const NO_FLAGS: &[&str] = &[];

/// A hook that runs a shell script on the host.
fn script(text: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", text]})
}

/// A hook that adds what it sees to a file.
fn probe(file: &Path) -> Value {
    json!({"path": probe_path(), "args": ["probe", "hook", file]})
}

/// The lines that [`probe`] has written.
fn seen(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The state that a hook got on its stdin.
fn state(seen: &Value) -> Value {
    serde_json::from_str(seen["stdin"].as_str().unwrap()).unwrap()
}

/// The number of the namespace that the test, and so the runtime, is in.
fn own_namespace(kind: &str) -> u64 {
    let file = format!("/proc/self/ns/{kind}");
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(file).unwrap())
}

/// A place for what hooks write.
fn log(bundle: &Bundle) -> PathBuf {
    bundle.home().join("io/hooks")
}

fn run_with(bundle: &Bundle) -> Output {
    bundle.args(&["/probe", "exit", "0"]);
    bundle.container().run()
}

#[test]
fn hooks_run_in_the_order_of_the_specification() {
    let bundle = Bundle::new();
    let file = bundle.write("/tmp/order", "");
    for kind in ["poststop", "createContainer", "createRuntime", "prestart"] {
        let text = format!("echo {kind} >> {}", file.display());
        bundle.set(&format!("/hooks/{kind}"), json!([script(&text)]));
    }
    bundle.set(
        "/hooks/startContainer",
        json!([script("echo startContainer >> /tmp/order")]),
    );
    bundle.args(&["/bin/sh", "-c", "echo process >> /tmp/order"]);
    let c = bundle.container();
    c.create();
    let order = || fs::read_to_string(&file).unwrap().replace('\n', " ");
    assert_eq!(order(), "prestart createRuntime createContainer ");
    c.start();
    c.wait_stopped();
    let after = order();
    let place = |what: &str| {
        after
            .find(what)
            .unwrap_or_else(|| panic!("{what}: {after}"))
    };
    assert!(
        after.starts_with("prestart createRuntime createContainer "),
        "{after}"
    );
    assert!(place("startContainer") < place("process"), "{after}");
    assert!(!after.contains("poststop"), "{after}");
    c.delete().ok();
    assert!(order().ends_with(" poststop "), "{}", order());
}

#[test]
fn hooks_of_one_kind_run_in_their_order() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    let hooks: Vec<Value> = (0..4)
        .map(|n| script(&format!("echo {n} >> {}", file.display())))
        .collect();
    bundle.set("/hooks/createRuntime", json!(hooks));
    run_with(&bundle).ok();
    assert_eq!(fs::read_to_string(file).unwrap(), "0\n1\n2\n3\n");
}

#[test]
fn create_runtime_hook_gets_the_state_while_the_container_is_created() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set("/annotations", json!({"org.example.key": "value"}));
    bundle.set("/hooks/createRuntime", json!([probe(&file)]));
    let c = bundle.container();
    c.create();
    let state = state(&seen(&file)[0]);
    assert_eq!(state["id"], c.id());
    assert_eq!(state["pid"], c.pid());
    assert_eq!(state["bundle"], bundle.dir().to_str().unwrap());
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."));
}

#[test]
fn create_runtime_hook_sees_the_status_creating() {
    differs!(Crun, "says created before create is done");
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set("/hooks/createRuntime", json!([probe(&file)]));
    run_with(&bundle).ok();
    assert_eq!(state(&seen(&file)[0])["status"], "creating");
}

#[test]
fn poststart_hooks_run_at_start() {
    differs!(Runc, "up to 1.5 they run at the end of create");
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set("/hooks/poststart", json!([probe(&file)]));
    let c = bundle.container();
    c.create();
    assert!(!file.exists());
    c.start();
    assert_eq!(seen(&file).len(), 1);
}

#[test]
fn poststart_hook_sees_the_status_running() {
    differs!(Runc, "up to 1.5 they run at the end of create");
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set("/hooks/poststart", json!([probe(&file)]));
    let c = bundle.container();
    c.run_detached();
    let state = state(&seen(&file)[0]);
    assert_eq!(state["status"], "running");
    assert_eq!(state["pid"], c.pid());
}

#[test]
fn poststop_hook_sees_the_status_stopped() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set("/hooks/poststop", json!([probe(&file)]));
    run_with(&bundle).ok();
    let seen = seen(&file);
    assert_eq!(seen.len(), 1);
    let state = state(&seen[0]);
    assert_eq!(state["status"], "stopped");
    assert_eq!(state["id"], bundle.id());
}

#[test]
fn poststop_hook_runs_on_a_forced_delete() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set("/hooks/poststop", json!([probe(&file)]));
    let c = bundle.container();
    c.run_detached();
    c.delete_force().ok();
    assert_eq!(seen(&file).len(), 1);
}

#[test]
fn runtime_hooks_run_in_the_runtimes_namespaces() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        bundle.set(&format!("/hooks/{kind}"), json!([probe(&file)]));
    }
    run_with(&bundle).ok();
    let seen = seen(&file);
    assert_eq!(seen.len(), 4);
    for hook in &seen {
        for kind in ["mnt", "pid", "net", "ipc", "uts", "user"] {
            assert_eq!(hook["namespaces"][kind], own_namespace(kind), "{kind}");
        }
    }
}

#[test]
fn create_container_hook_runs_in_the_container_on_the_hosts_root() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set("/hostname", json!("inside"));
    bundle.set("/hooks/createContainer", json!([probe(&file)]));
    run_with(&bundle).ok();
    let hook = &seen(&file)[0];
    for kind in ["mnt", "pid", "net", "ipc", "uts"] {
        assert_ne!(hook["namespaces"][kind], own_namespace(kind), "{kind}");
    }
}

#[test]
fn start_container_hook_runs_in_the_containers_root() {
    let bundle = Bundle::new();
    bundle.set(
        "/hooks/startContainer",
        json!([{"path": "/probe", "args": ["probe", "hook", "/tmp/seen"]}]),
    );
    bundle.set("/hostname", json!("inside"));
    run_with(&bundle).ok();
    let hook = &seen(&bundle.rootfs("/tmp/seen"))[0];
    assert_eq!(hook["hostname"], "inside");
    assert_ne!(hook["namespaces"]["mnt"], own_namespace("mnt"));
}

#[test]
fn start_container_hook_runs_at_start_and_sees_the_status_created() {
    differs!(Crun, "the status is starting");
    let bundle = Bundle::new();
    bundle.set(
        "/hooks/startContainer",
        json!([{"path": "/probe", "args": ["probe", "hook", "/tmp/seen"]}]),
    );
    let c = bundle.container();
    c.create();
    assert!(!bundle.rootfs("/tmp/seen").exists());
    c.start();
    // It has been run when the process has.
    c.wait_line("ready");
    let state = state(&seen(&bundle.rootfs("/tmp/seen"))[0]);
    assert_eq!(state["status"], "created");
}

#[test]
fn arguments_are_passed_as_given() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set(
        "/hooks/createRuntime",
        json!([{"path": probe_path(), "args": ["any name", "hook", file, "exit", "0"]}]),
    );
    run_with(&bundle).ok();
    let args = &seen(&file)[0]["args"];
    assert_eq!(*args, json!(["any name", "hook", file, "exit", "0"]));
}

#[test]
fn environment_is_that_of_the_hook_and_nothing_else() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    let mut hook = probe(&file);
    hook["env"] = json!(["A=1", "B=two words"]);
    bundle.set("/hooks/createRuntime", json!([hook]));
    run_with(&bundle).ok();
    assert_eq!(seen(&file)[0]["env"], json!(["A=1", "B=two words"]));
}

#[test]
fn an_empty_environment_is_empty() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    let mut hook = probe(&file);
    hook["env"] = json!([]);
    bundle.set("/hooks/createRuntime", json!([hook]));
    run_with(&bundle).ok();
    assert_eq!(seen(&file)[0]["env"], json!([]));
}

#[test]
fn without_an_environment_a_hook_has_the_runtimes() {
    differs!(Crun, "such a hook has an empty environment");
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set("/hooks/createRuntime", json!([probe(&file)]));
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    c.call("run", NO_FLAGS).env("MARK", "yes").run().ok();
    let env = seen(&file)[0]["env"].as_array().unwrap().clone();
    assert!(env.contains(&json!("MARK=yes")), "{env:?}");
}

#[test]
fn hooks_inherit_no_descriptors_of_the_runtime() {
    differs!(
        Runc,
        "startContainer hooks have the runtime's sockets and pipes"
    );
    let bundle = Bundle::new();
    let file = log(&bundle);
    for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
        bundle.set(&format!("/hooks/{kind}"), json!([probe(&file)]));
    }
    bundle.set(
        "/hooks/startContainer",
        json!([{"path": "/probe", "args": ["probe", "hook", "/tmp/seen"]}]),
    );
    run_with(&bundle).ok();
    let inside = seen(&bundle.rootfs("/tmp/seen"));
    for hook in seen(&file).iter().chain(&inside) {
        let fds = hook["fds"].as_array().unwrap();
        let extra: Vec<_> = fds
            .iter()
            .filter(|fd| fd["fd"].as_u64() > Some(2))
            .collect();
        assert!(extra.is_empty(), "{extra:?}");
    }
}

#[test]
fn a_large_state_reaches_the_hook_whole() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    let value = "x".repeat(300_000);
    bundle.set("/annotations", json!({"org.example.large": value}));
    bundle.set("/hooks/createRuntime", json!([probe(&file)]));
    run_with(&bundle).ok();
    assert_eq!(
        state(&seen(&file)[0])["annotations"]["org.example.large"],
        value
    );
}

#[test]
fn a_hook_need_not_read_its_state() {
    let bundle = Bundle::new();
    bundle.set(
        "/annotations",
        json!({"org.example.large": "x".repeat(300_000)}),
    );
    bundle.set("/hooks/createRuntime", json!([script("exec <&-; exit 0")]));
    bundle.set("/hooks/poststop", json!([{"path": "/bin/true"}]));
    run_with(&bundle).ok();
}

#[test]
fn a_hook_may_print_a_lot() {
    let bundle = Bundle::new();
    let text = "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2";
    bundle.set("/hooks/createRuntime", json!([script(text)]));
    run_with(&bundle).ok();
}

#[test]
fn what_a_good_hook_prints_is_not_the_runtimes_output() {
    differs!(Crun, "hooks share the runtime's stdout and stderr");
    let bundle = Bundle::new();
    // Newer versions of runc have a word to say about those.
    bundle.remove("/process/capabilities/ambient");
    bundle.set(
        "/hooks/createRuntime",
        json!([script("echo out; echo err >&2")]),
    );
    let output = run_with(&bundle).ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
}

/// A bundle whose hook of this kind fails, and the output of `run`.
fn failing(kind: &str) -> (Bundle, Output) {
    let bundle = Bundle::new();
    let hook =
        json!({"path": "/bin/sh", "args": ["sh", "-c", "echo to-out; echo to-err >&2; exit 7"]});
    bundle.set(
        &format!("/hooks/{kind}"),
        json!([{"path": "/bin/true"}, hook]),
    );
    bundle.args(&["/probe", "write", "/tmp/ran", "yes"]);
    let output = bundle.container().run();
    (bundle, output)
}

#[test]
fn a_failing_hook_before_start_ends_the_create() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let (bundle, output) = failing(kind);
        output
            .fails()
            .says_any(&["hook #1: ", "error executing hook `/bin/sh` (exit code: 7)"]);
        assert!(!bundle.rootfs("/tmp/ran").exists(), "{kind}");
        assert_eq!(bundle.leftovers(), [""; 0], "{kind}");
    }
}

#[test]
fn the_error_has_the_hooks_name_status_and_output() {
    differs!(Crun, "the hook's output goes to the runtime's");
    differs!(Runc < (1, 2), "the error does not name the kind of hook");
    for kind in ["createRuntime", "createContainer"] {
        let (_bundle, output) = failing(kind);
        output.fails().says(&format!(
            "error running {kind} hook #1: exit status 7, stdout: to-out"
        ));
    }
}

#[test]
fn a_failing_start_container_hook_keeps_the_process_from_running() {
    let (bundle, output) = failing("startContainer");
    output.fails();
    assert!(!bundle.rootfs("/tmp/ran").exists());
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_failing_poststart_hook_is_reported() {
    differs!(Crun, "goes on");
    let bundle = Bundle::new();
    bundle.set("/hooks/poststart", json!([{"path": "/bin/false"}]));
    let c = bundle.container();
    c.call("run", &["--detach"]).run().fails().says("hook");
}

#[test]
fn a_failing_poststop_hook_does_not_stop_the_delete() {
    differs!(Runc, "it does from 1.2 on");
    let bundle = Bundle::new();
    bundle.set("/hooks/poststop", json!([{"path": "/bin/false"}]));
    bundle.args(&["/probe", "exit", "0"]);
    let c = bundle.container();
    c.run_detached();
    c.wait_stopped();
    c.delete().ok();
    assert!(!c.exists());
}

#[test]
fn the_hooks_after_a_failing_poststop_hook_run() {
    differs!(Runc, "the first failing one is the last one");
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set(
        "/hooks/poststop",
        json!([{"path": "/bin/false"}, probe(&file)]),
    );
    run_with(&bundle).ok();
    assert_eq!(seen(&file).len(), 1);
}

#[test]
fn a_hook_after_a_failing_one_does_not_run() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    bundle.set(
        "/hooks/createRuntime",
        json!([{"path": "/bin/false"}, probe(&file)]),
    );
    run_with(&bundle).fails();
    assert!(!file.exists());
}

#[test]
fn a_hook_that_is_not_there_is_an_error() {
    let bundle = Bundle::new();
    bundle.set("/hooks/createRuntime", json!([{"path": "/no/such/hook"}]));
    run_with(&bundle).fails().says_any(&[
        "/no/such/hook: no such file or directory",
        "error executing hook",
    ]);
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_hook_killed_by_a_signal_fails() {
    let bundle = Bundle::new();
    bundle.set("/hooks/createRuntime", json!([script("kill -9 $$")]));
    run_with(&bundle).fails();
}

#[test]
fn a_hook_is_killed_at_its_timeout() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    let text = format!("echo $$ > {}; exec sleep 1000", file.display());
    let mut hook = script(&text);
    hook["timeout"] = json!(1);
    bundle.set("/hooks/createRuntime", json!([hook]));
    let output = run_with(&bundle).fails();
    assert!(
        output.elapsed < Duration::from_secs(30),
        "{:?}",
        output.elapsed
    );
    let output = output.says_any(&[
        "hook ran past specified timeout of 1.0s",
        "error executing hook",
    ]);
    assert!(
        output.elapsed >= Duration::from_secs(1),
        "{:?}",
        output.elapsed
    );
    let pid: i32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
    assert!(
        integration::wait_exit(pid, Duration::from_secs(5)),
        "it is still there"
    );
}

#[test]
fn what_a_hook_has_started_dies_with_it_at_the_timeout() {
    differs!(Runc | Crun, "only the hook's own process is killed");
    let bundle = Bundle::new();
    let file = log(&bundle);
    let text = format!("sleep 1000 & echo $! > {}; wait", file.display());
    let mut hook = script(&text);
    hook["timeout"] = json!(1);
    bundle.set("/hooks/createRuntime", json!([hook]));
    run_with(&bundle).fails();
    let pid: i32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
    assert!(
        integration::wait_exit(pid, Duration::from_secs(5)),
        "it is still there"
    );
}

#[test]
fn a_hook_in_time_is_not_disturbed() {
    let bundle = Bundle::new();
    let file = log(&bundle);
    let mut hook = probe(&file);
    hook["timeout"] = json!(60);
    bundle.set("/hooks/createRuntime", json!([hook]));
    let output = run_with(&bundle).ok();
    assert!(output.elapsed < Duration::from_secs(30));
    assert_eq!(seen(&file).len(), 1);
}

#[test]
fn a_timeout_of_zero_is_refused() {
    differs!(Runc, "the hook is run and killed at once");
    differs!(Crun, "no timeout at all");
    let bundle = Bundle::new();
    bundle.set(
        "/hooks/createRuntime",
        json!([{"path": "/bin/true", "timeout": 0}]),
    );
    run_with(&bundle).fails().says("timeout");
}

#[test]
fn a_relative_path_is_refused() {
    differs!(Runc | Crun, "it is looked up from the bundle");
    let bundle = Bundle::new();
    bundle.set("/hooks/createRuntime", json!([{"path": "bin/true"}]));
    run_with(&bundle).fails().says("not absolute");
}

#[test]
fn annotations_name_files_for_the_hooks_output() {
    differs!(Runc, "an annotation of crun's");
    let bundle = Bundle::new();
    let (out, err) = (
        bundle.home().join("io/hook-out"),
        bundle.home().join("io/hook-err"),
    );
    fs::write(&out, "before\n").unwrap();
    bundle.set(
        "/annotations",
        json!({"run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err}),
    );
    bundle.set(
        "/hooks/createRuntime",
        json!([script("echo out; echo err >&2")]),
    );
    run_with(&bundle).ok();
    assert_eq!(fs::read_to_string(out).unwrap(), "before\nout\n");
    assert_eq!(fs::read_to_string(err).unwrap(), "err\n");
}
