//! Bundles made from the one that `bundle.sh` wrote: each container has its own
//! config.json and cgroup, as with an engine; all share one root.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// The bundle that the others come from.
pub(crate) struct Bundles {
    dir: PathBuf,
    config: Value,
    /// linux.seccomp for the case with it.
    profile: Value,
}

impl Bundles {
    /// Reads the bundle in `dir`, and `seccomp.json` beside its config.json.
    pub(crate) fn new(dir: &Path) -> Bundles {
        let read = |name: &str| {
            let text = fs::read(dir.join(name)).expect(name);
            serde_json::from_slice(&text).expect(name)
        };
        Bundles {
            dir: dir.to_owned(),
            config: read("config.json"),
            profile: read("seccomp.json"),
        }
    }

    /// The bundle as it is, for the floor.
    pub(crate) fn base(&self) -> &Path {
        &self.dir
    }

    /// A bundle for the container `id` that runs /bin/true.
    pub(crate) fn short(&self, id: &str) -> PathBuf {
        self.write(id, self.config.clone())
    }

    /// The same with the seccomp profile.
    pub(crate) fn filtered(&self, id: &str) -> PathBuf {
        let mut config = self.config.clone();
        config["linux"]["seccomp"] = self.profile.clone();
        self.write(id, config)
    }

    /// The profile's program, for the floor.
    pub(crate) fn program(&self) -> PathBuf {
        self.dir.join("seccomp.bpf")
    }

    /// A bundle for the container `id` that sleeps.
    pub(crate) fn sleeper(&self, id: &str) -> PathBuf {
        let mut config = self.config.clone();
        config["process"]["args"] = json!(["/bin/sleep", "1000000"]);
        self.write(id, config)
    }

    /// A sleeper with few namespaces and mounts: of those there can be thousands.
    pub(crate) fn light(&self, id: &str) -> PathBuf {
        let mut config = self.config.clone();
        config["process"]["args"] = json!(["/bin/sleep", "1000000"]);
        config["mounts"] = json!([config["mounts"][0], config["mounts"][1]]);
        let linux = config["linux"].as_object_mut().expect("linux is an object");
        linux["namespaces"] = json!([{ "type": "mount" }, { "type": "pid" }]);
        linux.retain(|key, _| ["cgroupsPath", "namespaces"].contains(&key.as_str()));
        config
            .as_object_mut()
            .expect("config is an object")
            .remove("hostname");
        self.write(id, config)
    }

    fn write(&self, id: &str, mut config: Value) -> PathBuf {
        config["linux"]["cgroupsPath"] = json!(format!("/bench/{id}"));
        let dir = self.dir.join("bundles").join(id);
        fs::create_dir_all(&dir).expect("bundle directory");
        fs::write(dir.join("config.json"), config.to_string()).expect("config.json");
        dir
    }
}
