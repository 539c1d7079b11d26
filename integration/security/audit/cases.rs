//! The configs: what `runc spec` writes, what Docker 26 and Podman 5.4 ask for (taken from them once; their seccomp
//! profiles are those of `integration/profiles/`), and changes of these.

use integration::{Bundle, Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bundle: fn() -> Bundle,
    /// The first process and that of `exec` have terminals.
    pub(crate) terminal: bool,
    /// It is not started, so that what is process 1 there is the runtime.
    pub(crate) only_created: bool,
}

const fn case(name: &'static str, bundle: fn() -> Bundle) -> Case {
    Case {
        name,
        bundle,
        terminal: false,
        only_created: false,
    }
}

pub(crate) const CASES: &[Case] = &[
    case("spec", spec),
    Case {
        only_created: true,
        ..case("created", spec)
    },
    case("docker", docker),
    case("docker-read-only", || {
        let bundle = docker();
        bundle.set("/root/readonly", json!(true));
        bundle
    }),
    Case {
        terminal: true,
        ..case("docker-terminal", || {
            let bundle = docker();
            bundle.set("/process/terminal", json!(true));
            bundle
        })
    },
    case("docker-privileged", || {
        of(include_str!("docker-privileged.json"), None)
    }),
    case("podman", || {
        let profile = include_str!("../../profiles/podman.json");
        of(include_str!("podman.json"), Some(profile))
    }),
    case("podman-privileged", || {
        of(include_str!("podman-privileged.json"), None)
    }),
    case("user-namespace", || {
        let bundle = docker();
        in_a_user_namespace(&bundle);
        bundle
    }),
    case("rootless", || Bundle::rootless(1000, 1000)),
    // Its root has all rights over what is the container's, so what it is compared with is privileged; with ids that the
    // config gives, for the originals take none by themselves.
    case("system", || {
        let bundle = of(include_str!("docker-privileged.json"), None);
        // crun binds them twice.
        bundle.remove("/linux/devices");
        in_a_user_namespace(&bundle);
        bundle.set("/annotations", json!({"io.vzrun.system": "true"}));
        bundle
    }),
];

fn in_a_user_namespace(bundle: &Bundle) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    // Of ids that are not there.
    bundle.remove("/linux/sysctl/net.ipv4.ping_group_range");
    bundle.namespace(json!({"type": "user"}));
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.chown_rootfs(100_000, 100_000);
}

/// What `runc spec` writes, but for the terminal.
fn spec() -> Bundle {
    let bundle = Bundle::new();
    let words = ["spec", "--bundle"];
    let dir = bundle.home().join("spec");
    fs::create_dir(&dir).unwrap();
    let call = integration::Call::of(integration::RUNC_13, &bundle.home().join("io"));
    call.args(words).arg(&dir).run().ok();
    let text = fs::read_to_string(dir.join("config.json")).unwrap();
    bundle.set_config(serde_json::from_str(&text).unwrap());
    bundle.set("/process/terminal", json!(false));
    bundle
}

fn docker() -> Bundle {
    let profile = include_str!("../../profiles/docker.json");
    of(include_str!("docker.json"), Some(profile))
}

/// A bundle of an engine's config, with this seccomp profile.
fn of(config: &str, profile: Option<&str>) -> Bundle {
    let bundle = Bundle::new();
    let mut config: Value = serde_json::from_str(config).unwrap();
    if let Some(profile) = profile {
        config["linux"]["seccomp"] = serde_json::from_str(profile).unwrap();
    }
    for mount in config["mounts"].as_array_mut().unwrap() {
        let source = mount["source"].as_str().unwrap_or_default();
        // What an engine has ready for each container.
        if let Some(path) = source.strip_prefix("HOME") {
            let source = bundle.home().join(path.trim_start_matches('/'));
            fs::create_dir_all(source.parent().unwrap()).unwrap();
            if path == "/dev/shm" {
                fs::create_dir(&source).unwrap();
            } else {
                fs::write(&source, "").unwrap();
            }
            mount["source"] = json!(source);
        }
    }
    bundle.set_config(config);
    bundle
}

/// Where the reports go to, and a cgroup that is called alike with each runtime.
pub(crate) fn complete(bundle: &Bundle) {
    let out = bundle.home().join("out");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
    bundle.mount(
        json!({"destination": "/out", "type": "bind", "source": out, "options": ["bind", "rprivate"]}),
    );
    let linux = &bundle.config()["linux"];
    let is_ordinary = linux["uidMappings"][0]["size"] == 1;
    if !linux["cgroupsPath"].is_string() && !is_ordinary {
        bundle.set("/linux/cgroupsPath", json!(format!("/{}", bundle.id())));
    }
}
