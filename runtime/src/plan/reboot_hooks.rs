//! The annotation io.vzrun.reboot_hooks: which hooks of a system container run at each of its boots, and not at the first alone.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::hooks::Point;

/// Names of points with commas between: `createContainer,startContainer`.
const ANNOTATION: &str = "io.vzrun.reboot_hooks";

/// The points that are in the container, where the keeper can run something. At the others vzrun runs hooks on the host, and at
/// a reboot it is not there.
const POSSIBLE: [Point; 2] = [Point::CreateContainer, Point::StartContainer];

/// What is to run at a reboot.
#[derive(Debug, Default)]
pub(crate) struct RebootHooks(Vec<Point>);

impl RebootHooks {
    /// Nothing without the annotation.
    ///
    /// # Errors
    /// It names what cannot be run then.
    pub(crate) fn plan(annotations: Option<&HashMap<String, String>>) -> Result<RebootHooks> {
        let text = annotations.and_then(|all| all.get(ANNOTATION));
        let names = text.iter().flat_map(|text| text.split(',')).map(str::trim);
        let points = names.filter(|name| !name.is_empty()).map(point);
        points.collect::<Result<_>>().map(RebootHooks)
    }

    pub(crate) fn has(&self, point: Point) -> bool {
        self.0.contains(&point)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn point(name: &str) -> Result<Point> {
    let wanted = |point: &Point| point.name() == name;
    if let Some(point) = POSSIBLE.into_iter().find(wanted) {
        return Ok(point);
    }
    let why = match Point::ALL.iter().any(wanted) {
        true => "these hooks run on the host, where nobody is at a reboot",
        false => "there are no such hooks",
    };
    let [first, second] = POSSIBLE.map(Point::name);
    Err(Error::config(format!(
        "annotation {ANNOTATION}: {name:?}: {why}; it can name {first} and {second}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<RebootHooks> {
        let annotations = HashMap::from([(ANNOTATION.to_owned(), text.to_owned())]);
        RebootHooks::plan(Some(&annotations))
    }

    #[test]
    fn what_runs_at_a_reboot() {
        for (text, create, start) in [
            ("", false, false),
            ("createContainer", true, false),
            ("startContainer, createContainer,", true, true),
        ] {
            let hooks = plan(text).unwrap();
            let has = (
                hooks.has(Point::CreateContainer),
                hooks.has(Point::StartContainer),
            );
            assert_eq!(has, (create, start), "{text:?}");
            assert_eq!(hooks.is_empty(), !create && !start);
        }
        assert!(RebootHooks::plan(None).unwrap().is_empty());
        for (text, words) in [
            ("poststart", "run on the host"),
            ("createContainer,prestart", "run on the host"),
            ("createcontainer", "no such hooks"),
        ] {
            let error = plan(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
