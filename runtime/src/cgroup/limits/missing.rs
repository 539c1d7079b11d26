//! Why a cgroup does not have the file of a limit. Asked only when it is too late, so it may cost something.

use rustix::io::Errno;

use super::Cgroup;
use super::setting::Setting;
use crate::cgroup::Hierarchy;
use crate::cgroup::controllers::{self, Above};
use crate::error::errno_text;

/// The reason, and a way out.
pub(super) fn why(cgroup: &Cgroup, setting: &Setting) -> String {
    let controller = setting.controller();
    let file = &setting.file;
    if controller == "cgroup" {
        return format!("this kernel has no {file}");
    }
    if controllers::available(cgroup).is_ok_and(|all| has(&all, controller)) {
        return match controller {
            "hugetlb" => format!("this machine has no {file} (see /sys/kernel/mm/hugepages)"),
            "memory" if file.starts_with("memory.swap") => {
                format!(
                    "this kernel has no {file} (swap is not accounted: boot with swapaccount=1)"
                )
            }
            _ => format!("this kernel has no {file}"),
        };
    }
    let not_available = format!("controller {controller:?} not available");
    let Ok(hierarchy) = Hierarchy::open() else {
        return not_available;
    };
    match hierarchy.find_refusal(&cgroup.path, controller) {
        None => not_available,
        Some((Above::Root, _)) => {
            let off = match controller {
                "memory" => "; it may be switched off, too: cgroup_enable=memory",
                _ => "",
            };
            format!(
                "{not_available} in {}: if cgroup v1 has it, boot with systemd.unified_cgroup_hierarchy=1{off}",
                hierarchy.mount.display()
            )
        }
        Some((Above::Cgroup(path), errno)) => {
            let because = match errno {
                Errno::BUSY => {
                    " (a cgroup with processes of its own cannot hand controllers down: they must move to a cgroup below it)"
                }
                Errno::ACCESS | Errno::PERM | Errno::ROFS => " (not delegated to the caller)",
                Errno::OPNOTSUPP | Errno::NOENT => " (not there, or the cgroup is threaded)",
                _ => "",
            };
            format!(
                "{not_available}: the cgroup {} does not hand it down: {}{because}",
                path.display(),
                errno_text(errno)
            )
        }
    }
}

fn has(controllers: &str, name: &str) -> bool {
    controllers.split_whitespace().any(|have| have == name)
}
