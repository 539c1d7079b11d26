//! linux.seccomp and `exec`: who joins a container is under its filter.

use integration::{Bundle, Container, Value, json};

/// A running container in which getsid(2) fails in a way of its own.
fn running(bundle: &Bundle) -> Container<'_> {
    bundle.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
        }),
    );
    let c = bundle.container();
    c.run_detached();
    c
}

fn call() -> String {
    format!("{},0", libc::SYS_getsid)
}

#[track_caller]
fn answer(c: &Container, flags: &[&str]) -> Value {
    let said = c.exec_with(flags, &["/probe", "call", &call()]).ok().json();
    said[call()].clone()
}

#[test]
fn exec_is_under_the_filter() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    assert_eq!(answer(&c, &[]), "EOPNOTSUPP");
    assert_eq!(answer(&c, &["--user", "1000:1000"]), "EOPNOTSUPP");
}

#[test]
fn exec_is_under_it_without_no_new_privs() {
    let bundle = Bundle::new();
    bundle.set("/process/noNewPrivileges", json!(false));
    let c = running(&bundle);
    assert_eq!(answer(&c, &[]), "EOPNOTSUPP");
    assert_eq!(answer(&c, &["--user", "1000:1000"]), "EOPNOTSUPP");
    assert_eq!(answer(&c, &["--no-new-privs"]), "EOPNOTSUPP");
}

#[test]
fn exec_has_one_filter() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let status = c.exec(&["/probe", "read", "/proc/self/status"]).ok().stdout;
    assert!(status.contains("\nSeccomp_filters:\t1\n"), "{status}");
}

#[test]
fn exec_of_a_process_file_is_under_it() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    for no_new_privs in [true, false] {
        let mut process = bundle.config()["process"].clone();
        process["args"] = json!(["/probe", "call", call()]);
        process["noNewPrivileges"] = json!(no_new_privs);
        let file = bundle.home().join("process.json");
        std::fs::write(&file, process.to_string()).unwrap();
        let flags = ["--process", file.to_str().unwrap()];
        let said = c.exec_with(&flags, &[""; 0]).ok().json();
        assert_eq!(said[call()], "EOPNOTSUPP");
    }
}

#[test]
fn exec_in_the_background_is_under_it() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    let script = "/probe call $0 > /said.new; exec /probe exit 0";
    let flags = ["--detach"];
    c.exec_with(&flags, &["/bin/sh", "-c", script, &call()])
        .ok();
    let file = bundle.rootfs("/said.new");
    let said = integration::until("its answer", || {
        let text = std::fs::read_to_string(&file).ok()?;
        serde_json::from_str::<Value>(&text).ok()
    });
    assert_eq!(said[call()], "EOPNOTSUPP");
}

#[test]
fn a_changed_config_json_changes_nothing() {
    let bundle = Bundle::new();
    let c = running(&bundle);
    bundle.remove("/linux/seccomp");
    assert_eq!(answer(&c, &[]), "EOPNOTSUPP");
}

#[test]
fn rootless_exec_is_under_it() {
    for no_new_privs in [true, false] {
        let bundle = Bundle::rootless(1000, 1000);
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        let c = running(&bundle);
        assert_eq!(answer(&c, &[]), "EOPNOTSUPP");
    }
}
