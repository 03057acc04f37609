//! Says that somebody has ordered something from nodes: all that wait hear of it by one look into the store.

use super::Shared;
use super::object::blocking;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks into the store.
const LOOK: Duration = Duration::from_millis(500);
/// The same, where each look is paid for.
const REMOTE: Duration = Duration::from_secs(2);

/// What waiting nodes listen to.
pub(super) struct Bell(watch::Sender<()>);

impl Default for Bell {
    fn default() -> Self {
        Self(watch::channel(()).0)
    }
}

impl Bell {
    /// Whoever looks into the store after this misses nothing: what is ordered later rings.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

/// Looks for orders as long as somebody waits for one, until the server ends.
pub(super) async fn watch(shared: Arc<Shared>) {
    let (mut stop, mut last) = (shared.stop.clone(), None);
    let pause = if shared.store.blobs().is_remote() { REMOTE } else { LOOK };
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => return,
        }
        if shared.bell.0.receiver_count() == 0 {
            continue;
        }
        // A store that cannot be read tells so to those who wait, when they look at last.
        if let Ok(order) = blocking(&shared, crate::store::Store::last_order).await
            && order != last
        {
            last = order;
            shared.bell.0.send_replace(());
        }
    }
}
