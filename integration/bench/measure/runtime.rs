//! The programs under measurement and how each case is said to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bundles::Bundles;
use crate::process::{Sample, eight_at_a_time, timed, wait_for};

/// Where the containers' cgroups are.
pub(crate) const CGROUPS: &str = "/sys/fs/cgroup/bench";

/// An OCI runtime, or the floor.
pub(crate) struct Runtime {
    /// What the table calls it.
    pub(crate) name: String,
    path: PathBuf,
    floor: bool,
    scratch: PathBuf,
}

impl Runtime {
    /// The program at `path`; `floor` says that it is the floor.
    pub(crate) fn new(name: &str, path: &Path, scratch: &Path) -> Runtime {
        let floor = name == "floor";
        Runtime {
            name: name.to_owned(),
            path: path.to_owned(),
            floor,
            scratch: scratch.to_owned(),
        }
    }

    /// Is it the floor, which has no state?
    pub(crate) fn is_floor(&self) -> bool {
        self.floor
    }

    /// The id of this program's container in a case.
    pub(crate) fn id(&self, case: &str) -> String {
        format!("{}-{case}", self.name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(args);
        command
    }

    /// `run` in the foreground, to the end of /bin/true.
    pub(crate) fn run(&self, bundles: &Bundles) -> Result<Sample, String> {
        let id = self.id("run");
        if self.floor {
            let bundle = text(bundles.base());
            return timed(&mut self.command(&["run", &bundle, &format!("{CGROUPS}/{id}")]));
        }
        let bundle = text(&bundles.short(&id));
        timed(&mut self.command(&["run", "--bundle", &bundle, &id]))
    }

    /// The same under a seccomp filter.
    pub(crate) fn run_filtered(&self, bundles: &Bundles) -> Result<Sample, String> {
        let id = self.id("filtered");
        if self.floor {
            let (program, bundle) = (text(&bundles.program()), text(bundles.base()));
            let cgroup = format!("{CGROUPS}/{id}");
            return timed(&mut self.command(&["filtered", &program, &bundle, &cgroup]));
        }
        let bundle = text(&bundles.filtered(&id));
        timed(&mut self.command(&["run", "--bundle", &bundle, &id]))
    }

    /// create, start, the end of /bin/true, delete. For the floor that is what it does in one.
    pub(crate) fn life(&self, bundles: &Bundles) -> Result<Sample, String> {
        if self.floor {
            return self.run(bundles);
        }
        let id = self.id("life");
        let bundle = text(&bundles.short(&id));
        let pid_file = self.scratch.join(&id);
        let mut create = self.command(&[
            "create",
            "--bundle",
            &bundle,
            "--pid-file",
            &text(&pid_file),
            &id,
        ]);
        let created = timed(&mut create)?;
        let pid = read_pid(&pid_file)?;
        let started = timed(&mut self.command(&["start", &id]))?;
        // The container's process is ours since its parent is gone.
        let clock = std::time::Instant::now();
        let end = wait_for(pid)?;
        let ended = Sample {
            wall: clock.elapsed().as_nanos() as u64,
            rss: end.rss,
        };
        let deleted = timed(&mut self.command(&["delete", &id]))?;
        Ok(created.then(started).then(ended).then(deleted))
    }

    /// Starts the container that `exec` and `state` are measured on; gives its pid.
    pub(crate) fn start_sleeper(&self, bundles: &Bundles) -> Result<u32, String> {
        let id = self.id("sleep");
        let pid_file = self.scratch.join(&id);
        timed(&mut self.detached(bundles, &id, &pid_file, Bundles::sleeper))?;
        read_pid(&pid_file)
    }

    /// The command that starts a sleeper and returns.
    fn detached(
        &self,
        bundles: &Bundles,
        id: &str,
        pid_file: &Path,
        make: impl Fn(&Bundles, &str) -> PathBuf,
    ) -> Command {
        let pid_file = text(pid_file);
        if self.floor {
            let cgroup = format!("{CGROUPS}/{id}");
            return self.command(&["start", &text(bundles.base()), &cgroup, &pid_file]);
        }
        let bundle = text(&make(bundles, id));
        self.command(&[
            "run",
            "--detach",
            "--bundle",
            &bundle,
            "--pid-file",
            &pid_file,
            id,
        ])
    }

    /// `exec /bin/true` in the sleeper.
    pub(crate) fn exec(&self, sleeper: u32) -> Result<Sample, String> {
        let id = self.id("sleep");
        if self.floor {
            let cgroup = format!("{CGROUPS}/{id}");
            return timed(&mut self.command(&["exec", &sleeper.to_string(), &cgroup]));
        }
        timed(&mut self.command(&["exec", &id, "/bin/true"]))
    }

    /// `state` of a container; the floor of that is a program that starts and ends.
    pub(crate) fn state(&self, id: &str) -> Result<Sample, String> {
        timed(&mut if self.floor {
            self.command(&["nothing"])
        } else {
            self.command(&["state", id])
        })
    }

    /// `list`, with as many containers as there are.
    pub(crate) fn list(&self) -> Result<Sample, String> {
        timed(&mut self.command(&["list"]))
    }

    /// Starts `count` containers, eight at a time.
    pub(crate) fn start_many(
        &self,
        bundles: &Bundles,
        case: &str,
        count: usize,
    ) -> Result<Sample, String> {
        let make = if case == "light" {
            Bundles::light
        } else {
            Bundles::sleeper
        };
        let command = |number| {
            let id = format!("{}-{number}", self.id(case));
            self.detached(bundles, &id, &self.scratch.join(&id), make)
        };
        eight_at_a_time((0..count).map(command).collect())
    }

    /// Deletes them, eight at a time.
    pub(crate) fn delete_many(&self, case: &str, count: usize) -> Result<Sample, String> {
        let ids = (0..count).map(|number| format!("{}-{number}", self.id(case)));
        if self.floor {
            ids.for_each(|id| kill_cgroup(&id));
            return Ok(Sample::default());
        }
        eight_at_a_time(
            ids.map(|id| self.command(&["delete", "--force", &id]))
                .collect(),
        )
    }

    /// Ends the sleeper.
    pub(crate) fn delete_sleeper(&self) -> Result<Sample, String> {
        let id = self.id("sleep");
        if self.floor {
            kill_cgroup(&id);
            return Ok(Sample::default());
        }
        timed(&mut self.command(&["delete", "--force", &id]))
    }
}

/// Kills what is in a floor's cgroup, reaps it and removes the cgroup.
fn kill_cgroup(id: &str) {
    let dir = format!("{CGROUPS}/{id}");
    let Ok(pids) = fs::read_to_string(format!("{dir}/cgroup.procs")) else {
        return;
    };
    fs::write(format!("{dir}/cgroup.kill"), "1").expect("cgroup.kill");
    for pid in pids.lines() {
        wait_for(parse_pid(pid).expect("a pid")).expect("the floor's sleeper");
    }
    fs::remove_dir(dir).expect("an empty cgroup");
}

fn read_pid(file: &Path) -> Result<u32, String> {
    let pid = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    parse_pid(&pid)
}

fn parse_pid(pid: &str) -> Result<u32, String> {
    pid.trim()
        .parse()
        .map_err(|error| format!("pid {pid:?}: {error}"))
}

fn text(path: &Path) -> String {
    path.to_str().expect("paths of ours are text").to_owned()
}
