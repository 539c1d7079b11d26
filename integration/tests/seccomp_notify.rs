//! SCMP_ACT_NOTIFY: the listener goes to the agent at listenerPath, which then answers the container's calls.

use integration::{Bundle, Container, SeccompAgent, Value, Verdict, differs, json};

const GETSID: i64 = libc::SYS_getsid;
const EOPNOTSUPP: i32 = 95;

fn call() -> String {
    format!("{GETSID},0")
}

/// A bundle whose getsid(2) is for an agent, and the agent.
fn with_agent() -> (Bundle, SeccompAgent) {
    of(Bundle::new())
}

fn of(bundle: Bundle) -> (Bundle, SeccompAgent) {
    let agent = SeccompAgent::bind(bundle.home().join("agent.sock"));
    notify(&bundle, &["getsid"]);
    bundle.set("/linux/seccomp/listenerPath", json!(agent.path()));
    bundle.args(&["/probe", "call", &call()]);
    (bundle, agent)
}

fn notify(bundle: &Bundle, names: &[&str]) {
    bundle.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
        }),
    );
}

/// Its getsid(2) gives what the agent says.
fn is_answered(c: &Container<'_>, agent: &SeccompAgent) {
    let run = c.spawn_run();
    let listener = agent.serve(|_| Verdict::Value(4711));
    assert_eq!(run.wait().ok().json()[call()], 4711);
    listener.wait();
}

#[test]
fn the_agent_answers() {
    for (verdict, wanted) in [
        (Verdict::Value(4711), json!(4711)),
        (Verdict::Error(EOPNOTSUPP), json!("EOPNOTSUPP")),
    ] {
        let (bundle, agent) = with_agent();
        let c = bundle.container();
        let run = c.spawn_run();
        let listener = agent.serve(move |_| verdict);
        let said = run.wait().ok().json();
        assert_eq!(said[call()], wanted);
        let seen = listener.wait();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(i64::from(seen[0].number), GETSID);
    }
}

#[test]
fn the_agent_lets_a_call_go_on() {
    let (bundle, agent) = with_agent();
    let c = bundle.container();
    let run = c.spawn_run();
    let listener = agent.serve(|_| Verdict::Continue);
    let said = run.wait().ok().json();
    assert!(said[call()].is_number(), "{said}");
    listener.wait();
}

#[test]
fn without_no_new_privs_too() {
    for user in [0, 1000] {
        let (bundle, agent) = with_agent();
        bundle.set("/process/noNewPrivileges", json!(false));
        bundle.set("/process/user/uid", json!(user));
        let c = bundle.container();
        is_answered(&c, &agent);
    }
}

#[test]
fn the_agent_is_told_about_the_container() {
    differs!(Crun, "gives the version of its own format, 0.2.0");
    let (bundle, agent) = with_agent();
    bundle.set("/linux/seccomp/listenerMetadata", json!("some words"));
    bundle.set("/annotations", json!({"org.example.a": "b"}));
    bundle.args(&["/probe", "sleep-forever"]);
    let c = bundle.container();
    c.call("run", &["--detach"]).spawn().wait().ok();
    let listener = agent.serve(|_| Verdict::Continue);
    let told = &listener.state;
    assert_eq!(told["fds"], json!(["seccompFd"]));
    assert_eq!(told["metadata"], "some words");
    assert_eq!(told["pid"], c.pid());
    let version = told["ociVersion"].as_str().unwrap();
    assert!(version.starts_with("1."), "{version}");
    let state = &told["state"];
    assert_eq!(state["id"], c.id());
    assert_eq!(state["pid"], c.pid());
    assert_eq!(state["bundle"], json!(bundle.dir()));
    assert_eq!(state["annotations"]["org.example.a"], "b");
    assert!(state["ociVersion"].is_string());
    c.delete_force().ok();
    listener.wait();
}

#[test]
fn the_status_is_creating() {
    differs!(Crun, "says created");
    let (bundle, agent) = with_agent();
    bundle.args(&["/probe", "sleep-forever"]);
    let c = bundle.container();
    c.run_detached();
    let listener = agent.serve(|_| Verdict::Continue);
    assert_eq!(listener.state["state"]["status"], "creating");
    c.delete_force().ok();
    listener.wait();
}

#[test]
fn no_metadata_is_none() {
    let (bundle, agent) = with_agent();
    bundle.args(&["/probe", "sleep-forever"]);
    let c = bundle.container();
    c.run_detached();
    let listener = agent.serve(|_| Verdict::Continue);
    let metadata = listener.state.get("metadata").cloned().unwrap_or_default();
    assert!(metadata.is_null() || metadata == "", "{metadata}");
    c.delete_force().ok();
    listener.wait();
}

#[test]
fn create_passes_it_on() {
    differs!(
        Crun,
        "start does, when there is nobody to look whether it went well"
    );
    for no_new_privs in [true, false] {
        let (bundle, agent) = with_agent();
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        let c = bundle.container();
        c.create();
        let listener = agent.serve(|_| Verdict::Value(4711));
        assert_eq!(listener.state["pid"], c.pid());
        assert_eq!(c.status(), "created");
        c.start();
        c.wait_stopped();
        let said: Value = serde_json::from_str(&c.stdout()).unwrap();
        assert_eq!(said[call()], 4711);
        listener.wait();
    }
}

#[test]
fn exec_passes_its_own_on() {
    differs!(Crun, "gives 0 as the container's pid");
    for no_new_privs in [true, false] {
        let (bundle, agent) = with_agent();
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        bundle.args(&["/probe", "sleep-forever"]);
        let c = bundle.container();
        c.run_detached();
        let of_init = agent.serve(|_| Verdict::Value(1));
        let exec = c.exec_call(&[""; 0], &["/probe", "call", &call()]).spawn();
        let of_exec = agent.serve(|_| Verdict::Value(4711));
        assert_eq!(exec.wait().ok().json()[call()], 4711);
        let told = of_exec.state.clone();
        assert_eq!(told["state"]["id"], c.id());
        assert_eq!(told["state"]["pid"], c.pid());
        assert_eq!(told["state"]["status"], "running");
        assert_ne!(told["pid"], c.pid());
        assert_eq!(of_exec.wait().len(), 1);
        assert_eq!(of_init.seen(), []);
        c.delete_force().ok();
        of_init.wait();
    }
}

#[test]
fn the_listener_is_not_in_the_container() {
    for no_new_privs in [true, false] {
        let (bundle, agent) = with_agent();
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        bundle.args(&["/bin/sh", "-c", "ls -l /proc/self/fd /proc/1/fd; ps"]);
        let c = bundle.container();
        let run = c.spawn_run();
        let listener = agent.serve(|_| Verdict::Continue);
        let said = run.wait().ok().stdout;
        assert!(!said.contains("seccomp"), "{said}");
        listener.wait();
    }
}

/// Nothing of the runtime's is left in the container's pid namespace, not even for its init to reap.
#[test]
fn no_process_is_left_beside_the_program() {
    let (bundle, agent) = with_agent();
    bundle.args(&["/probe", "list", "/proc"]);
    for _ in 0..20 {
        let c = bundle.container();
        let run = c.spawn_run();
        let listener = agent.serve(|_| Verdict::Continue);
        let said = run.wait().ok().json();
        let pids = said["/proc"].as_array().unwrap().iter();
        let pids: Vec<_> = pids
            .filter_map(|name| name.as_str()?.parse::<u32>().ok())
            .collect();
        assert_eq!(pids, [1]);
        listener.wait();
    }
}

#[test]
fn rootless_containers_have_agents() {
    for no_new_privs in [true, false] {
        let (bundle, agent) = of(Bundle::rootless(1000, 1000));
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        let c = bundle.container();
        is_answered(&c, &agent);
    }
}

/// bypass4netns asks for such: the runtime's own calls come to the agent, which has to have the listener by then.
#[test]
fn calls_that_a_runtime_makes_itself_can_be_notified() {
    differs!(Crun, "stops for good at its own sendmsg");
    for no_new_privs in [true, false] {
        let (bundle, agent) = with_agent();
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        let names = [
            "sendmsg",
            "sendto",
            "recvmsg",
            "recvfrom",
            "connect",
            "close",
            "setuid",
            "setresuid",
            "execve",
            "getsid",
        ];
        notify(&bundle, &names);
        bundle.set("/linux/seccomp/listenerPath", json!(agent.path()));
        let c = bundle.container();
        let create = c.call("create", &[""; 0]).spawn();
        let listener = agent.serve(|_| Verdict::Continue);
        create.wait().ok();
        c.start();
        c.wait_stopped();
        listener.wait();
    }
}

#[test]
fn without_an_agent_it_fails() {
    for no_new_privs in [true, false] {
        let (bundle, agent) = with_agent();
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        let nowhere = bundle.home().join("nowhere.sock");
        bundle.set("/linux/seccomp/listenerPath", json!(nowhere));
        let output = bundle.container().run();
        output.fails().says_any(&["seccomp agent", "connect"]);
        assert_eq!(bundle.leftovers(), [""; 0]);
        // Nobody listens any more.
        bundle.set("/linux/seccomp/listenerPath", json!(agent.path()));
        drop(agent);
        bundle.container().run().fails();
        assert_eq!(bundle.leftovers(), [""; 0]);
    }
}

#[test]
fn create_without_an_agent_fails() {
    let (bundle, agent) = with_agent();
    drop(agent);
    let c = bundle.container();
    differs!(Crun, "leaves it to start");
    c.call("create", &[""; 0]).run().fails();
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn exec_without_an_agent_fails() {
    let (bundle, agent) = with_agent();
    bundle.args(&["/probe", "sleep-forever"]);
    let c = bundle.container();
    c.run_detached();
    let listener = agent.serve(|_| Verdict::Continue);
    let path = agent.path();
    drop(agent);
    std::fs::remove_file(path).unwrap();
    c.exec(&["/probe", "exit", "0"]).fails();
    assert_eq!(c.status(), "running");
    c.delete_force().ok();
    listener.wait();
}

#[test]
fn notify_without_a_path_is_refused() {
    differs!(Crun, "the calls fail in the container then");
    let bundle = Bundle::new();
    notify(&bundle, &["getsid"]);
    bundle.args(&["/probe", "exit", "0"]);
    let output = bundle.container().run();
    output.fails().says("listenerPath is not set");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn a_path_without_notify_is_no_matter() {
    let bundle = Bundle::new();
    bundle.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/no/such/socket", "listenerMetadata": "x",
            "syscalls": [{"names": ["getsid"], "action": "SCMP_ACT_ERRNO"}],
        }),
    );
    bundle.args(&["/probe", "exit", "0"]);
    differs!(Crun, "connects all the same");
    bundle.container().run().ok();
}

/// The runtime itself has to tell of the listener by a write, which nobody could answer.
#[test]
fn notify_of_write_is_refused() {
    differs!(Crun, "hangs");
    let (bundle, agent) = with_agent();
    notify(&bundle, &["write"]);
    bundle.set("/linux/seccomp/listenerPath", json!(agent.path()));
    let output = bundle.container().run();
    output
        .fails()
        .says("SCMP_ACT_NOTIFY cannot be used for the write syscall");
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": agent.path()}),
    );
    let output = bundle.container().run();
    output
        .fails()
        .says("SCMP_ACT_NOTIFY cannot be used as default action");
    assert_eq!(bundle.leftovers(), [""; 0]);
}

#[test]
fn killable_waits_are_asked_for() {
    let (bundle, agent) = with_agent();
    bundle.set(
        "/linux/seccomp/flags",
        json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]),
    );
    let c = bundle.container();
    differs!(Crun < (1, 22), "does not know the flag");
    differs!(Runc < (1, 4), "its library does not know the flag");
    is_answered(&c, &agent);
}

#[test]
fn an_annotation_names_the_agent() {
    differs!(Runc, "does not know the annotation");
    let (bundle, agent) = with_agent();
    bundle.remove("/linux/seccomp/listenerPath");
    let path = agent.path().display().to_string();
    bundle.set("/annotations", json!({"run.oci.seccomp.receiver": path}));
    let c = bundle.container();
    is_answered(&c, &agent);
}

/// An agent that goes away: the calls fail, the container does not hang.
#[test]
fn calls_fail_when_the_agent_is_gone() {
    let (bundle, agent) = with_agent();
    bundle.args(&["/bin/sh", "-c", &format!("read x; /probe call {}", call())]);
    let (reader, writer) = std::io::pipe().unwrap();
    let c = bundle.container();
    let run = c.call("run", &[""; 0]).stdin_fd(reader).spawn();
    drop(agent.take());
    std::io::Write::write_all(&mut &writer, b"go\n").unwrap();
    drop(writer);
    assert_eq!(run.wait().ok().json()[call()], "ENOSYS");
}
