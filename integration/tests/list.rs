//! list: every container of a state root, as a table, as JSON, as ids.

use integration::{Bundle, Value, differs, json};
use std::collections::BTreeMap;
use std::fs;

/// The rows of the table by id, each as its columns.
fn table(bundle: &Bundle) -> BTreeMap<String, Vec<String>> {
    let output = bundle.call(["list"]).run().ok();
    let rows = output.stdout.lines().skip(1);
    rows.map(|row| {
        let columns: Vec<String> = row.split_whitespace().map(str::to_string).collect();
        (columns[0].clone(), columns)
    })
    .collect()
}

fn json_list(bundle: &Bundle) -> Vec<Value> {
    let list = bundle.call(["list", "--format", "json"]).run().ok().json();
    list.as_array().cloned().unwrap_or_default()
}

#[test]
fn an_empty_root_gives_the_header_alone() {
    let bundle = Bundle::new();
    let output = bundle.call(["list"]).run().ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for column in ["PID", "STATUS", "BUNDLE", "CREATED", "OWNER"] {
        assert!(lines[0].contains(column), "{column} in {lines:?}");
    }
}

#[test]
fn the_header_is_runcs() {
    differs!(Crun, "has NAME for ID, and other widths");
    let output = Bundle::new().call(["list"]).run().ok();
    let columns = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
    assert_eq!(output.stdout, columns);
}

#[test]
fn an_empty_root_as_json_is_null() {
    differs!(Crun, "prints []");
    let output = Bundle::new().call(["list", "-f", "json"]).run().ok();
    assert_eq!(output.stdout.trim_end(), "null");
}

#[test]
fn an_empty_root_has_no_ids() {
    let output = Bundle::new().call(["list", "-q"]).run().ok();
    assert_eq!(output.stdout, "");
}

#[test]
fn the_table_has_a_row_for_each_container() {
    let bundle = Bundle::new();
    let (one, two) = (bundle.container_named("one"), bundle.container_named("two"));
    one.create();
    two.run_detached();
    let rows = table(&bundle);
    assert_eq!(rows.len(), 2);
    let row = &rows[one.id()];
    assert_eq!(row[1], one.pid().to_string());
    assert_eq!(row[2], "created");
    assert_eq!(row[3], bundle.dir().to_str().unwrap());
    assert_eq!(row[5], "root");
    assert_eq!(rows[two.id()][2], "running");
}

#[test]
fn the_table_shows_every_status() {
    let bundle = Bundle::new();
    let ids = ["created", "running", "paused", "stopped"];
    let cs = ids.map(|id| bundle.container_named(id));
    cs[0].create();
    for c in &cs[1..] {
        c.run_detached();
    }
    cs[2].pause().ok();
    cs[3].kill("KILL").ok();
    cs[3].wait_stopped();
    let rows = table(&bundle);
    for (c, status) in cs.iter().zip(ids) {
        assert_eq!(rows[c.id()][2], status);
    }
    assert_eq!(rows[cs[3].id()][1], "0");
}

#[test]
fn json_has_what_state_says() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.run_detached();
    let list = json_list(&bundle);
    assert_eq!(list.len(), 1);
    let state = c.state();
    for key in ["id", "pid", "status", "bundle", "created"] {
        assert_eq!(list[0][key], state[key], "{key}");
    }
    assert_eq!(list[0]["owner"], "root");
}

#[test]
fn json_has_the_rootfs_and_the_spec_version() {
    differs!(Crun, "leaves both out");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let list = json_list(&bundle);
    assert_eq!(
        list[0]["rootfs"],
        json!(bundle.rootfs("").to_str().unwrap().trim_end_matches('/'))
    );
    assert_eq!(list[0]["ociVersion"], c.state()["ociVersion"]);
}

#[test]
fn json_is_one_line() {
    differs!(Crun, "indents it");
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    let output = bundle.call(["list", "--format=json"]).run().ok();
    assert_eq!(output.stdout.trim_end().lines().count(), 1);
}

#[test]
fn json_has_the_annotations() {
    differs!(Crun, "leaves them out");
    let bundle = Bundle::new();
    bundle.set("/annotations", json!({"org.example.colour": "blue"}));
    let c = bundle.container();
    c.create();
    assert_eq!(
        json_list(&bundle)[0]["annotations"]["org.example.colour"],
        "blue"
    );
}

#[test]
fn quiet_gives_the_ids() {
    let bundle = Bundle::new();
    let (a, b) = (bundle.container_named("a"), bundle.container_named("b"));
    b.create();
    a.create();
    for flag in ["-q", "--quiet"] {
        let output = bundle.call(["list", flag]).run().ok();
        let mut ids: Vec<&str> = output.stdout.lines().collect();
        ids.sort_unstable();
        assert_eq!(ids, [a.id(), b.id()]);
    }
}

#[test]
fn an_unknown_format_is_an_error() {
    let bundle = Bundle::new();
    let output = bundle.call(["list", "--format", "xml"]).run().exits(1);
    output.says_or_crun("invalid format option", "invalid format");
}

#[test]
fn a_deleted_container_is_gone() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    assert_eq!(table(&bundle).len(), 1);
    c.delete().ok();
    assert_eq!(table(&bundle).len(), 0);
}

#[test]
fn files_in_the_root_are_no_containers() {
    differs!(Crun, "says an error for a file that is no directory");
    let bundle = Bundle::new();
    fs::write(bundle.root().join("note"), "text").unwrap();
    let c = bundle.container();
    c.create();
    let rows = table(&bundle);
    assert_eq!(rows.keys().collect::<Vec<_>>(), [c.id()]);
}

#[test]
fn a_root_that_does_not_exist_is_an_error() {
    differs!(Runc < (1, 2), "makes it and lists nothing");
    differs!(Crun, "makes it and lists nothing");
    let bundle = Bundle::new();
    let root = bundle.home().join("nowhere");
    let output = bundle
        .bare_call()
        .arg("--root")
        .arg(&root)
        .arg("list")
        .run()
        .exits(1);
    output.says("no such file or directory");
}

#[test]
fn a_broken_container_does_not_hide_the_others() {
    let bundle = Bundle::new();
    let c = bundle.container();
    c.create();
    fs::create_dir(bundle.root().join("broken")).unwrap();
    let output = bundle.call(["list"]).run();
    assert!(output.stdout.contains(c.id()), "{}", output.describe());
}

#[test]
fn many_containers_are_all_there() {
    let bundle = Bundle::new();
    let cs: Vec<_> = (0..12)
        .map(|n| bundle.container_named(&n.to_string()))
        .collect();
    for c in &cs {
        c.create();
    }
    assert_eq!(json_list(&bundle).len(), 12);
    assert_eq!(table(&bundle).len(), 12);
}

#[test]
fn list_takes_no_id() {
    let bundle = Bundle::new();
    bundle.call(["list", "x"]).run().exits(1);
}
