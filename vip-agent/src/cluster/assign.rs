//! `Vip`s as they are, compared with who has what.

use std::net::IpAddr;

use super::{
    Cluster,
    allocate::Stock,
    annotation::Wish,
    decide::Decision,
    service::Service,
    vip::{Assignment, Vip},
};

/// A `Vip` to be written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Its life: it is not created.
    pub uid: String,
    /// What was read: a write of somebody else's since then is read first.
    pub resource_version: String,
    /// Its spec.
    pub assignment: Assignment,
}

/// A `Vip` to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its address.
    pub address: IpAddr,
    /// Its life: a later one is left alone.
    pub uid: String,
    /// What was read: a Service may have joined since.
    pub resource_version: String,
}

/// Says what there is to create, to write anew and to delete.
pub(super) fn compare(cluster: &Cluster, stock: &Stock<'_>, decision: &mut Decision) {
    let mut taken: Vec<IpAddr> = stock.tenants.keys().copied().collect();
    taken.sort_unstable();
    for address in taken {
        let vip = cluster.vips.get(&address);
        let Some(wanted) = assignment(address, vip, cluster, stock) else {
            continue;
        };
        match vip {
            None if cluster.promised.get(&address) == Some(&wanted) => {}
            None => decision.create.push(wanted),
            Some(vip) if vip.assignment == wanted => {}
            Some(vip) => decision.update.push(Update {
                uid: vip.uid.clone(),
                resource_version: vip.resource_version.clone(),
                assignment: wanted,
            }),
        }
    }
    let vips = cluster.vips.values();
    let ours = vips.filter(|vip| !vip.assignment.control_plane);
    let unused = ours.filter(|vip| {
        let tenants = stock.tenants.get(&vip.assignment.address);
        tenants.is_none_or(|tenants| tenants.settled().next().is_none())
    });
    decision.delete.extend(unused.map(|vip| Deletion {
        address: vip.assignment.address,
        uid: vip.uid.clone(),
        resource_version: vip.resource_version.clone(),
    }));
}

/// What the `Vip` of an address ought to say; none: nobody has it.
fn assignment(
    address: IpAddr,
    vip: Option<&Vip>,
    cluster: &Cluster,
    stock: &Stock<'_>,
) -> Option<Assignment> {
    let tenants: Vec<&Service> = stock.tenants.get(&address)?.settled().collect();
    let first = tenants.first()?;
    let before = vip.map(|vip| &vip.assignment);
    let pool = pool(address, first, before, cluster, stock);
    let known = pool.as_ref().and_then(|name| cluster.pools.get(name));
    // A pool that is gone still says what its addresses are like.
    let inherited = || before.filter(|_| pool.is_some() && known.is_none());
    let unreadable = tenants.iter().any(|service| service.wish.is_err());
    let own = tenants
        .iter()
        .map(|service| super::sharing::interfaces(service))
        .find(|globs| !globs.is_empty());
    let texts = |globs: &[crate::config::Glob]| {
        let globs = globs.iter();
        globs.map(|glob| glob.as_str().to_owned()).collect()
    };
    let interfaces = match (own, before, known) {
        (Some(globs), ..) => texts(globs),
        (None, Some(before), _) if unreadable => before.interfaces.clone(),
        (None, _, Some(pool)) => texts(&pool.interfaces),
        (None, ..) => inherited().map_or_else(Vec::new, |before| before.interfaces.clone()),
    };
    let share_key = match (first.share_key(), before) {
        (Some(key), _) => Some(key.to_owned()),
        (None, Some(before)) if first.wish.is_err() => before.share_key.clone(),
        (None, _) => None,
    };
    Some(Assignment {
        address,
        services: tenants.iter().map(|service| service.key.clone()).collect(),
        control_plane: false,
        share_key,
        interfaces,
        prefix: match known {
            Some(pool) => pool.prefix.clone(),
            None => inherited().and_then(|before| before.prefix.clone()),
        },
        pool,
    })
}

/// The pool of an address: the one it was taken from, while that holds it, else another that
/// holds it now and is for the Service.
fn pool(
    address: IpAddr,
    service: &Service,
    before: Option<&Assignment>,
    cluster: &Cluster,
    stock: &Stock<'_>,
) -> Option<String> {
    let recorded = before.and_then(|before| before.pool.as_ref());
    let recorded = recorded.or_else(|| stock.origins.get(&address));
    let holds = |name: &String| cluster.pools.get(name).is_some_and(|p| p.contains(address));
    if let Some(recorded) = recorded.filter(|name| holds(name)) {
        return Some(recorded.clone());
    }
    let anything = Wish::default();
    let wish = service.wish.as_ref().unwrap_or(&anything);
    match stock.pool_for(service, wish, address) {
        Ok(Some(pool)) => Some(pool.name.clone()),
        _ => recorded.cloned(),
    }
}
