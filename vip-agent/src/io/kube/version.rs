//! Which Kubernetes this is.

use kube::Client;

/// The oldest that is supported: its CEL knows addresses, its Services know `ipMode`, and
/// ValidatingAdmissionPolicy and FlowSchema are stable.
pub const OLDEST: Version = Version {
    major: 1,
    minor: 31,
};

/// A version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 1.
    pub major: u32,
    /// The release.
    pub minor: u32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The API server cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It did not say which version it is; to be asked again.
    #[error("asking the API server for its version: {0}")]
    Unanswered(#[from] kube::Error),
    /// It is too old.
    #[error("Kubernetes {found} is too old: {OLDEST} is the oldest that is supported")]
    TooOld {
        /// Its version.
        found: Version,
    },
    /// It says something else than a version.
    #[error("the API server says it has version {major:?}.{minor:?}: expected 1.{} or newer", OLDEST.minor)]
    Unknown {
        /// What it says.
        major: String,
        /// What it says.
        minor: String,
    },
}

/// Asks the API server for its version.
pub async fn check(client: &Client) -> Result<Version, VersionError> {
    let info = client.apiserver_version().await?;
    judge(&info.major, &info.minor)
}

/// Some vendors write `31+`.
fn judge(major: &str, minor: &str) -> Result<Version, VersionError> {
    let digits = |text: &str| text.trim_end_matches('+').parse().ok();
    let (Some(major_number), Some(minor_number)) = (digits(major), digits(minor)) else {
        return Err(VersionError::Unknown {
            major: major.to_owned(),
            minor: minor.to_owned(),
        });
    };
    let found = Version {
        major: major_number,
        minor: minor_number,
    };
    if found < OLDEST {
        return Err(VersionError::TooOld { found });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_and_all_later_ones_are_taken() {
        for minor in ["31", "31+", "37"] {
            assert!(judge("1", minor).is_ok(), "{minor}");
        }
        assert!(judge("2", "0").is_ok());
    }

    #[test]
    fn an_older_one_is_refused_by_its_name() {
        let error = judge("1", "30+").unwrap_err();
        let text = "Kubernetes 1.30 is too old: 1.31 is the oldest that is supported";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn what_is_no_version_is_refused_as_such() {
        assert!(matches!(judge("", ""), Err(VersionError::Unknown { .. })));
    }
}
