//! Conditions, without the times that the API server keeps.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Object;

/// A condition of a Service or a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: &'static str,
    /// True or false.
    pub status: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// On a Service, false: an address that it ought to have was refused. Absent: all is well.
pub const ALLOCATED: &str = "xvip.io/Allocated";
/// On a Service, true: there is something that its users should know. Absent: all is well.
pub const WARNING: &str = "xvip.io/Warning";
/// On a pool, false: a part of its spec means nothing.
pub const VALID: &str = "Valid";
/// On a pool, true: another pool has some of its addresses.
pub const OVERLAPPING: &str = "Overlapping";

/// `message` of a condition may have 32,768 bytes; people read less.
const LONGEST_MESSAGE: usize = 1024;

impl Condition {
    pub(super) fn new(kind: &'static str, status: bool, reason: &str, mut message: String) -> Self {
        if message.len() > LONGEST_MESSAGE {
            message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
            message.push_str(" ...");
        }
        Self {
            kind,
            status,
            reason: reason.to_owned(),
            message,
        }
    }

    /// It says that something is wrong with a pool.
    pub fn faults_pool(&self) -> bool {
        match self.kind {
            VALID => !self.status,
            OVERLAPPING => self.status,
            _ => false,
        }
    }

    /// Those of our types, by type.
    pub(super) fn ours<'a>(conditions: impl Iterator<Item = &'a Object>) -> Vec<Self> {
        let read = conditions.filter_map(|condition| {
            let kinds = [ALLOCATED, OVERLAPPING, VALID, WARNING];
            Some(Self {
                kind: kinds.into_iter().find(|kind| *kind == condition.type_)?,
                status: condition.status == "True",
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            })
        });
        let mut ours: Vec<_> = read.collect();
        ours.sort_by_key(|condition| condition.kind);
        ours
    }
}
