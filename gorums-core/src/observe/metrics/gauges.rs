//! Gauges that do not outlive what they tell of.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Weak};

use metrics::{SharedString, gauge};

use crate::sync::Mutex;

pub(crate) type Labels = Vec<(&'static str, SharedString)>;

/// All that are published in this process.
static PUBLISHED: LazyLock<Mutex<HashMap<Labels, Weak<Gauges>>>> = LazyLock::new(Mutex::default);

/// The gauges with the same labels, shared by all in this process who publish them, as a node and the one that took its
/// place. When the last of these is gone, the gauges are set to 0.
pub(crate) struct Gauges {
    labels: Labels,
    /// Those that were set.
    names: Mutex<BTreeSet<&'static str>>,
}

impl Gauges {
    pub(crate) fn of(labels: Labels) -> Arc<Self> {
        let mut published = PUBLISHED.lock();
        if let Some(found) = published.get(&labels).and_then(Weak::upgrade) {
            return found;
        }
        let gauges = Arc::new(Self { labels: labels.clone(), names: Mutex::default() });
        published.insert(labels, Arc::downgrade(&gauges));
        gauges
    }

    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }

    pub(crate) fn set(&self, name: &'static str, value: f64) {
        self.names.lock().insert(name);
        gauge!(name, &self.labels).set(value);
    }
}

impl Drop for Gauges {
    /// With the lock held, so that whoever begins to publish under these labels meanwhile does so afterwards.
    fn drop(&mut self) {
        let this = std::ptr::from_ref::<Self>(self);
        let mut published = PUBLISHED.lock();
        if published.get(&self.labels).is_some_and(|newest| newest.as_ptr() == this) {
            published.remove(&self.labels);
            for name in std::mem::take(&mut *self.names.lock()) {
                gauge!(name, &self.labels).set(0.0);
            }
        }
    }
}
