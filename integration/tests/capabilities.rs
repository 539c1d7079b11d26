//! process.capabilities: the five sets, for root and for others, at start and in exec.

use integration::{Bundle, Value, differs, json, probe_report};

const SETS: [&str; 5] = [
    "bounding",
    "effective",
    "permitted",
    "inheritable",
    "ambient",
];

fn with_sets(sets: Value) -> Bundle {
    let bundle = Bundle::new();
    bundle.set("/process/capabilities", sets);
    bundle
}

fn sets_of(bundle: &Bundle) -> Value {
    probe_report(bundle)["capabilities"].clone()
}

#[test]
fn all_five_sets_are_as_the_config_says() {
    let bundle = Bundle::new();
    bundle.capabilities(&["CAP_CHOWN", "CAP_NET_RAW"]);
    let sets = sets_of(&bundle);
    for set in SETS {
        assert_eq!(sets[set], json!(["CAP_CHOWN", "CAP_NET_RAW"]), "{set}");
    }
}

#[test]
fn absent_capabilities_are_none() {
    let bundle = Bundle::new();
    bundle.remove("/process/capabilities");
    differs!(Runc | Crun, "leaves them all, runc since 1.2");
    let sets = sets_of(&bundle);
    for set in SETS {
        assert_eq!(sets[set], json!([]), "{set}");
    }
}

#[test]
fn empty_capabilities_are_none() {
    let sets = sets_of(&with_sets(json!({})));
    for set in SETS {
        assert_eq!(sets[set], json!([]), "{set}");
    }
}

#[test]
fn root_gets_by_execve_what_is_only_bounding() {
    for (no_new_privs, gained) in [(false, json!(["CAP_KILL"])), (true, json!([]))] {
        let bundle = with_sets(json!({"bounding": ["CAP_KILL"]}));
        bundle.set("/process/noNewPrivileges", json!(no_new_privs));
        let sets = sets_of(&bundle);
        assert_eq!(sets["bounding"], json!(["CAP_KILL"]));
        assert_eq!(sets["permitted"], gained);
        assert_eq!(sets["effective"], gained);
        assert_eq!(sets["inheritable"], json!([]));
        assert_eq!(sets["ambient"], json!([]));
    }
}

#[test]
fn an_ordinary_user_keeps_only_ambient_ones() {
    let all = json!(["CAP_CHOWN", "CAP_KILL"]);
    let bundle = with_sets(json!({
        "bounding": all, "effective": all, "permitted": all,
        "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
    }));
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let sets = sets_of(&bundle);
    assert_eq!(sets["bounding"], all);
    for set in ["effective", "permitted", "inheritable", "ambient"] {
        assert_eq!(sets[set], json!(["CAP_KILL"]), "{set}");
    }
}

#[test]
fn an_ordinary_user_without_ambient_ones_has_none() {
    let all = json!(["CAP_CHOWN", "CAP_KILL"]);
    let bundle = with_sets(json!({"bounding": all, "effective": all, "permitted": all}));
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let sets = sets_of(&bundle);
    assert_eq!(sets["bounding"], all);
    for set in ["effective", "permitted", "inheritable", "ambient"] {
        assert_eq!(sets[set], json!([]), "{set}");
    }
}

#[test]
fn an_ambient_one_that_is_not_inheritable_is_passed_over() {
    differs!(Crun, "fails");
    let bundle = with_sets(json!({
        "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }));
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    assert_eq!(sets_of(&bundle)["ambient"], json!([]));
}

#[test]
fn an_unknown_name_is_passed_over_with_a_warning() {
    differs!(Crun, "says nothing");
    let bundle = Bundle::new();
    bundle.capabilities(&["CAP_CHOWN", "CAP_OF_TOMORROW"]);
    bundle.args(&["/probe", "report"]);
    let output = bundle.container().run().ok().says("CAP_OF_TOMORROW");
    assert_eq!(
        output.json()["capabilities"]["bounding"],
        json!(["CAP_CHOWN"])
    );
}

#[test]
fn an_unknown_name_does_not_cost_the_known_ones() {
    let bundle = Bundle::new();
    bundle.capabilities(&["CAP_CHOWN", "CAP_OF_TOMORROW"]);
    assert_eq!(sets_of(&bundle)["effective"], json!(["CAP_CHOWN"]));
}

#[test]
fn a_capability_works() {
    for (caps, result) in [(json!(["CAP_CHOWN"]), "ok\n"), (json!([]), "EPERM\n")] {
        let bundle = with_sets(json!({"bounding": caps, "effective": caps, "permitted": caps}));
        bundle.write("/tmp/file", "");
        bundle.args(&["/probe", "try", "chown", "7", "7", "/tmp/file"]);
        assert_eq!(bundle.container().run().ok().stdout, result, "{caps}");
    }
}

#[test]
fn changing_the_user_needs_no_capability_of_the_container() {
    let bundle = with_sets(json!({}));
    bundle.set(
        "/process/user",
        json!({"uid": 1000, "gid": 1000, "additionalGids": [7]}),
    );
    let report = probe_report(&bundle);
    assert_eq!(
        (&report["uid"], &report["gid"]),
        (&json!(1000), &json!(1000))
    );
}

#[test]
fn no_new_privs_keeps_a_user_from_setuid_programs() {
    let bundle = Bundle::new();
    bundle.set("/process/noNewPrivileges", json!(false));
    // What is below /tmp on the host may be mounted nosuid.
    bundle.mount(json!({"destination": "/suid", "type": "tmpfs", "source": "tmpfs"}));
    let make = "cp /probe /suid/p; chmod 4755 /suid/p; exec /probe sleep-forever";
    bundle.args(&["/bin/sh", "-c", make]);
    let c = bundle.container();
    c.run_detached();
    c.wait_line("ready");
    for (flags, no_new_privs, euid) in [
        (&["--user", "1000:1000"][..], false, 0),
        (&["--user", "1000:1000", "--no-new-privs"], true, 1000),
    ] {
        let report = c.exec_with(flags, &["/suid/p", "report"]).ok().json();
        assert_eq!(report["no_new_privs"], no_new_privs);
        assert_eq!(report["euid"], euid);
    }
}

#[test]
fn exec_has_the_sets_of_the_config() {
    let bundle = Bundle::new();
    bundle.capabilities(&["CAP_CHOWN", "CAP_KILL"]);
    let c = bundle.container();
    c.run_detached();
    let sets = c.exec(&["/probe", "report"]).ok().json()["capabilities"].clone();
    for set in SETS {
        assert_eq!(sets[set], json!(["CAP_CHOWN", "CAP_KILL"]), "{set}");
    }
}

#[test]
fn exec_as_another_user_has_only_ambient_ones() {
    let bundle = Bundle::new();
    let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
    let sets = json!({"bounding": caps, "effective": caps, "permitted": caps});
    bundle.set("/process/capabilities", sets);
    let c = bundle.container();
    c.run_detached();
    let output = c
        .exec_with(&["--user", "1000:1000"], &["/probe", "report"])
        .ok();
    let sets = output.json()["capabilities"].clone();
    assert_eq!(sets["bounding"], caps);
    assert_eq!(sets["effective"], json!([]));
}

#[test]
fn a_process_file_of_exec_brings_its_own_sets() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let mut process = bundle.config()["process"].clone();
    process["args"] = json!(["/probe", "report"]);
    let caps = json!(["CAP_SYS_TIME"]);
    process["capabilities"] = json!({"bounding": caps, "effective": caps, "permitted": caps});
    let file = bundle.home().join("process.json");
    std::fs::write(&file, process.to_string()).unwrap();
    let flags = ["--process", file.to_str().unwrap()];
    let sets = c.exec_with(&flags, &[""; 0]).ok().json()["capabilities"].clone();
    for (set, wanted) in [
        ("bounding", &caps),
        ("effective", &caps),
        ("inheritable", &json!([])),
    ] {
        assert_eq!(&sets[set], wanted, "{set}");
    }
}

#[test]
fn root_of_a_user_namespace_has_the_sets_of_the_config() {
    let bundle = Bundle::new();
    bundle.namespace(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 2000}]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
    bundle.capabilities(&["CAP_SYS_ADMIN", "CAP_CHOWN"]);
    let sets = sets_of(&bundle);
    for set in SETS {
        let mut names: Vec<_> = sets[set].as_array().unwrap().iter().collect();
        names.sort_by_key(|n| n.to_string());
        assert_eq!(names, ["CAP_CHOWN", "CAP_SYS_ADMIN"], "{set}");
    }
}

#[test]
fn securebits_are_none() {
    assert_eq!(probe_report(&Bundle::new())["securebits"], 0);
}
