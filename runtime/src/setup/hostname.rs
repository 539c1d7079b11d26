//! hostname and domainname.

use crate::error::{Context, Error, Result};
use crate::sys::namespace;

/// The longest name that the kernel takes (`__NEW_UTS_LEN`).
const LIMIT: usize = 64;

/// The names of the UTS namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hostname {
    host: Option<String>,
    domain: Option<String>,
}

impl Hostname {
    /// An empty name is as good as none. `own_uts`: the spec lists a UTS namespace, new or joined.
    pub(crate) fn plan(
        hostname: Option<&str>,
        domainname: Option<&str>,
        own_uts: bool,
    ) -> Result<Hostname> {
        Ok(Hostname {
            host: name("hostname", hostname, own_uts)?,
            domain: name("domainname", domainname, own_uts)?,
        })
    }

    /// Sets the names of the present UTS namespace.
    pub(crate) fn apply(&self) -> Result<()> {
        if let Some(host) = &self.host {
            namespace::sethostname(host).context(|| "setting the hostname")?;
        }
        if let Some(domain) = &self.domain {
            namespace::setdomainname(domain).context(|| "setting the domainname")?;
        }
        Ok(())
    }
}

fn name(property: &str, name: Option<&str>, own_uts: bool) -> Result<Option<String>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if !own_uts {
        return Err(Error::config(format!(
            "unable to set {property} without a private UTS namespace"
        )));
    }
    if name.len() > LIMIT {
        return Err(Error::config(format!(
            "{property}: longer than {LIMIT} bytes"
        )));
    }
    if name.contains('\0') {
        return Err(Error::config(format!("{property}: contains a NUL")));
    }
    Ok(Some(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "x".repeat(65);
        for (host, domain, uts, wrong) in [
            (None, None, false, None),
            (Some(""), Some(""), false, None),
            (Some("a"), Some("b.c"), true, None),
            (Some(&long[..64]), None, true, None),
            (
                Some("a"),
                None,
                false,
                Some("unable to set hostname without a private UTS namespace"),
            ),
            (
                None,
                Some("a"),
                false,
                Some("unable to set domainname without a private UTS namespace"),
            ),
            (Some(long.as_str()), None, true, Some("hostname: longer")),
            (Some("a\0"), None, true, Some("hostname: contains a NUL")),
        ] {
            match (Hostname::plan(host, domain, uts), wrong) {
                (Ok(_), None) => {}
                (Err(error), Some(text)) => assert!(error.to_string().contains(text), "{error}"),
                (got, expected) => panic!("{host:?} {domain:?}: {got:?}, not {expected:?}"),
            }
        }
    }
}
