//! What a system container sees of its resources: clocks that begin with each boot.

use integration::{Bundle, Container, differs, json, until};
use std::fs;
use std::time::Duration;

const REBOOT: [&str; 3] = ["/bin/busybox", "reboot", "-f"];
const MAY_BOOT: [&str; 2] = ["--cap", "CAP_SYS_BOOT"];

/// A bundle of one whose init is this shell script.
fn system(script: &str) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
    bundle.args(&["/bin/sh", "-c", script]);
    bundle
}

/// In a user namespace of its own.
fn with_users(bundle: Bundle) -> Bundle {
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    bundle
}

/// Its container, once its init has got to work.
#[track_caller]
fn booted(bundle: &Bundle) -> Container<'_> {
    let c = bundle.container();
    c.run_detached();
    until("init", || bundle.rootfs("boot-1").exists().then_some(()));
    c
}

/// Init's script: tells of the boot by a file `boot-N`.
const BOOT: &str = "n=1; while [ -e /boot-$n ]; do n=$((n+1)); done; \
    cat /proc/uptime >/uptime-$n; touch /boot-$n; exec sleep 1000";

#[track_caller]
fn output(c: &Container<'_>, script: &str) -> String {
    c.exec(&["/bin/sh", "-c", script]).ok().stdout
}

/// Seconds since boot by a clock of the host.
fn uptime_of_host() -> f64 {
    first_number(&fs::read_to_string("/proc/uptime").unwrap())
}

fn first_number(text: &str) -> f64 {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().unwrap_or_else(|_| panic!("{text:?}"))
}

fn clocks_begin_with_each_boot(bundle: &Bundle) {
    let before = uptime_of_host();
    let c = booted(bundle);
    let mut begun = before;
    for boot in 1..=3 {
        if boot > 1 {
            begun = uptime_of_host();
            c.exec_with(&MAY_BOOT, &REBOOT);
            let next = bundle.rootfs(&format!("boot-{boot}"));
            until("the next boot", || next.exists().then_some(()));
        }
        let of_init = fs::read_to_string(bundle.rootfs(&format!("uptime-{boot}"))).unwrap();
        let report = c.exec(&["/probe", "report"]).ok().json();
        // sysinfo(2) has whole seconds, rounded up.
        let sysinfo = output(&c, "busybox uptime");
        let since = uptime_of_host() - begun;
        let seen = [
            first_number(&of_init),
            report["clock_boottime"].as_f64().unwrap(),
            report["clock_monotonic"].as_f64().unwrap(),
            first_number(&output(&c, "cat /proc/uptime")),
        ];
        assert!(
            seen.iter()
                .all(|uptime| (0.0..=since + 1.0).contains(uptime)),
            "{seen:?} of {since} since {begun}"
        );
        assert!(sysinfo.contains("up 0 min"), "{sysinfo}");
        let btime: f64 = first_number(&output(
            &c,
            "sed -n 's/^btime //p' /proc/stat; grep -q ^btime /proc/stat",
        ));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let age = now.unwrap_or(Duration::ZERO).as_secs_f64() - btime;
        assert!((0.0..=since + 2.0).contains(&age), "{age} of {since}");
        // In clock ticks since boot: no later than now.
        let start = output(&c, "sed 's/.*) //' /proc/1/stat")
            .split(' ')
            .nth(19)
            .map(first_number);
        assert!(
            start.is_some_and(|ticks| ticks / 100.0 <= since + 1.0),
            "{start:?}"
        );
    }
}

#[test]
fn uptime_begins_with_each_boot() {
    differs!(Runc | Crun, "no system containers");
    clocks_begin_with_each_boot(&system(BOOT));
    clocks_begin_with_each_boot(&with_users(system(BOOT)));
}

#[test]
fn clocks_of_the_config_stay_as_they_are() {
    differs!(Runc | Crun, "no system containers");
    let bundle = system(BOOT);
    bundle.namespace(json!({"type": "time"}));
    bundle.set(
        "/linux/timeOffsets",
        json!({"boottime": {"secs": 5_000_000}}),
    );
    let c = booted(&bundle);
    let at_first = first_number(&output(&c, "cat /proc/uptime"));
    assert!(at_first >= 5_000_000.0, "{at_first}");
    c.exec_with(&MAY_BOOT, &REBOOT);
    until("boot 2", || bundle.rootfs("boot-2").exists().then_some(()));
    let again = first_number(&output(&c, "cat /proc/uptime"));
    assert!(again >= at_first, "{again} {at_first}");
}
