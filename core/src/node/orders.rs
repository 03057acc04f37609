//! What nodes are asked for, as it lies in the store: whoever asks and the server that hands it out need not know each other.
//!
//! ```text
//!  orders/<node>/<id>          action, expires        the ids of later ones are greater
//!  orders/<node>/<id>.report   what the node says of it: running, then done, failed or refused
//!  orders/HEAD                 the id of the last one of any node: one look for all that wait
//! ```

use super::action::{Action, Order, Report, State};
use crate::error::{Error, ErrorKind, Result};
use crate::store::name::check_image_name;
use crate::store::sealed::{seal, unseal};
use crate::store::token::is_id;
use crate::store::{Ref, Store, TokenOptions};
use crate::sys::clock;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const KIND: &str = "order";
const REPORT: &str = "report";
const LIMIT: u64 = 64 << 10;
/// How long a token counts that a node gets with an order: it may have much to send.
const SENDING: Duration = Duration::from_secs(24 * 3600);
/// Seconds that an order is given again after its time, to a node that was ended in its middle.
const GOES_ON: i64 = 3600;
/// Orders of a node that may wait.
const WAITING: usize = 64;
/// How often a node may begin with an order: one that it does not survive is not given for ever.
const BEGINNINGS: u32 = 5;
/// No node is called so.
const LAST: &str = "orders/HEAD";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderFile {
    // In the order of their names, which is the canonical order of the JSON.
    action: Action,
    /// Seconds since 1970; who has not come for it by then gets it no more.
    expires: i64,
}

/// What a node said of an order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    // In the order of their names, as above.
    /// How often it was given to a node that then began.
    begun: u32,
    report: Report,
}

fn dir(node: &str) -> String {
    format!("orders/{node}")
}

fn key(node: &str, id: &str) -> String {
    format!("{}/{id}", dir(node))
}

fn report_key(node: &str, id: &str) -> String {
    format!("{}/{id}.report", dir(node))
}

/// Later ones are greater, as far as clocks go.
fn new_id() -> String {
    let (seconds, nanos) = clock::now();
    let millis = u64::try_from(seconds).unwrap_or(0) * 1000 + u64::from(nanos / 1_000_000);
    format!("{millis:012x}{:04x}", clock::random_u64() & 0xffff)
}

impl Store {
    /// Puts down what a node is asked for; gives the id.
    ///
    /// # Errors
    /// `NotFound` when the node is not known; `Invalid` for a bad name; `Limit` when too many wait; those of the backend.
    pub(crate) fn put_order(&self, node: &str, action: &Action, lifetime: Duration) -> Result<String> {
        match action {
            Action::Capture { name, .. } => _ = check_image_name(name)?,
            Action::Update { image, .. } => _ = Ref::parse(image)?,
        }
        self.node(node)?;
        self.remove_ended(node)?;
        if self.order_ids(node)?.len() >= WAITING {
            return Err(Error::limit(format!("{WAITING} orders wait for {node} already")));
        }
        let until = clock::now().0.saturating_add(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
        let (id, file) = (new_id(), OrderFile { action: action.clone(), expires: until });
        self.blobs().create(&key(node, &id), &seal(KIND, &file))?;
        if let Err(e) = self.blobs().put(LAST, id.as_bytes()) {
            // What cannot be taken back is given to nobody after its time.
            drop(self.remove_order(node, &id));
            return Err(e);
        }
        Ok(id)
    }

    /// The id of the last order of any node: another one than before means that there is something new.
    ///
    /// # Errors
    /// Those of the backend.
    #[cfg(feature = "server")]
    pub(crate) fn last_order(&self) -> Result<Option<Vec<u8>>> {
        match self.blobs().get(LAST, LIMIT) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            bytes => bytes.map(Some),
        }
    }

    /// The ids of the orders of a node, the oldest first.
    fn order_ids(&self, node: &str) -> Result<Vec<String>> {
        let mut ids: Vec<String> = self.blobs().list(&dir(node))?.into_iter().filter(|n| is_id(n)).collect();
        ids.sort();
        Ok(ids)
    }

    /// The next order for a node, with what it needs. It is given as often as it is asked for, until there is a report that ends
    /// it: who was ended in the middle gets it again.
    ///
    /// # Errors
    /// Those of the backend.
    pub(crate) fn next_order(&self, node: &str) -> Result<Option<Order>> {
        let now = clock::now().0;
        for id in self.order_ids(node)? {
            // Where nobody can tell what the node said of it nothing is done twice.
            let kept = match self.kept(node, &id) {
                Err(e) if e.kind() == ErrorKind::Integrity => continue,
                kept => kept?,
            };
            if kept.as_ref().is_some_and(|k| k.report.is_final()) {
                continue;
            }
            let Some(OrderFile { action, expires }) = self.read_order(node, &id)? else { continue };
            if kept.as_ref().is_some_and(|k| k.begun >= BEGINNINGS) {
                let why = format!("it has begun {BEGINNINGS} times, and was ended each time");
                self.put_report(node, &id, &Report::failed(&Error::new(ErrorKind::Failed, why)))?;
                continue;
            }
            // What was begun is gone on with for a while.
            let until = if kept.is_none() { expires } else { expires.saturating_add(GOES_ON) };
            if until < now {
                continue;
            }
            // It has begun before, and asks again: it was ended in the middle.
            if let Some(Kept { begun, report }) = kept {
                self.blobs().put(&report_key(node, &id), &seal(REPORT, &Kept { begun: begun + 1, report }))?;
            }
            let token = match &action {
                Action::Capture { name, max_size, .. } => {
                    let options = TokenOptions { name: name.clone(), max_size: *max_size, expires: Some(SENDING) };
                    // Of the same id: whoever gets the order again goes on with what was sent.
                    Some(self.renew_token(&id, &options)?.to_string())
                }
                Action::Update { .. } => None,
            };
            // It may have been taken back meanwhile, and its token with it.
            if self.read_order(node, &id)?.is_none() {
                self.remove_order(node, &id)?;
                continue;
            }
            return Ok(Some(Order { id, action, token }));
        }
        Ok(None)
    }

    /// One that is damaged is none.
    fn read_order(&self, node: &str, id: &str) -> Result<Option<OrderFile>> {
        match self.blobs().get(&key(node, id), LIMIT) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            bytes => Ok(unseal(KIND, &bytes?).ok()),
        }
    }

    /// What a node says of an order.
    ///
    /// # Errors
    /// `Integrity` when it is damaged; those of the backend.
    pub(crate) fn report(&self, node: &str, id: &str) -> Result<Option<Report>> {
        Ok(self.kept(node, id)?.map(|k| k.report))
    }

    fn kept(&self, node: &str, id: &str) -> Result<Option<Kept>> {
        let key = report_key(node, id);
        match self.blobs().get(&key, super::action::REPORT_LIMIT as u64 * 2) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            bytes => unseal(REPORT, &bytes?).map(Some).map_err(|e| Error::from(e).context(&key).fact("object", key)),
        }
    }

    /// Keeps what a node says of an order, unless that has ended.
    ///
    /// # Errors
    /// `NotFound` when there is no such order; those of the backend.
    pub(crate) fn put_report(&self, node: &str, id: &str, report: &Report) -> Result<()> {
        if !is_id(id) || self.blobs().size(&key(node, id))?.is_none() {
            return Err(Error::not_found("there is no such order"));
        }
        let old = self.kept(node, id)?;
        // The same once more, or of one that was given twice.
        if old.as_ref().is_some_and(|k| k.report.is_final()) {
            return Ok(());
        }
        let kept = Kept { begun: old.map_or(0, |k| k.begun).max(1), report: report.clone() };
        self.blobs().put(&report_key(node, id), &seal(REPORT, &kept))?;
        // It may have been taken back meanwhile, and nobody would remove what is said of it. The end of it is heard all the same: that
        // may be why it was.
        if self.blobs().size(&key(node, id))?.is_none() {
            self.blobs().delete(&report_key(node, id))?;
            if !report.is_final() {
                return Err(Error::not_found("there is no such order any more"));
            }
        }
        // Who has not done it has nothing more to send.
        if report.is_final() && report.state != State::Done {
            self.forget_token(id)?;
        }
        Ok(())
    }

    /// Takes an order back. What a node has begun goes on.
    ///
    /// # Errors
    /// Those of the backend.
    pub(crate) fn remove_order(&self, node: &str, id: &str) -> Result<()> {
        self.blobs().delete_all(&[key(node, id), report_key(node, id)])?;
        self.forget_token(id)
    }

    fn forget_token(&self, id: &str) -> Result<()> {
        match self.remove_token(id) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Removes orders whose end nobody has waited for, and those that nobody has come for.
    fn remove_ended(&self, node: &str) -> Result<()> {
        let now = clock::now().0;
        for id in self.order_ids(node)? {
            let old = self.read_order(node, &id)?.is_none_or(|o| o.expires < now);
            // One that was begun is gone on with for a while; of what is damaged nobody can say that.
            let over = |kept: Result<Option<Kept>>| match kept {
                Err(e) if e.kind() == ErrorKind::Integrity => Ok(true),
                kept => Ok::<_, Error>(kept?.is_none_or(|k| k.report.is_final())),
            };
            if old && over(self.kept(node, &id))? {
                self.remove_order(node, &id)?;
            }
        }
        Ok(())
    }
}
