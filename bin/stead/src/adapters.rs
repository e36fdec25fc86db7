//! The ports of delivery and the API, on the real gateway, blob store and driver.

mod artifacts;
mod gateway_port;

pub(crate) use artifacts::BlobArtifacts;
pub(crate) use gateway_port::GatewayFiles;
