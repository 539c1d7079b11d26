//! process.apparmorProfile, process.selinuxLabel and linux.mountLabel.

use std::collections::HashMap;

use crate::error::{Context, Error, Result};
use crate::spec;
use crate::sys::fs;
use crate::sys::procfs::Procfs;

/// crun's annotation for the mount option that carries the label; Podman sets it.
const CONTEXT_TYPE: &str = "run.oci.mount_context_type";

/// Which security modules run on this host.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Modules {
    apparmor: bool,
    selinux: bool,
}

impl Modules {
    /// Looks, with three calls; only worth it when a label or profile is set.
    pub(crate) fn look() -> Modules {
        /// SELINUX_MAGIC of linux/magic.h.
        const SELINUX_MAGIC: i64 = 0xf97c_ff8c;
        Modules {
            apparmor: fs::stat("/sys/kernel/security/apparmor").is_ok()
                && fs::read_at(fs::CWD, "/sys/module/apparmor/parameters/enabled")
                    .is_ok_and(|enabled| enabled.starts_with('Y')),
            selinux: fs::open("/sys/fs/selinux", fs::OFlags::PATH)
                .and_then(fs::file_system)
                .is_ok_and(|kind| kind == SELINUX_MAGIC),
        }
    }
}

/// The profile and the label of the process, from its execve(2) on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lsm {
    apparmor: Option<String>,
    selinux: Option<String>,
}

impl Lsm {
    /// `modules` is asked only when something is set. Empty is as good as absent.
    ///
    /// # Errors
    /// A profile or a label that this host cannot enforce: to run without would be the wrong kind of kindness.
    pub(crate) fn plan(process: &spec::Process, modules: impl FnOnce() -> Modules) -> Result<Lsm> {
        let lsm = Lsm {
            apparmor: text("process.apparmorProfile", process.apparmor_profile())?,
            selinux: text("process.selinuxLabel", process.selinux_label())?,
        };
        if lsm == Lsm::default() {
            return Ok(lsm);
        }
        let modules = modules();
        if lsm.apparmor.is_some() && !modules.apparmor {
            return Err(Error::unsupported(
                "process.apparmorProfile: apparmor profile is specified in config, but apparmor is not enabled",
            ));
        }
        if lsm.selinux.is_some() && !modules.selinux {
            return Err(Error::unsupported(
                "process.selinuxLabel: selinux label is specified in config, but selinux is disabled or not supported",
            ));
        }
        Ok(lsm)
    }

    /// Makes new keys of this process carry the label, before the keyring is made.
    pub(crate) fn apply_to_keys(&self, procfs: &Procfs) -> Result<()> {
        let Some(label) = &self.selinux else {
            return Ok(());
        };
        match procfs.write_self("attr/keycreate", label) {
            // Kernels before 2.6.18 and those without keyrings.
            Err(error) if fs::is_missing(&error) => Ok(()),
            other => other.context(|| "setting the label of keys"),
        }
    }

    /// Sets what the next execve(2) changes to.
    pub(crate) fn apply(&self, procfs: &Procfs) -> Result<()> {
        if let Some(profile) = &self.apparmor {
            let text = format!("exec {profile}");
            let written = match procfs.write_self("attr/apparmor/exec", &text) {
                // Before Linux 5.8 AppArmor had no directory of its own.
                Err(error) if fs::is_missing(&error) => procfs.write_self("attr/exec", &text),
                other => other,
            };
            written.context(|| {
                format!(
                    "unable to apply apparmor profile: apparmor failed to apply profile {profile:?}"
                )
            })?;
        }
        if let Some(label) = &self.selinux {
            procfs
                .write_self("attr/exec", label)
                .context(|| format!("can't set process label {label:?}"))?;
        }
        Ok(())
    }
}

/// linux.mountLabel: the SELinux label of file systems that are made for the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountLabel {
    option: &'static str,
    label: String,
}

impl MountLabel {
    /// `None` without a label.
    pub(crate) fn plan(
        label: Option<&String>,
        annotations: Option<&HashMap<String, String>>,
    ) -> Result<Option<MountLabel>> {
        let Some(label) = text("linux.mountLabel", &label.cloned())? else {
            return Ok(None);
        };
        let wanted = annotations.and_then(|annotations| annotations.get(CONTEXT_TYPE));
        let option = match wanted.map(String::as_str) {
            None | Some("context") => "context",
            Some("fscontext") => "fscontext",
            Some("defcontext") => "defcontext",
            Some("rootcontext") => "rootcontext",
            Some(other) => {
                return Err(Error::config(format!(
                    "annotation {CONTEXT_TYPE}: unknown mount context type {other:?}"
                )));
            }
        };
        Ok(Some(MountLabel { option, label }))
    }

    /// The option for a fresh file system, as key and value for fsconfig(2). The value may have commas in it, so it is
    /// no text to put into a list of options. `None` for file systems that the policy labels itself.
    pub(crate) fn option_for(&self, kind: &str) -> Option<(&'static str, &str)> {
        match kind {
            "proc" | "sysfs" | "cgroup" | "cgroup2" => None,
            _ => Some((self.option, &self.label)),
        }
    }
}

/// A text that is not empty. What goes into one line of a kernel file has neither NUL nor newline.
fn text(property: &str, text: &Option<String>) -> Result<Option<String>> {
    let Some(text) = text.as_ref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text.contains(['\0', '\n']) {
        return Err(Error::config(format!(
            "{property}: {text:?} has a NUL or a newline in it"
        )));
    }
    Ok(Some(text.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(property: &str, modules: Modules) -> Result<Lsm> {
        let json = format!(r#"{{"cwd":"/","user":{{"uid":0,"gid":0}}{property}}}"#);
        Lsm::plan(&serde_json::from_str(&json).unwrap(), || modules)
    }

    #[test]
    fn modules_must_be_there() {
        let (none, all) = (
            Modules::default(),
            Modules {
                apparmor: true,
                selinux: true,
            },
        );
        let (profile, label) = (r#","apparmorProfile":"p""#, r#","selinuxLabel":"a:b:c:d""#);
        assert_eq!(plan("", none).unwrap(), Lsm::default());
        assert_eq!(
            plan(r#","apparmorProfile":"","selinuxLabel":"""#, none).unwrap(),
            Lsm::default()
        );
        assert_eq!(plan(profile, all).unwrap().apparmor.as_deref(), Some("p"));
        assert_eq!(
            plan(label, all).unwrap().selinux.as_deref(),
            Some("a:b:c:d")
        );
        for (property, modules, words) in [
            (profile, none, "but apparmor is not enabled"),
            (label, none, "but selinux is disabled or not supported"),
            (r#","apparmorProfile":"a\nb""#, all, "a newline"),
            (r#","selinuxLabel":"a\u0000""#, all, "a NUL"),
        ] {
            let error = plan(property, modules).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn mount_labels() {
        let label = "system_u:object_r:container_file_t:s0:c1,c2".to_owned();
        let note = |kind: &str| HashMap::from([(CONTEXT_TYPE.to_owned(), kind.to_owned())]);
        let (root_note, wrong_note) = (note("rootcontext"), note("size=1"));
        let plan = |label: &str, notes| MountLabel::plan(Some(&label.to_owned()), notes);
        assert_eq!(MountLabel::plan(None, None).unwrap(), None);
        assert_eq!(plan("", None).unwrap(), None);
        let planned = plan(&label, None).unwrap().unwrap();
        assert_eq!(
            planned.option_for("tmpfs"),
            Some(("context", label.as_str()))
        );
        assert_eq!(planned.option_for("proc"), None);
        assert_eq!(planned.option_for("sysfs"), None);
        let root = plan(&label, Some(&root_note)).unwrap().unwrap();
        assert_eq!(
            root.option_for("mqueue"),
            Some(("rootcontext", label.as_str()))
        );
        assert!(plan(&label, Some(&wrong_note)).is_err());
        assert!(plan("a\0", None).is_err());
    }
}
