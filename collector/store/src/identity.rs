//! What is kept of a device's identity beside its present certificate.

use firstline_collector_core::lineage::Lineage;
use firstline_model::Timestamp;

/// See the fields. A device of which nothing was noted yet has an empty one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceIdentity {
    /// Fingerprint of the authority that issued the present certificate; `None` when that was never noted.
    pub issuer: Option<String>,
    /// A renewed certificate that the device has not shown yet. Until it does, the present one stays good, so that an
    /// answer that was lost locks nobody out.
    pub next: Option<NextCertificate>,
    /// Where the chain of its streams stands.
    pub lineage: Option<Lineage>,
}

/// A certificate that waits for its first use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextCertificate {
    /// SHA-256, hex.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: Timestamp,
    /// Fingerprint of the authority that issued it.
    pub issuer: String,
}
