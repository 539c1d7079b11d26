//! linux.resources.devices: which nodes may be opened and made.
//!
//! Most tests use numbers that no driver has (60 is for local use, Documentation/admin-guide/devices.txt): the answer of
//! open(2) is EPERM where the rules refuse, and ENXIO where they do not.

use integration::{Bundle, Call, Value, differs, json, needs, probe_path, rootless_config, until};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const FREE: u32 = 60;
const DENIED: &str = "EPERM";
const PASSED: &str = "ENXIO";

/// A bundle with these rules: `+c 60:7 rw` allows, `-a` denies, a number may be `*`.
fn ruled(rules: &[&str]) -> Bundle {
    let bundle = Bundle::new();
    bundle.capabilities(&["CAP_MKNOD"]);
    for rule in rules {
        bundle.push("/linux/resources/devices", rule_of(rule));
    }
    bundle
}

fn rule_of(text: &str) -> Value {
    let (sign, rest) = text.split_at(1);
    let words: Vec<&str> = rest.split([' ', ':']).collect();
    let mut rule = json!({"allow": sign == "+", "type": words[0], "access": "rwm"});
    for (name, place) in [("major", 1), ("minor", 2)] {
        if let Some(number) = words.get(place).and_then(|word| word.parse::<i64>().ok()) {
            rule[name] = json!(number);
        }
    }
    if let Some(letters) = words.get(3) {
        rule["access"] = json!(letters);
    }
    rule
}

/// The answers to attempts (`r c 60:7` opens a node that is made for it, `m c 60:7` makes one), in order.
fn answers(bundle: &Bundle, attempts: &[&str]) -> Vec<String> {
    bundle.args(&["/bin/sh", "-c", &script(bundle, attempts)]);
    let output = bundle.container().run().ok();
    output.stdout.lines().map(str::to_string).collect()
}

fn script(bundle: &Bundle, attempts: &[&str]) -> String {
    let mut script = String::new();
    for (index, attempt) in attempts.iter().enumerate() {
        let words: Vec<&str> = attempt.split([' ', ':']).collect();
        let [how, kind, major, minor] = words[..] else {
            panic!("{attempt}")
        };
        if how == "m" {
            script += &format!("/probe try mknod {kind} /dev/made{index} {major} {minor}\n");
            continue;
        }
        let path = format!("/dev/opened{index}");
        let number = |word: &str| word.parse::<u32>().unwrap();
        bundle.push(
            "/linux/devices",
            json!({"path": path, "type": kind, "major": number(major), "minor": number(minor),
                "fileMode": 0o666, "uid": 0, "gid": 0}),
        );
        script += &format!("/probe try open {how} {path}\n");
    }
    script
}

#[track_caller]
fn check(rules: &[&str], expected: &[(&str, &str)]) {
    let attempts: Vec<&str> = expected.iter().map(|(attempt, _)| *attempt).collect();
    let found = answers(&ruled(rules), &attempts);
    let found: Vec<(&str, &str)> = attempts
        .into_iter()
        .zip(found.iter().map(String::as_str))
        .collect();
    assert_eq!(found, expected, "{rules:?}");
}

const NONE: [(&str, &str); 5] = [
    ("r c 60:7", DENIED),
    ("w c 60:7", DENIED),
    ("r b 60:7", DENIED),
    ("m c 60:7", "ok"),
    ("m b 60:7", "ok"),
];

#[test]
fn by_default_nodes_are_made_and_not_opened() {
    check(&["-a"], &NONE);
}

#[test]
fn without_a_list_nothing_else_is_allowed() {
    differs!(Crun, "then it has no rules");
    check(&[], &NONE);
}

#[test]
fn without_a_list_the_default_devices_are_opened() {
    check(
        &["-a"],
        &[
            ("rw c 1:3", "ok"),
            ("rw c 1:5", "ok"),
            ("rw c 1:7", "ok"),
            ("r c 1:8", "ok"),
            ("r c 1:9", "ok"),
            // No terminal is ENXIO.
            ("rw c 5:0", PASSED),
            ("r c 1:1", DENIED),
            ("r c 1:11", DENIED),
        ],
    );
}

#[test]
fn the_hosts_console_is_not_opened() {
    differs!(Crun, "it allows it");
    check(&["-a"], &[("r c 5:1", DENIED)]);
}

#[test]
fn tun_and_the_terminals_are_opened_without_a_rule() {
    let bundle = ruled(&["-a"]);
    for answer in answers(&bundle, &["rw c 10:200", "rw c 136:77", "rw c 5:2"]) {
        assert_ne!(answer, DENIED);
    }
}

#[test]
fn an_allowed_device_works() {
    needs!(fs::exists("/dev/fuse").unwrap(), "/dev/fuse");
    check(&["-a", "+c 10:229 rwm"], &[("rw c 10:229", "ok")]);
    check(&["-a", "+c 10:237 rwm"], &[("rw c 10:229", DENIED)]);
}

#[test]
fn all_of_a_kind_beside_one_of_it() {
    for one in ["+c 60:7 r", "+c 60:* w"] {
        check(
            &["-a", "+c *:* rwm", one],
            &[
                ("rw c 60:7", PASSED),
                ("rw c 61:7", PASSED),
                ("r b 60:7", DENIED),
            ],
        );
    }
}

#[test]
fn exact_numbers() {
    check(
        &["-a", "+c 60:7 rwm"],
        &[
            ("rw c 60:7", PASSED),
            ("r c 60:8", DENIED),
            ("r c 61:7", DENIED),
            ("r b 60:7", DENIED),
        ],
    );
}

#[test]
fn read_only() {
    check(
        &["-a", "+c 60:7 r"],
        &[
            ("r c 60:7", PASSED),
            ("w c 60:7", DENIED),
            ("rw c 60:7", DENIED),
        ],
    );
}

#[test]
fn write_only() {
    check(
        &["-a", "+c 60:7 w"],
        &[
            ("r c 60:7", DENIED),
            ("w c 60:7", PASSED),
            ("rw c 60:7", DENIED),
        ],
    );
}

#[test]
fn rules_for_the_same_device_add_up() {
    differs!(Crun, "one rule must allow all that is asked for");
    check(&["+c 60:7 r", "+c 60:7 w"], &[("rw c 60:7", PASSED)]);
}

#[test]
fn block_devices() {
    check(
        &["-a", "+b 60:7 r"],
        &[
            ("r b 60:7", PASSED),
            ("w b 60:7", DENIED),
            ("r c 60:7", DENIED),
        ],
    );
}

#[test]
fn wildcards() {
    check(
        &["-a", "+c 60:* rw"],
        &[
            ("rw c 60:0", PASSED),
            ("rw c 60:1048575", PASSED),
            ("r c 61:0", DENIED),
            ("r b 60:0", DENIED),
        ],
    );
    check(
        &["-a", "+c *:9 r"],
        &[
            ("r c 60:9", PASSED),
            ("r c 61:9", PASSED),
            ("r c 60:8", DENIED),
        ],
    );
    check(
        &["-a", "+b *:* r"],
        &[
            ("r b 60:9", PASSED),
            ("w b 60:9", DENIED),
            ("r c 60:9", DENIED),
        ],
    );
}

#[test]
fn minus_one_is_a_wildcard() {
    let bundle = ruled(&["-a"]);
    bundle.push(
        "/linux/resources/devices",
        json!({"allow": true, "type": "c", "major": 60, "minor": -1, "access": "r"}),
    );
    assert_eq!(
        answers(&bundle, &["r c 60:5", "r c 61:5"]),
        [PASSED, DENIED]
    );
}

#[test]
fn later_rules_win() {
    check(
        &["+c 60:7 rwm", "-c 60:7 w"],
        &[("r c 60:7", PASSED), ("w c 60:7", DENIED)],
    );
    check(
        &["+c 60:7 rwm", "-c 60:7 rwm", "+c 60:7 w"],
        &[("r c 60:7", DENIED), ("w c 60:7", PASSED)],
    );
}

#[test]
fn a_rule_for_all_forgets_what_came_before() {
    check(&["+c 60:7 rwm", "-a"], &[("r c 60:7", DENIED)]);
}

#[test]
fn a_rule_without_a_type_is_for_all() {
    let bundle = ruled(&[]);
    bundle.set(
        "/linux/resources/devices",
        json!([{"allow": true, "access": "rwm"}]),
    );
    assert_eq!(
        answers(&bundle, &["rw c 60:7", "r b 60:7"]),
        [PASSED, PASSED]
    );
}

#[test]
fn with_all_allowed_one_is_denied() {
    check(
        &["+a", "-c 60:7 rwm"],
        &[
            ("r c 60:8", PASSED),
            ("r b 60:7", PASSED),
            ("m c 60:8", "ok"),
        ],
    );
}

#[test]
fn with_all_allowed_the_making_of_one_is_denied() {
    differs!(Crun, "it allows the making of any node");
    check(&["+a", "-c 60:7 rwm"], &[("m c 60:7", DENIED)]);
}

#[test]
fn a_denied_node_cannot_be_opened_though_all_are_allowed() {
    // The runtime itself could not make the node.
    let bundle = ruled(&["+a", "-c 60:7 rw"]);
    let found = answers(&bundle, &["r c 60:7", "w c 60:7", "rw c 60:7", "rw c 60:8"]);
    assert_eq!(found[3], PASSED);
    differs!(
        Runc | Crun,
        "one kind of access is denied only when it is asked for alone"
    );
    assert_eq!(found[..3], [DENIED, DENIED, DENIED]);
}

#[test]
fn a_denial_with_a_wildcard_takes_back_single_allowances() {
    differs!(Runc, "it passes over the denial");
    check(
        &["+c 60:7 rwm", "-c 60:* rwm"],
        &[("r c 60:7", DENIED), ("w c 60:7", DENIED)],
    );
}

#[test]
fn a_hole_in_a_wildcard_is_refused() {
    differs!(Crun, "it can do that");
    let bundle = ruled(&["+c 60:* rwm", "-c 60:7 r"]);
    bundle.args(&["/bin/true"]);
    bundle.container().run().fails().says("hole");
}

#[test]
fn a_default_device_with_a_rule_of_its_own() {
    let bundle = ruled(&["-a", "+c 1:5 r"]);
    bundle.push(
        "/linux/devices",
        json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}),
    );
    bundle.args(&[
        "/bin/sh",
        "-c",
        "/probe try open r /dev/zero; /probe try open w /dev/zero; /probe try open rw /dev/full",
    ]);
    let output = bundle.container().run().ok();
    differs!(Crun, "the default devices are always allowed");
    assert_eq!(output.stdout, "ok\nEPERM\nok\n");
}

#[test]
fn the_same_holds_for_exec() {
    let bundle = ruled(&["-a", "+c 60:7 r"]);
    let attempts = ["r c 60:7", "w c 60:7", "r c 60:8", "m c 60:8"];
    let script = script(&bundle, &attempts);
    let container = bundle.container();
    container.run_detached();
    let flags = ["--cap", "CAP_MKNOD"];
    let output = container
        .exec_with(&flags, &["/bin/sh", "-c", &script])
        .ok();
    let found: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(found, [PASSED, DENIED, DENIED, "ok"]);
}

#[test]
fn they_hold_in_a_user_namespace() {
    needs!(fs::exists("/dev/fuse").unwrap(), "/dev/fuse");
    for (rules, expected) in [(&["-a"][..], "EPERM\n"), (&["-a", "+c 10:229 rw"], "ok\n")] {
        let bundle = ruled(rules);
        bundle.namespace(json!({"type": "user"}));
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        bundle.set("/linux/uidMappings", map.clone());
        bundle.set("/linux/gidMappings", map);
        bundle.chown_rootfs(100_000, 100_000);
        bundle.push(
            "/linux/devices",
            json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}),
        );
        // The host's node is bound, whose mode may not let others in.
        fs::set_permissions("/dev/fuse", fs::Permissions::from_mode(0o666)).unwrap();
        bundle.args(&["/probe", "try", "open", "rw", "/dev/fuse"]);
        assert_eq!(bundle.container().run().ok().stdout, expected);
    }
}

#[test]
fn an_ordinary_user_goes_without() {
    let bundle = Bundle::rootless(1000, 1000);
    let mut config = rootless_config(1000, 1000);
    config["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    config["process"]["args"] = json!(["/bin/true"]);
    bundle.set_config(config);
    bundle.container().run().ok();
}

#[test]
fn wrong_rules_are_refused() {
    for (rule, says) in [
        (
            json!({"allow": true, "type": "c", "access": ""}),
            "cannot be empty",
        ),
        (json!({"allow": true, "type": "c"}), "cannot be empty"),
        (
            json!({"allow": true, "type": "p", "access": "r"}),
            "invalid cgroup device type",
        ),
        (
            json!({"allow": true, "type": "c", "major": 4_294_967_296i64, "access": "r"}),
            "major",
        ),
    ] {
        differs!(Crun, "it makes what it can of them");
        let bundle = Bundle::new();
        bundle.set("/linux/resources/devices", json!([rule]));
        bundle.args(&["/bin/true"]);
        bundle.container().run().fails().says(says);
    }
}

#[test]
fn an_access_of_other_letters_is_refused() {
    differs!(Runc | Crun, "it takes the letters that it knows");
    let bundle = Bundle::new();
    bundle.set(
        "/linux/resources/devices",
        json!([{"allow": true, "type": "c", "major": 60, "access": "rx"}]),
    );
    bundle
        .container()
        .run()
        .fails()
        .says("unknown device access");
}

#[test]
fn four_thousand_rules() {
    let bundle = ruled(&["-a"]);
    let rules: Vec<Value> = (0..4000)
        .map(|minor| {
            rule_of(&format!(
                "+c {FREE}:{minor} {}",
                ["r", "rw", "rwm"][minor % 3]
            ))
        })
        .collect();
    bundle.set("/linux/resources/devices", json!(rules));
    let attempts = [
        "r c 60:0",
        "w c 60:0",
        "rw c 60:3999",
        "w c 60:3999",
        "r c 60:4000",
    ];
    assert_eq!(
        answers(&bundle, &attempts),
        [PASSED, DENIED, DENIED, DENIED, DENIED]
    );
}

#[test]
fn a_file_system_on_a_device_needs_no_rule() {
    needs!(fs::exists("/dev/loop0").unwrap(), "/dev/loop0");
    differs!(Crun, "its init is bound to the rules while it mounts");
    // The answer does not depend on who is faster.
    for _ in 0..3 {
        let bundle = ruled(&["-a"]);
        bundle.mount(json!({"destination": "/mnt", "type": "ext4", "source": "/dev/loop0"}));
        bundle.args(&["/bin/true"]);
        // There is no file system on it.
        let output = bundle.container().run().fails();
        let denied = output.stderr.to_lowercase().contains("not permitted");
        assert!(!denied, "{}", output.stderr);
    }
}

#[test]
fn the_rules_hold_though_they_come_after_such_a_mount() {
    let bundle = ruled(&["-a"]);
    // A kind of file system with a source like that of one on a device.
    bundle.mount(json!({"destination": "/mnt", "type": "ramfs", "source": "/dev/loop0"}));
    assert_eq!(answers(&bundle, &["r c 60:7", "m c 60:7"]), [DENIED, "ok"]);
}

/// What the probe prints outside of any container.
fn probe(bundle: &Bundle, args: &[&str]) -> Value {
    Call::of(probe_path(), &bundle.home().join("io"))
        .args(args)
        .run()
        .ok()
        .json()
}

fn programs(bundle: &Bundle, cgroup: &std::path::Path) -> Vec<Value> {
    let list = probe(bundle, &["device-programs", cgroup.to_str().unwrap()]);
    list.as_array().unwrap().clone()
}

#[test]
fn there_is_one_program_and_it_goes_with_the_container() {
    let bundle = ruled(&["-a", "+c 60:7 r"]);
    let container = bundle.container();
    container.run_detached();
    let ids = programs(&bundle, &container.cgroup_dir());
    assert_eq!(ids.len(), 1);
    container.delete_force().ok();
    let id = ids[0].to_string();
    until("the program to be gone", || {
        (probe(&bundle, &["is-program", &id]) == json!(false)).then_some(())
    });
}

#[test]
fn nothing_is_left_of_a_container_that_fails() {
    let bundle = ruled(&["-a"]);
    bundle.args(&["/not/there"]);
    bundle.container().run().fails();
    assert!(bundle.container().leftovers().is_empty());
}

#[test]
fn a_cgroup_that_is_used_again_gets_the_new_rules() {
    let bundle = ruled(&["-a"]);
    let path = format!("/{}", bundle.id());
    bundle.set("/linux/cgroupsPath", json!(path));
    bundle.args(&["/bin/true"]);
    let first = bundle.container();
    first.create();
    first.start();
    first.wait_stopped();
    let cgroup = first.cgroup_dir();
    let before = programs(&bundle, &cgroup);
    assert_eq!(before.len(), 1);

    bundle.set("/linux/resources/devices", json!([rule_of("+c 60:7 rwm")]));
    let script = script(&bundle, &["rw c 60:7", "r c 60:8"]);
    bundle.args(&[
        "/bin/sh",
        "-c",
        &format!("{script}\nexec /probe sleep-forever"),
    ]);
    let second = bundle.container_named("second");
    second.run_detached();
    second.wait_line("ready");
    assert_eq!(second.stdout(), format!("{PASSED}\n{DENIED}\nready\n"));
    let after = programs(&bundle, &cgroup);
    assert_eq!(after.len(), 1);
    assert_ne!(after, before);
    second.delete_force().ok();
}

#[test]
fn with_all_allowed_a_cgroup_that_is_used_again_has_no_rules_of_the_past() {
    let bundle = ruled(&["-a"]);
    bundle.set("/linux/cgroupsPath", json!(format!("/{}", bundle.id())));
    bundle.args(&["/bin/true"]);
    let first = bundle.container();
    first.create();
    first.start();
    first.wait_stopped();
    bundle.set("/linux/resources/devices", json!([rule_of("+a")]));
    let script = script(&bundle, &["rw c 60:7"]);
    bundle.args(&["/bin/sh", "-c", &script]);
    let output = bundle.container_named("second").run().ok();
    assert_eq!(output.stdout, format!("{PASSED}\n"));
}
