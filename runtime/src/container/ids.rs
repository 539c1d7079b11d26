//! The ids that a system container is given: which range of the host's is found out when its directory is there, for that is
//! what holds the range.

use std::path::Path;

use super::Root;
use super::create::{CreateOptions, Survey};
use crate::error::Result;
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::setup::id_leases::{self, Ids};
use crate::setup::system;
use crate::spec::Spec;

/// For a first plan: as many ids as are wanted, whichever they are.
pub(super) fn prepare(spec: &mut Spec, host: &Host) -> Result<Option<u32>> {
    let size = system::ids::wanted(spec, host)?;
    if let Some(size) = size {
        system::ids::give(spec, Ids::any(size).first, size)?;
    }
    Ok(size)
}

/// Takes the range, and makes the plan anew with it. The caller holds the container's directory.
pub(super) fn lease(
    root: &Root,
    options: &CreateOptions,
    known: &mut Survey,
) -> Result<Option<Ids>> {
    let Some(size) = known.ids else {
        return Ok(None);
    };
    let ids = id_leases::take(&root.container_path(&options.id), size)?;
    let spec = &mut known.config.spec;
    system::ids::give(spec, ids.first, ids.size)?;
    let plan_options = options.for_plan(&known.bundle, true, true);
    let mut plan = Plan::new(spec, &plan_options, &known.host)?;
    plan.hooks.open_output()?;
    known.plan = plan;
    Ok(Some(ids))
}

impl CreateOptions {
    /// What of them goes into the plan.
    pub(super) fn for_plan<'a>(
        &'a self,
        bundle: &'a Path,
        system: bool,
        mapped: bool,
    ) -> plan::Options<'a> {
        plan::Options {
            id: &self.id,
            bundle,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            system,
            mapped,
        }
    }
}
