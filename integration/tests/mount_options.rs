//! mounts[].options: attributes of the mount, recursive ones, flags of the file system.

use integration::{
    Bundle, HostMount, Value, differs, has_attribute, has_option, json, mount_at, probe_report,
};
use std::fs;
use std::os::unix::fs::symlink;

/// A bind mount of a directory of the host at /mnt with these options; the report's mount there.
fn bound(options: &[&str]) -> Value {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    mount(&bundle, &dir, "bind", options);
    mount_at(&probe_report(&bundle), "/mnt").clone()
}

/// The same with a source that is a mount of its own, with attributes.
fn bound_from(attributes: &[&str], options: &[&str]) -> Value {
    let bundle = Bundle::new();
    let host = HostMount::tmpfs(&bundle.home().join("source"));
    host.attributes(attributes);
    mount(&bundle, host.path().to_str().unwrap(), "bind", options);
    mount_at(&probe_report(&bundle), "/mnt").clone()
}

/// The mounts at /mnt and at /mnt/below, of an rbind with these options.
fn bound_with_one_below(options: &[&str]) -> (Value, Value) {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    let _below = HostMount::tmpfs(&bundle.home().join("source/below"));
    mount(&bundle, &dir, "rbind", options);
    let report = probe_report(&bundle);
    (
        mount_at(&report, "/mnt").clone(),
        mount_at(&report, "/mnt/below").clone(),
    )
}

fn tmpfs(options: &[&str]) -> Value {
    let bundle = Bundle::new();
    bundle
        .mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": options}));
    mount_at(&probe_report(&bundle), "/mnt").clone()
}

fn source(bundle: &Bundle) -> String {
    let dir = bundle.home().join("source");
    fs::create_dir(&dir).unwrap();
    dir.to_str().unwrap().to_string()
}

fn mount(bundle: &Bundle, source: &str, kind: &str, options: &[&str]) {
    let mut all = vec![kind];
    all.extend(options);
    bundle.mount(json!({"destination": "/mnt", "type": "bind", "source": source, "options": all}));
}

#[track_caller]
fn attributes(mount: &Value, there: &[&str], not_there: &[&str]) {
    for word in there {
        assert!(has_attribute(mount, word), "{word} is missing: {mount}");
    }
    for word in not_there {
        assert!(!has_attribute(mount, word), "{word} is there: {mount}");
    }
}

const ATIMES: [&str; 3] = ["noatime", "relatime", "nodiratime"];

#[test]
fn ro_on_a_bind_mount() {
    attributes(&bound(&["ro"]), &["ro"], &["rw"]);
}

#[test]
fn ro_on_a_bind_mount_leaves_the_host_writable() {
    let bundle = Bundle::new();
    let host = HostMount::tmpfs(&bundle.home().join("source"));
    mount(&bundle, host.path().to_str().unwrap(), "bind", &["ro"]);
    bundle.args(&["/probe", "try", "open", "w+creat", "/mnt/new"]);
    assert_eq!(bundle.container().run().ok().stdout, "EROFS\n");
    fs::write(host.path().join("new"), "").unwrap();
}

#[test]
fn nosuid_nodev_noexec_on_a_bind_mount() {
    let mount = bound(&["nosuid", "nodev", "noexec"]);
    attributes(&mount, &["nosuid", "nodev", "noexec", "rw"], &[]);
}

#[test]
fn each_is_set_alone() {
    // The temporary directory of the tests may be nosuid and nodev itself, but not noexec.
    attributes(&tmpfs(&["nosuid"]), &["nosuid"], &["nodev", "noexec"]);
    attributes(&tmpfs(&["nodev"]), &["nodev"], &["nosuid", "noexec"]);
    attributes(&tmpfs(&["noexec"]), &["noexec"], &["nosuid", "nodev"]);
}

#[test]
fn noexec_is_obeyed() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    fs::copy(integration::probe_path(), format!("{dir}/program")).unwrap();
    mount(&bundle, &dir, "bind", &["noexec"]);
    bundle.args(&["/probe", "try", "exec", "/mnt/program"]);
    assert_eq!(bundle.container().run().ok().stdout, "EACCES\n");
}

#[test]
fn the_later_word_wins() {
    differs!(Crun, "words that clear do nothing");
    attributes(&tmpfs(&["ro", "rw"]), &["rw"], &["ro"]);
    attributes(&tmpfs(&["rw", "ro"]), &["ro"], &["rw"]);
    attributes(&tmpfs(&["noexec", "exec"]), &[], &["noexec"]);
    attributes(&tmpfs(&["nosuid", "suid"]), &[], &["nosuid"]);
    attributes(&tmpfs(&["nodev", "dev"]), &[], &["nodev"]);
}

#[test]
fn a_bind_mount_without_options_keeps_the_attributes_of_its_source() {
    differs!(Crun, "it clears what is not asked for");
    let mount = bound_from(&["ro", "nosuid", "noexec"], &[]);
    attributes(&mount, &["ro", "nosuid", "noexec"], &[]);
}

#[test]
fn rw_takes_the_read_only_flag_of_the_source_away() {
    differs!(Runc < (1, 2), "it knows no cleared flags");
    attributes(&bound_from(&["ro"], &["rw"]), &["rw"], &["ro"]);
}

#[test]
fn words_that_clear_take_the_flags_of_the_source_away() {
    differs!(Runc < (1, 2), "it knows no cleared flags");
    let mount = bound_from(&["nosuid", "nodev", "noexec"], &["suid", "dev", "exec"]);
    attributes(&mount, &[], &["nosuid", "nodev", "noexec"]);
}

#[test]
fn noatime() {
    for mount in [bound(&["noatime"]), tmpfs(&["noatime"])] {
        attributes(&mount, &["noatime"], &["relatime"]);
    }
}

#[test]
fn relatime_is_the_kernels_own_choice() {
    for mount in [bound(&["relatime"]), tmpfs(&["relatime"]), tmpfs(&[])] {
        attributes(&mount, &["relatime"], &["noatime"]);
    }
}

#[test]
fn strictatime_is_the_absence_of_the_others() {
    for mount in [bound(&["strictatime"]), tmpfs(&["strictatime"])] {
        attributes(&mount, &[], &ATIMES);
    }
}

#[test]
fn nodiratime_is_apart_from_the_others() {
    attributes(&tmpfs(&["nodiratime"]), &["nodiratime", "relatime"], &[]);
    let mount = tmpfs(&["nodiratime", "noatime"]);
    attributes(&mount, &["nodiratime", "noatime"], &[]);
}

#[test]
fn diratime_takes_nodiratime_back() {
    differs!(Crun, "words that clear do nothing");
    attributes(&tmpfs(&["nodiratime", "diratime"]), &[], &["nodiratime"]);
}

#[test]
fn atime_words_that_take_one_back() {
    differs!(Crun, "words that clear do nothing");
    attributes(&tmpfs(&["noatime", "atime"]), &[], &["noatime"]);
}

#[test]
fn the_last_atime_word_wins() {
    differs!(
        Runc | Crun,
        "both flags reach the kernel, which takes noatime"
    );
    attributes(&tmpfs(&["noatime", "strictatime"]), &[], &ATIMES);
    attributes(&tmpfs(&["strictatime", "noatime"]), &["noatime"], &[]);
}

#[test]
fn nosymfollow() {
    differs!(
        Crun,
        "it hands the word to the file system, which does not know it"
    );
    attributes(&tmpfs(&["nosymfollow"]), &["nosymfollow"], &[]);
    attributes(&bound(&["nosymfollow"]), &["nosymfollow"], &[]);
    attributes(&tmpfs(&["nosymfollow", "symfollow"]), &[], &["nosymfollow"]);
}

#[test]
fn sync_and_dirsync_are_flags_of_the_file_system() {
    let mount = tmpfs(&["sync", "dirsync"]);
    assert!(
        has_option(&mount, "sync") && has_option(&mount, "dirsync"),
        "{mount}"
    );
}

#[test]
fn async_takes_sync_back() {
    differs!(Crun, "words that clear do nothing");
    let mount = tmpfs(&["sync", "async"]);
    assert!(!has_option(&mount, "sync"), "{mount}");
}

#[test]
fn sync_on_a_bind_mount_changes_nothing() {
    assert!(!has_option(&bound(&["sync"]), "sync"));
}

#[test]
fn lazytime() {
    let mount = tmpfs(&["lazytime"]);
    assert!(has_option(&mount, "lazytime"), "{mount}");
}

#[test]
fn words_without_effect_are_taken() {
    let mount = tmpfs(&["async", "nomand", "rw", "suid"]);
    assert_eq!(mount["fstype"], "tmpfs");
}

#[test]
fn the_word_defaults_is_taken() {
    differs!(
        Runc,
        "it hands the word to the file system, which does not know it"
    );
    assert_eq!(tmpfs(&["defaults"])["fstype"], "tmpfs");
}

#[test]
fn silent_loud_iversion_are_flags() {
    differs!(
        Crun,
        "it hands the words to the file system, which does not know them"
    );
    for words in [
        ["silent", "loud"],
        ["iversion", "noiversion"],
        ["lazytime", "nolazytime"],
    ] {
        assert_eq!(tmpfs(&words)["fstype"], "tmpfs", "{words:?}");
    }
}

#[test]
fn an_empty_list_of_options_is_fine() {
    attributes(&tmpfs(&[]), &["rw"], &[]);
    let bundle = Bundle::new();
    bundle.mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": null}));
    assert_eq!(mount_at(&probe_report(&bundle), "/mnt")["fstype"], "tmpfs");
}

#[test]
fn rro_reaches_the_mounts_below() {
    let (mount, below) = bound_with_one_below(&["rro"]);
    attributes(&mount, &["ro"], &[]);
    attributes(&below, &["ro"], &[]);
}

#[test]
fn ro_does_not_reach_the_mounts_below() {
    let (mount, below) = bound_with_one_below(&["ro"]);
    attributes(&mount, &["ro"], &[]);
    attributes(&below, &["rw"], &[]);
}

#[test]
fn rnosuid_rnodev_rnoexec_reach_the_mounts_below() {
    let (mount, below) = bound_with_one_below(&["rnosuid", "rnodev", "rnoexec"]);
    attributes(&mount, &["nosuid", "nodev", "noexec"], &[]);
    attributes(&below, &["nosuid", "nodev", "noexec"], &["ro"]);
}

#[test]
fn the_recursive_atime_words_reach_the_mounts_below() {
    differs!(
        Crun,
        "it does not clear the other kind first, and the kernel refuses"
    );
    for (word, there, not_there) in [
        ("rnoatime", &["noatime"][..], &["relatime"][..]),
        ("rrelatime", &["relatime"], &["noatime"]),
        ("rstrictatime", &[], &ATIMES),
        ("rnodiratime", &["nodiratime"], &[]),
    ] {
        let (mount, below) = bound_with_one_below(&[word]);
        attributes(&mount, there, not_there);
        attributes(&below, there, not_there);
    }
}

#[test]
fn rnosymfollow_reaches_the_mounts_below() {
    differs!(
        Crun,
        "it hands the word to the file system, which does not know it"
    );
    let (mount, below) = bound_with_one_below(&["rnosymfollow"]);
    attributes(&mount, &["nosymfollow"], &[]);
    attributes(&below, &["nosymfollow"], &[]);
}

#[test]
fn words_that_clear_reach_the_mounts_below() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    let below = HostMount::tmpfs(&bundle.home().join("source/below"));
    below.attributes(&["ro", "noexec", "nosuid", "nodev", "noatime"]);
    mount(&bundle, &dir, "rbind", &["rrw", "rexec", "rsuid", "rdev"]);
    let report = probe_report(&bundle);
    let below = mount_at(&report, "/mnt/below");
    attributes(below, &["rw"], &["ro", "noexec", "nosuid", "nodev"]);
}

#[test]
fn ratime_takes_noatime_of_the_mounts_below_away() {
    differs!(
        Runc < (1, 2),
        "it does not clear the kind first, and the kernel refuses"
    );
    differs!(
        Crun,
        "it does not clear the kind first, and the kernel refuses"
    );
    let bundle = Bundle::new();
    let dir = source(&bundle);
    let below = HostMount::tmpfs(&bundle.home().join("source/below"));
    below.attributes(&["noatime"]);
    mount(&bundle, &dir, "rbind", &["ratime"]);
    let report = probe_report(&bundle);
    attributes(mount_at(&report, "/mnt/below"), &[], &["noatime"]);
}

#[test]
fn a_recursive_word_with_a_plain_bind_holds_for_that_mount() {
    attributes(&bound(&["rro"]), &["ro"], &[]);
}

#[test]
fn rro_keeps_other_attributes_of_the_mounts_below() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    let below = HostMount::tmpfs(&bundle.home().join("source/below"));
    below.attributes(&["noexec"]);
    mount(&bundle, &dir, "rbind", &["rro"]);
    let report = probe_report(&bundle);
    attributes(mount_at(&report, "/mnt/below"), &["ro", "noexec"], &[]);
}

#[test]
fn remount_changes_what_is_mounted_already() {
    let bundle = Bundle::new();
    bundle.mount(json!({"destination": "/mnt", "type": "tmpfs", "source": "t"}));
    bundle.mount(
        json!({"destination": "/mnt", "type": "tmpfs", "source": "t",
        "options": ["remount", "ro", "noexec"]}),
    );
    let report = probe_report(&bundle);
    attributes(mount_at(&report, "/mnt"), &["noexec"], &[]);
    assert!(has_option(mount_at(&report, "/mnt"), "ro"));
}

#[test]
fn remount_changes_the_file_system() {
    let bundle = Bundle::new();
    for words in [&["size=1m"][..], &["remount", "size=2m", "nosuid"]] {
        bundle.mount(
            json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": words}),
        );
    }
    let report = probe_report(&bundle);
    let mount = mount_at(&report, "/mnt");
    assert!(
        has_option(mount, "size=2048k") && has_attribute(mount, "nosuid"),
        "{mount}"
    );
    let at_mnt = |mount: &&Value| mount["mountpoint"] == "/mnt";
    assert_eq!(
        report["mounts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(at_mnt)
            .count(),
        1
    );
}

#[test]
fn remount_bind_changes_the_mount_alone() {
    let bundle = Bundle::new();
    let dir = source(&bundle);
    mount(&bundle, &dir, "bind", &[]);
    mount(&bundle, &dir, "bind", &["remount", "ro", "nosuid", "nodev"]);
    let report = probe_report(&bundle);
    attributes(mount_at(&report, "/mnt"), &["ro", "nosuid", "nodev"], &[]);
}

#[test]
fn the_sources_link_is_not_followed_when_that_is_asked_for() {
    differs!(
        Crun < (1, 28),
        "it cannot leave a link at the destination alone yet"
    );
    differs!(Runc, "src-nofollow is an option of crun's");
    let bundle = Bundle::new();
    let dir = source(&bundle);
    fs::write(format!("{dir}/file"), "x").unwrap();
    symlink("file", format!("{dir}/link")).unwrap();
    mount(
        &bundle,
        &format!("{dir}/link"),
        "bind",
        &["src-nofollow", "dest-nofollow"],
    );
    bundle.set("/mounts/7/destination", json!("/etc/link"));
    symlink("passwd", bundle.rootfs("/etc/link")).unwrap();
    bundle.args(&["/probe", "stat", "/etc/link"]);
    let stat = bundle.container().run().ok().json();
    assert_eq!(stat["/etc/link"]["target"], "file");
}
