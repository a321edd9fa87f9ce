//! Clusters for tests: in one process, over networks with faults, on disks that lose power. Feature `testing`.

mod cluster;
mod disk;
mod links;

pub use self::cluster::{Cluster, ClusterBuilder};
pub use self::disk::{Disk, DiskBackend};
pub use self::links::{From, Links};
