//! Containers whose cgroup is that of a scope of systemd.

use integration::{Bundle, Call, CgroupDriver, Container, Output, differs, json, needs, until};
use std::time::Duration;

/// Everything here is about one driver.
macro_rules! needs_systemd {
    () => {
        needs!(
            CgroupDriver::get() == CgroupDriver::Systemd,
            "the systemd driver"
        );
    };
}

/// A bundle whose container sleeps.
fn sleeper() -> Bundle {
    let bundle = Bundle::new();
    bundle.args(&["sleep", "1000"]);
    bundle
}

fn systemctl<S: AsRef<str>>(bundle: &Bundle, args: impl IntoIterator<Item = S>) -> Output {
    let args: Vec<String> = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
    Call::of("systemctl", &bundle.home().join("io"))
        .args(args)
        .run()
}

fn scope(container: &Container<'_>) -> String {
    format!("vzrun-{}.scope", container.id())
}

/// A property of a container's scope.
#[track_caller]
fn property(container: &Container<'_>, name: &str) -> String {
    let unit = scope(container);
    let output = systemctl(container.bundle(), ["show", "--value", "-p", name, &unit]);
    output.ok().stdout.trim().to_owned()
}

/// systemd has forgotten it.
#[track_caller]
fn has_no_unit(container: &Container<'_>) {
    assert_eq!(property(container, "LoadState"), "not-found");
}

#[test]
fn the_scope_is_as_it_should_be() {
    needs_systemd!();
    let bundle = sleeper();
    let path = format!("vzt-sub.slice:vzrun:{}", bundle.id());
    bundle.set("/linux/cgroupsPath", json!(path));
    let container = bundle.container();
    container.run_detached();
    let below = format!("/vzt.slice/vzt-sub.slice/{}", scope(&container));
    for (name, value) in [
        ("ActiveState", "active"),
        ("Slice", "vzt-sub.slice"),
        ("Delegate", "yes"),
        ("ControlGroup", &below),
        ("DefaultDependencies", "no"),
    ] {
        assert_eq!(property(&container, name), value, "{name}");
    }
    let own = container.cgroup().path();
    assert!(own.starts_with(&below), "{own:?} is not in {below}");
    // The driver is remembered, so no flag is needed.
    let delete = bundle.bare_call().arg("--root").arg(bundle.root());
    delete
        .args(["delete", "--force", container.id()])
        .run()
        .ok();
    assert_eq!(container.leftovers(), [""; 0]);
    has_no_unit(&container);
}

#[test]
fn its_cgroup_namespace_begins_at_the_scope() {
    needs_systemd!();
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "cgroup"}));
    bundle.mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}));
    bundle.args(&[
        "sh",
        "-c",
        "cat /proc/self/cgroup; grep -c $$ /sys/fs/cgroup/cgroup.procs; sleep 1000",
    ]);
    let container = bundle.container();
    container.run_detached();
    container.wait_line("0::/");
    container.wait_line("1");
    let exec = container.exec(&["cat", "/proc/self/cgroup"]).ok();
    assert_eq!(exec.stdout, "0::/\n");
}

#[test]
fn without_a_path_it_is_found_where_tools_look() {
    needs_systemd!();
    let bundle = sleeper();
    bundle.remove("/linux/cgroupsPath");
    let container = bundle.container();
    // Without the harness's help, which would set the path again.
    let run = bundle.call(["run", "--detach", "--bundle"]);
    run.arg(bundle.dir()).arg(container.id()).run().ok();
    let own = container.cgroup().path().display().to_string();
    let name = format!("-{}.scope", container.id());
    assert!(
        own.starts_with("/system.slice/") && own.contains(&name),
        "{own}"
    );
    container.delete_force().ok();
}

#[test]
fn annotations_become_properties() {
    needs_systemd!();
    let bundle = sleeper();
    bundle.set(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopUSec": "uint64 5000000",
            "org.systemd.property.KillSignal": "9",
            "org.systemd.property.After": "['sysinit.target']",
        }),
    );
    let container = bundle.container();
    container.run_detached();
    assert_eq!(property(&container, "TimeoutStopUSec"), "5s");
    assert_eq!(property(&container, "KillSignal"), "9");
    assert!(property(&container, "After").contains("sysinit.target"));
    container.delete_force().ok();
    for (name, value) in [
        ("No1", "1"),
        ("Documentation", "'x"),
        ("NoSuchThing", "true"),
    ] {
        let key = format!("/annotations/org.systemd.property.{name}");
        bundle.set(&key, json!(value));
        if name != "No1" || integration::Runtime::get().kind() != integration::Kind::Crun {
            container.call("create", &[""; 0]).run().fails();
            assert_eq!(container.leftovers(), [""; 0]);
        }
        bundle.remove(&key);
    }
    has_no_unit(&container);
}

#[test]
fn systemctl_stop_ends_it() {
    needs_systemd!();
    let bundle = sleeper();
    bundle.set(
        "/annotations",
        json!({"org.systemd.property.KillSignal": "9"}),
    );
    let container = bundle.container();
    container.run_detached();
    systemctl(&bundle, ["stop", &scope(&container)]).ok();
    container.wait_stopped();
    has_no_unit(&container);
    container.delete().ok();
    assert_eq!(container.leftovers(), [""; 0]);
}

#[test]
fn what_has_failed_under_its_name_is_no_obstacle() {
    needs_systemd!();
    let bundle = sleeper();
    let container = bundle.container();
    let unit = scope(&container);
    let start = Call::of("systemd-run", &bundle.home().join("io"))
        .args([
            "--scope",
            "--quiet",
            "--unit",
            &unit,
            "-p",
            "RuntimeMaxSec=1",
            "sleep",
            "100",
        ])
        .run();
    assert_ne!(start.code(), Some(0));
    until("the scope to fail", || {
        (property(&container, "ActiveState") == "failed").then_some(())
    });
    container.run_detached();
    assert_eq!(property(&container, "ActiveState"), "active");
    container.delete_force().ok();
    has_no_unit(&container);
}

#[test]
fn a_unit_of_somebody_else_is_left_alone() {
    needs_systemd!();
    let bundle = sleeper();
    let container = bundle.container();
    let unit = scope(&container);
    let other = Call::of("systemd-run", &bundle.home().join("io"))
        .args(["--scope", "--quiet", "--unit", &unit, "sleep", "1000"])
        .spawn();
    until("the other's scope", || {
        (property(&container, "ActiveState") == "active").then_some(())
    });
    container
        .call("create", &[""; 0])
        .run()
        .fails()
        .says_any(&["already", "exists"]);
    assert!(!container.state_dir().exists());
    assert_eq!(property(&container, "ActiveState"), "active");
    systemctl(&bundle, ["stop", &unit]).ok();
    other.wait();
    container.run_detached();
    container.delete_force().ok();
}

#[test]
fn nothing_stays_of_one_that_fails_or_ends() {
    needs_systemd!();
    let bundle = Bundle::new();
    let container = bundle.container();
    bundle.args(&["/no/such/program"]);
    container.call("create", &[""; 0]).run().fails();
    has_no_unit(&container);
    bundle.args(&["true"]);
    container.run().ok();
    has_no_unit(&container);
    // Killed for want of memory, a scope has failed.
    bundle.args(&["sleep", "1000"]);
    container.run_detached();
    container.kill("KILL").ok();
    container.wait_stopped();
    container.delete().ok();
    has_no_unit(&container);
}

#[test]
fn pausing_works_as_with_the_other_driver() {
    needs_systemd!();
    let bundle = sleeper();
    let container = bundle.container();
    container.run_detached();
    container.pause().ok();
    assert_eq!(container.status(), "paused");
    container.resume().ok();
    assert_eq!(container.status(), "running");
    container.pause().ok();
    container.delete_force().ok();
    has_no_unit(&container);
}

/// By systemd of the user, as in a login session.
#[test]
fn as_an_ordinary_user() {
    needs_systemd!();
    differs!(
        Runc,
        "1.1 asks for a cgroup that the user may write to before it asks systemd"
    );
    let bundle = Bundle::rootless(1000, 1000);
    bundle.args(&["sh", "-c", "cat /proc/self/cgroup; sleep 1000"]);
    systemctl(&bundle, ["start", "user@1000.service"]).ok();
    let container = bundle.container();
    let call = |verb: &str, flags: &[&str]| {
        container
            .call(verb, flags)
            .env("XDG_RUNTIME_DIR", "/run/user/1000")
            .limit(Duration::from_secs(60))
            .run()
    };
    call("run", &["--detach"]).ok();
    let own = container.cgroup().path().display().to_string();
    let session = "/user.slice/user-1000.slice/user@1000.service/user.slice/";
    assert!(own.starts_with(session), "{own}");
    call("delete", &["--force"]).ok();
    assert_eq!(container.leftovers(), [""; 0]);
}
