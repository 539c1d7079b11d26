//! process.user: user and group ids, additional groups, umask.

use std::collections::HashMap;

use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::spec;
use crate::sys::{ids, process};

/// umask(2) where the spec names none, as runc has it.
const DEFAULT_UMASK: u32 = 0o022;

/// crun's annotation by which Podman keeps the groups of the user who runs it.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// What the container's user namespace maps, where this is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mappings<'a> {
    /// linux.uidMappings.
    pub(crate) uids: &'a [spec::LinuxIdMapping],
    /// linux.gidMappings.
    pub(crate) gids: &'a [spec::LinuxIdMapping],
}

/// Who the process of the container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The user id, as the container sees it.
    pub(crate) uid: u32,
    /// The group id, as the container sees it.
    pub(crate) gid: u32,
    /// The file mode creation mask.
    pub(crate) umask: u32,
    groups: Groups,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Groups {
    /// Those that the process has anyway.
    Keep,
    /// Just these.
    Set(Vec<u32>),
    /// None; but where the user namespace denies setgroups(2), those that the process has anyway.
    None,
}

impl User {
    /// `mappings` is `None` without a user namespace of the container's, and where it is joined and not described.
    /// `rootless`: vzrun has no power over the host, so its user namespaces may deny setgroups(2).
    pub(crate) fn plan(
        user: &spec::User,
        mappings: Option<Mappings<'_>>,
        rootless: bool,
        annotations: Option<&HashMap<String, String>>,
    ) -> Result<User> {
        let additional = user.additional_gids().as_deref().unwrap_or_default();
        // The largest number means "leave it as it is" to setresuid(2): the program would run as root.
        let ids = [user.uid(), user.gid()];
        if ids.iter().chain(additional).any(|id| *id == u32::MAX) {
            let text = "process.user: uids and gids must be in range 0-4294967294";
            return Err(Error::config(text));
        }
        if let Some(Mappings { uids, gids }) = mappings {
            if !is_mapped(uids, user.uid()) {
                return Err(unmapped("process.user.uid", "uid", user.uid()));
            }
            if !is_mapped(gids, user.gid()) {
                return Err(unmapped("process.user.gid", "gid", user.gid()));
            }
            if let Some(gid) = additional.iter().find(|gid| !is_mapped(gids, **gid)) {
                return Err(unmapped("process.user.additionalGids", "gid", *gid));
            }
        }
        let keep = annotations
            .and_then(|annotations| annotations.get(KEEP_GROUPS))
            .is_some_and(|value| value == "1");
        let groups = match (keep, additional) {
            // As with crun, the annotation wins: setgroups(2) is what would lose the groups.
            (true, _) => Groups::Keep,
            (false, []) if rootless => Groups::None,
            (false, gids) => Groups::Set(gids.to_vec()),
        };
        let umask = user.umask().unwrap_or(DEFAULT_UMASK);
        if umask > 0o777 {
            return Err(Error::config(format!(
                "process.user.umask: {umask:#o} has bits beyond 0777"
            )));
        }
        Ok(User {
            uid: user.uid(),
            gid: user.gid(),
            umask,
            groups,
        })
    }

    /// Becomes the user: groups first, the user id last, because each needs what the next takes away.
    pub(crate) fn apply(&self) -> Result<()> {
        let words = || "becoming process.user";
        self.set_groups().context(words)?;
        ids::set_gid(self.gid).context(words)?;
        ids::set_uid(self.uid).context(words)?;
        process::umask(self.umask);
        Ok(())
    }

    fn set_groups(&self) -> Result<()> {
        match &self.groups {
            Groups::Keep => Ok(()),
            Groups::Set(gids) => {
                ids::set_groups(gids).context(|| "setting process.user.additionalGids")
            }
            Groups::None => match ids::set_groups(&[]) {
                // Denied in /proc/self/setgroups: the user namespace was made without newgidmap.
                Err(error) if error.errno() == Some(Errno::PERM) => Ok(()),
                other => other,
            },
        }
    }
}

fn is_mapped(mappings: &[spec::LinuxIdMapping], id: u32) -> bool {
    mappings.iter().any(|mapping| {
        id.checked_sub(mapping.container_id())
            .is_some_and(|offset| offset < mapping.size())
    })
}

/// runc's words, with the property in front.
fn unmapped(property: &str, kind: &str, id: u32) -> Error {
    Error::config(format!(
        "{property}: cannot set{kind} to unmapped {kind} {id} in user namespace"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(container: u32, size: u32) -> Vec<spec::LinuxIdMapping> {
        let json = format!(r#"[{{"containerID":{container},"hostID":100000,"size":{size}}}]"#);
        serde_json::from_str(&json).unwrap()
    }

    fn user(json: &str) -> spec::User {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn ids_must_be_mapped() {
        let (uids, gids) = (mapping(0, 10), mapping(5, 1));
        for (json, wrong) in [
            (r#"{"uid":9,"gid":5}"#, None),
            (r#"{"uid":10,"gid":5}"#, Some("setuid to unmapped uid 10")),
            (r#"{"uid":0,"gid":4}"#, Some("setgid to unmapped gid 4")),
            (r#"{"uid":0,"gid":6}"#, Some("setgid to unmapped gid 6")),
            (
                r#"{"uid":0,"gid":5,"additionalGids":[5,7]}"#,
                Some("additionalGids: cannot setgid to unmapped gid 7"),
            ),
        ] {
            let mappings = Mappings {
                uids: &uids,
                gids: &gids,
            };
            let result = User::plan(&user(json), Some(mappings), false, None);
            match wrong {
                None => assert!(result.is_ok(), "{json}"),
                Some(text) => assert!(result.unwrap_err().to_string().contains(text), "{json}"),
            }
            assert!(User::plan(&user(json), None, false, None).is_ok(), "{json}");
        }
    }

    #[test]
    fn ids_that_mean_something_else_to_the_kernel() {
        for json in [
            r#"{"uid":4294967295,"gid":5}"#,
            r#"{"uid":0,"gid":4294967295}"#,
            r#"{"uid":0,"gid":0,"additionalGids":[4294967295]}"#,
        ] {
            let error = User::plan(&user(json), None, false, None).unwrap_err();
            assert!(error.to_string().contains("must be in range"), "{error}");
        }
    }

    #[test]
    fn groups_and_umask() {
        let keep = HashMap::from([(KEEP_GROUPS.to_owned(), "1".to_owned())]);
        let off = HashMap::from([(KEEP_GROUPS.to_owned(), "0".to_owned())]);
        let some = user(r#"{"uid":1,"gid":2,"additionalGids":[3,4],"umask":63}"#);
        let none = user(r#"{"uid":1,"gid":2}"#);
        let plan = |user, rootless, notes| User::plan(user, None, rootless, notes).unwrap();
        assert_eq!(
            plan(&some, true, Some(&off)).groups,
            Groups::Set(vec![3, 4])
        );
        assert_eq!(plan(&some, true, None).umask, 0o77);
        assert_eq!(plan(&none, false, None).groups, Groups::Set(vec![]));
        assert_eq!(plan(&none, true, None).groups, Groups::None);
        assert_eq!(plan(&none, true, Some(&keep)).groups, Groups::Keep);
        assert_eq!(plan(&none, true, None).umask, DEFAULT_UMASK);
        assert_eq!(plan(&some, true, Some(&keep)).groups, Groups::Keep);
        let wide = user(r#"{"uid":1,"gid":2,"umask":512}"#);
        assert!(User::plan(&wide, None, false, None).is_err());
    }
}
