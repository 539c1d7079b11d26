//! A bundle: root filesystem, config.json, and a state root, in a directory of the test's own.

use crate::{
    Call, CgroupDriver, Container, Output, Runtime, default_config, host, rootfs, rootless_config,
    wait_exit,
};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A bundle in a directory of its own, which holds:
/// `bundle/` (config.json, rootfs), `root/` (for `--root`), `io/` (captured output), and whatever
/// the test puts there. All of it goes when this is dropped, containers included.
#[derive(Debug)]
pub struct Bundle {
    home: PathBuf,
    id: String,
    config: Mutex<Value>,
    user: Option<(u32, u32)>,
    runtime: &'static Runtime,
}

impl Bundle {
    /// A bundle with [`default_config`].
    pub fn new() -> Bundle {
        Bundle::make(default_config(), None)
    }

    /// A bundle that belongs to this user, with [`rootless_config`]; all calls are made as the user.
    pub fn rootless(uid: u32, gid: u32) -> Bundle {
        let bundle = Bundle::make(rootless_config(uid, gid), Some((uid, gid)));
        bundle.chown_rootfs(uid, gid);
        bundle
    }

    /// The same with its containers made by this runtime instead of the one under test.
    pub fn by(mut self, runtime: &'static Runtime) -> Bundle {
        self.runtime = runtime;
        self
    }

    /// The runtime that makes its containers.
    pub fn runtime(&self) -> &'static Runtime {
        self.runtime
    }

    fn make(config: Value, user: Option<(u32, u32)>) -> Bundle {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_micros()
            & 0xff_ffff;
        let id = format!("t{:x}-{time:x}-{count}", std::process::id());
        let home = rootfs::base_dir().join(&id);
        fs::create_dir(&home).unwrap();
        for dir in ["bundle", "root", "io"] {
            fs::create_dir(home.join(dir)).unwrap();
        }
        rootfs::make(&home.join("bundle/rootfs"));
        if let Some((uid, gid)) = user {
            for dir in ["", "bundle", "root", "io"] {
                chown(home.join(dir), Some(uid), Some(gid)).unwrap();
            }
        }
        let bundle = Bundle {
            home,
            id,
            config: Mutex::new(config),
            user,
            runtime: Runtime::get(),
        };
        match CgroupDriver::get().default_path(&bundle.id, user.is_some()) {
            Some(path) => bundle.set("/linux/cgroupsPath", json!(path)),
            None => bundle.change(|_| ()),
        }
        bundle
    }

    /// The id of its first container, different in every test.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory that holds everything of this bundle.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The bundle's directory, for `--bundle`.
    pub fn dir(&self) -> PathBuf {
        self.home.join("bundle")
    }

    /// The state directory, for `--root`.
    pub fn root(&self) -> PathBuf {
        self.home.join("root")
    }

    /// A path in the root filesystem (with or without the leading `/`).
    pub fn rootfs(&self, path: &str) -> PathBuf {
        self.home
            .join("bundle/rootfs")
            .join(path.trim_start_matches('/'))
    }

    /// Puts a file into the root filesystem, with the directories that it needs.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.rootfs(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Changes the owner of all that is in the root filesystem. The programs in it, hard links till
    /// then, become copies.
    pub fn chown_rootfs(&self, uid: u32, gid: u32) {
        rootfs::own_programs(&self.rootfs("/"));
        let done = Call::of("chown", &self.home.join("io"))
            .args(["-hR", &format!("{uid}:{gid}")])
            .arg(self.rootfs("/"));
        done.run().ok();
    }

    /// A call of the runtime with `--root`, the cgroup driver and the arguments.
    pub fn call<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Call {
        let call = self.bare_call().arg("--root").arg(self.root());
        let args = args.into_iter().map(|arg| arg.as_ref().to_string());
        call.args(CgroupDriver::get().flag()).args(args)
    }

    /// A call of the runtime with no flags at all, as this bundle's user.
    pub fn bare_call(&self) -> Call {
        let call = Call::of(self.runtime.path(), &self.home.join("io"));
        match self.user {
            Some((uid, gid)) => call.as_user(uid, gid),
            None => call,
        }
    }

    /// The bundle's container, not yet created.
    pub fn container(&self) -> Container<'_> {
        Container::new(self, &self.id)
    }

    /// A further container of this bundle: its id is the bundle's with `-name` added.
    pub fn container_named(&self, name: &str) -> Container<'_> {
        Container::new(self, &format!("{}-{name}", self.id))
    }

    /// A copy of the config as it is now.
    pub fn config(&self) -> Value {
        self.config.lock().unwrap().clone()
    }

    /// Replaces the whole config.
    pub fn set_config(&self, config: Value) {
        self.change(|all| *all = config);
    }

    /// Writes these bytes as config.json, whatever they are.
    pub fn raw_config(&self, bytes: impl AsRef<[u8]>) {
        fs::write(self.dir().join("config.json"), bytes).unwrap();
    }

    /// Sets the value at a JSON pointer, making the objects on the way. In an array, a number
    /// replaces that item and `-` adds one.
    pub fn set(&self, pointer: &str, value: Value) {
        self.change(|all| *place(all, pointer) = value);
    }

    /// Adds an item to the array at a JSON pointer, made if it is not there.
    pub fn push(&self, pointer: &str, value: Value) {
        self.change(|all| {
            let array = place(all, pointer);
            if array.is_null() {
                *array = json!([]);
            }
            array
                .as_array_mut()
                .expect("push: not an array")
                .push(value);
        });
    }

    /// Removes what is at a JSON pointer; it must be there.
    pub fn remove(&self, pointer: &str) {
        let (parent, key) = pointer
            .rsplit_once('/')
            .expect("a JSON pointer begins with /");
        let gone = |all: &mut Value| match all.pointer_mut(parent)? {
            Value::Object(map) => map.remove(key),
            Value::Array(list) => Some(list.remove(key.parse().ok()?)),
            _ => None,
        };
        self.change(|all| assert!(gone(all).is_some(), "nothing at {pointer}"));
    }

    /// Sets what the container runs.
    pub fn args<S: AsRef<str>>(&self, args: &[S]) {
        let args = args.iter().map(AsRef::as_ref).collect::<Vec<_>>();
        self.set("/process/args", json!(args));
    }

    /// Adds a variable (`K=V`) to the container's environment.
    pub fn env(&self, variable: &str) {
        self.push("/process/env", json!(variable));
    }

    /// Adds a mount.
    pub fn mount(&self, mount: Value) {
        self.push("/mounts", mount);
    }

    /// Sets all five capability sets to these.
    pub fn capabilities(&self, names: &[&str]) {
        for set in [
            "bounding",
            "effective",
            "permitted",
            "inheritable",
            "ambient",
        ] {
            self.set(&format!("/process/capabilities/{set}"), json!(names));
        }
    }

    /// Adds a namespace, or replaces the one of the same type.
    pub fn namespace(&self, namespace: Value) {
        self.without_namespace(namespace["type"].as_str().expect("a namespace has a type"));
        self.push("/linux/namespaces", namespace);
    }

    /// Takes a namespace out, so that the container shares the host's.
    pub fn without_namespace(&self, kind: &str) {
        self.change(|all| {
            let list = all["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|namespace| namespace["type"] != kind);
        });
    }

    /// What there still is of it on the host: processes, mounts, cgroups, state directories, leases of ids. A
    /// process that has been killed may take a moment to be gone, and gets it.
    pub fn leftovers(&self) -> Vec<String> {
        let stays = |process: &String| {
            let pid = process.split(' ').next().and_then(|pid| pid.parse().ok());
            !wait_exit(pid.unwrap(), Duration::from_secs(5))
        };
        let processes = host::processes_of(&self.home).into_iter().filter(stays);
        let processes = processes.map(|p| format!("process {p}"));
        let mounts = host::mounts_under(&self.home).into_iter();
        let mounts = mounts.map(|m| format!("mount {}", m.display()));
        let cgroups = host::cgroups_left(&self.id, self.runtime.kind()).into_iter();
        let cgroups = cgroups.map(|c| format!("cgroup {}", c.display()));
        let states = self.state_ids().into_iter().map(|id| format!("state {id}"));
        let leases = host::leases_of(&self.root()).into_iter();
        let leases = leases.map(|l| format!("lease {l}"));
        processes
            .chain(mounts)
            .chain(cgroups)
            .chain(states)
            .chain(leases)
            .collect()
    }

    /// The names of the directories in the state root.
    pub fn state_ids(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root()) else {
            return Vec::new();
        };
        let dirs = entries
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
        let names = dirs.map(|entry| entry.file_name().to_string_lossy().into_owned());
        // A leading dot is a runtime's own business (a cache), not an id.
        names.filter(|name| !name.starts_with('.')).collect()
    }

    /// A `cgroupsPath` that the harness chose follows the container that is made next: two
    /// containers cannot have one scope.
    pub(crate) fn move_default_cgroup(&self, id: &str) {
        let path = |id: &str| CgroupDriver::get().default_path(id, self.user.is_some());
        let (Some(first), Some(wanted)) = (path(&self.id), path(id)) else {
            return;
        };
        let config = self.config();
        let present = config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
        if present.starts_with(&first) && present != wanted {
            self.set("/linux/cgroupsPath", json!(wanted));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut config = self.config.lock().unwrap();
        change(&mut config);
        self.raw_config(serde_json::to_vec_pretty(&*config).unwrap());
    }
}

impl Default for Bundle {
    fn default() -> Bundle {
        Bundle::new()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for id in self.state_ids() {
            self.call(["delete", "--force", &id]).run();
        }
        let mounts = host::mounts_under(&self.home);
        for mount in mounts.iter().rev() {
            // Before the tree is removed: what lies behind a mount is not ours to remove.
            let _ = rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH);
        }
        let removed = fs::remove_dir_all(&self.home);
        if !std::thread::panicking() {
            assert!(mounts.is_empty(), "mounts left behind: {mounts:?}");
            removed.unwrap_or_else(|e| panic!("{}: {e}", self.home.display()));
        }
    }
}

/// The value at a JSON pointer; what is not there on the way is made.
fn place<'v>(mut value: &'v mut Value, pointer: &str) -> &'v mut Value {
    assert!(
        pointer.starts_with('/'),
        "{pointer:?}: a JSON pointer begins with /"
    );
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        if !value.is_array() && !value.is_object() {
            *value = json!({});
        }
        value = match value {
            Value::Array(list) => {
                if key == "-" {
                    list.push(Value::Null);
                }
                let index = if key == "-" {
                    list.len() - 1
                } else {
                    key.parse().unwrap()
                };
                list.get_mut(index)
                    .unwrap_or_else(|| panic!("{pointer}: not so many items"))
            }
            Value::Object(map) => map.entry(key).or_insert(Value::Null),
            _ => unreachable!(),
        };
    }
    value
}

/// Runs the bundle with `/probe report` and gives what it saw.
#[track_caller]
pub fn probe_report(bundle: &Bundle) -> Value {
    bundle.args(&["/probe", "report"]);
    probe_report_of(&bundle.container().run())
}

/// The report in the output of a call that ran the probe.
#[track_caller]
pub fn probe_report_of(output: &Output) -> Value {
    output.clone().ok().json()
}
