//! Kills and power cuts, again and again, judged by the oracle. The counts are a tenth of those of `cargo xtask soak`.

mod agent_dies;
mod agent_disk;
mod collector_dies;
mod collector_disk;
mod replay;
mod sync;
