//! The engines of this machine with the runtime under test below them: what `tests/engine_*.rs` share.
//!
//! An engine is started, and its image made, once for all tests of a file. The test environment
//! (`hack/env`) has no controllers and may not raise limits, so the engines are told not to ask there.

use crate::{Call, CgroupDriver, Runtime, cgroup_dirs_named, has_controller, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// The name of the image that tests run.
pub const IMAGE: &str = "localhost/bb";

/// A directory for all tests of this process, open to every user.
pub fn engine_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = PathBuf::from(format!("/tmp/engine-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        open_to_all(&dir);
        let io = dir.join("io");
        fs::create_dir(&io).unwrap();
        open_to_all(&io);
        dir
    })
}

/// Lets every user use a directory.
pub fn open_to_all(dir: &Path) {
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
}

/// A call of a program as in a shell in `/`.
pub fn engine_call(program: &str) -> Call {
    Call::of(program, &engine_dir().join("io")).cwd("/")
}

/// A path there that no other call has.
pub fn fresh_path(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    engine_dir().join(format!("{name}-{count}"))
}

/// Starts a daemon, its log in `PROGRAM.log`, and waits until the call `asks` is answered with success.
/// It is told to end when this process ends.
pub fn engine_daemon(program: &str, args: &[&str], env: &[(&str, &str)], asks: impl Fn() -> Call) {
    // A parent-death signal would come at the end of the test's thread, a pipe is closed with the process.
    static DAEMONS: Mutex<Vec<Child>> = Mutex::new(Vec::new());
    let script = r#""$@" </dev/null & read -r end; kill $!; wait"#;
    let log = fs::File::create(engine_dir().join(format!("{program}.log"))).unwrap();
    let daemon = Command::new("sh")
        .args(["-c", script, "sh", program])
        .args(args)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    DAEMONS.lock().unwrap().push(daemon);
    until(program, || (asks().run().code() == Some(0)).then_some(()));
}

/// A tar archive of the image's root: busybox under all its names, and the user tester (1000).
pub fn image_tar() -> &'static Path {
    static TAR: OnceLock<PathBuf> = OnceLock::new();
    TAR.get_or_init(|| {
        let dir = engine_dir();
        let script = "
            mkdir -p image/bin image/etc image/root && mkdir -m 1777 image/tmp
            cp /bin/busybox image/bin/
            chroot image /bin/busybox --install -s /bin
            printf 'root:x:0:0:root:/root:/bin/sh\\ntester:x:1000:1000::/:/bin/sh\\n' >image/etc/passwd
            printf 'root:x:0:\\ntester:x:1000:\\n' >image/etc/group
            tar -C image -cf image.tar .";
        engine_call("sh")
            .args(["-euc", script])
            .cwd(dir)
            .run()
            .ok();
        dir.join("image.tar")
    })
}

/// A containers.conf for Podman and Buildah: the runtime under test under the name `under-test`, and
/// the cgroup driver of this test run.
pub fn containers_conf() -> &'static Path {
    static CONF: OnceLock<PathBuf> = OnceLock::new();
    CONF.get_or_init(|| {
        let path = engine_dir().join("containers.conf");
        let runtime = Runtime::get().path().display();
        let driver = CgroupDriver::get().name();
        let pids = match has_controller("pids") {
            true => "",
            false => "pids_limit = 0\n",
        };
        let text = format!(
            "[containers]\n{pids}default_ulimits = [\"nofile=1024:4096\", \"nproc=4096:4096\"]\n\
             [engine]\ncgroup_manager = \"{driver}\"\nevents_logger = \"file\"\n\
             runtime = \"under-test\"\nruntime_supports_json = [\"under-test\"]\n\
             runtime_supports_nocgroup = [\"under-test\"]\nruntime_supports_nocgroups = [\"under-test\"]\n\
             [engine.runtimes]\nunder-test = [\"{runtime}\"]\n"
        );
        fs::write(&path, text).unwrap();
        path
    })
}

/// Waits until nothing on the host has to do with a container any more: no mount that names it, no
/// cgroup, no state of a runtime. The engines tidy up behind a runtime that has done its part.
#[track_caller]
pub fn wait_nothing_left(id: &str) {
    assert!(id.len() > 2, "{id:?} is no id");
    until(&format!("{id} to be gone"), || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let cgroups = [id.to_string(), format!("libpod-{id}")];
        let states = ["/run", "/run/containerd/runc/default", "/run/user/1000"];
        let known = ["vzrun", "runc", "crun", "."].iter().any(|runtime| {
            let mut dirs = states.iter().map(|dir| Path::new(dir).join(runtime));
            dirs.any(|dir| dir.join(id).exists())
        });
        let found = known
            || mounts.contains(id)
            || cgroups
                .iter()
                .any(|name| !cgroup_dirs_named(name).is_empty());
        (!found).then_some(())
    });
}

fn image_of(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/images/current");
    dir.join(format!("{name}.tar"))
}

/// Whether `hack/images` has made it: not always that of sid, which does not install on some days.
pub fn has_distribution(name: &str) -> bool {
    image_of(name).exists()
}

/// The root file system of a distribution that `hack/images` has made, as a tar archive.
pub fn distribution(name: &str) -> PathBuf {
    let tar = image_of(name);
    assert!(
        tar.exists(),
        "{} is not there: run hack/images",
        tar.display()
    );
    tar
}
