//! The name of the user who created a container.

use std::collections::HashMap;

/// Names by uid, from the host's /etc/passwd, read when first needed.
#[derive(Debug, Default)]
pub(super) struct Owners {
    names: Option<HashMap<u32, String>>,
}

impl Owners {
    /// The name, or `#uid` where it has none.
    pub(super) fn name(&mut self, uid: u32) -> String {
        let names = self.names.get_or_insert_with(|| {
            parse(&std::fs::read_to_string("/etc/passwd").unwrap_or_default())
        });
        names
            .get(&uid)
            .cloned()
            .unwrap_or_else(|| format!("#{uid}"))
    }
}

/// The first line of a uid counts.
fn parse(passwd: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(Ok(uid))) =
            (fields.next(), fields.next(), fields.next().map(str::parse))
        {
            names.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    #[test]
    fn names() {
        let names = super::parse("root:x:0:0::/:\ntoor:x:0:0\njunk\nme:x:1000:1\n:\n");
        assert_eq!(names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(names.get(&1000).map(String::as_str), Some("me"));
        assert_eq!(names.len(), 2);
    }
}
