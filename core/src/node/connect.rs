//! The node's side: it asks its server for orders, and does what its policy allows.

use super::action::{Action, Order, Report};
use super::policy::Policy;
use crate::capture::CaptureOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::job::Task;
use crate::store::http::HttpOptions;
use crate::store::http::api::{Api, Ask};
use crate::store::{Store, Trust};
use crate::sys::state;
use crate::tree::update::UpdateOptions;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long the server lets us wait for an order.
const WAIT: Duration = Duration::from_secs(25);
/// Between two attempts when the server does not answer.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How a node is reached: by itself.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The server where the store lies, and mirrors to read from.
    pub server: HttpOptions,
    /// What `cvctl node add` printed.
    pub secret: Zeroizing<String>,
    /// The policy file. It is read for each order.
    pub policy: PathBuf,
    /// Where this host keeps its state; `None` is [`state::directory`].
    pub state: Option<PathBuf>,
    /// Told whether an order is being obeyed, for whoever ends the program.
    pub obeying: Arc<AtomicBool>,
}

impl ConnectOptions {
    /// A node of this server, with the secret that the server knows it by.
    #[must_use]
    pub fn new(server: HttpOptions, secret: &str, policy: impl Into<PathBuf>) -> Self {
        Self {
            server,
            secret: Zeroizing::new(secret.to_owned()),
            policy: policy.into(),
            state: None,
            obeying: Arc::default(),
        }
    }
}

/// Asks for orders and obeys, until the task is cancelled. What goes wrong with the server is told once, and tried again.
///
/// # Errors
/// `Invalid` for a policy that cannot be read at the beginning, or a secret that is none; `Cancelled`.
pub fn connect(options: &ConnectOptions, task: &Task) -> Result<()> {
    Policy::read(&options.policy)?;
    let api = Api::new(&options.server.url, &options.server.web, &options.secret, None)?;
    let path = format!("v1/orders?wait={}", WAIT.as_secs());
    let (mut pause, mut told) = (PAUSE.0, None);
    loop {
        task.check()?;
        let order = match api.once(&Ask { time: WAIT, ..Ask::new("GET", &path, &[]) }) {
            Ok(Ok(answer)) if answer.is_empty() => Ok(None),
            Ok(Ok(answer)) => serde_json::from_slice::<Order>(&answer)
                .map(Some)
                .map_err(|e| Error::new(ErrorKind::Network, "the order of the server cannot be read").cause(e)),
            Ok(Err(refused)) => Err(refused),
            Err(fault) => Err(Error::new(ErrorKind::Network, format!("{}: {fault}", api.url()))),
        };
        match order {
            Ok(order) => {
                if told.take().is_some() {
                    task.log(format!("{} answers", api.url()));
                }
                pause = PAUSE.0;
                if let Some(order) = order {
                    options.obeying.store(true, Ordering::Relaxed);
                    let obeyed = obey(&order, options, &api, task);
                    options.obeying.store(false, Ordering::Relaxed);
                    obeyed?;
                }
            }
            Err(e) => {
                let text = e.to_string();
                if told.as_ref() != Some(&text) {
                    task.warn(text.clone());
                    told = Some(text);
                }
                sleep(pause, task)?;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

fn sleep(pause: Duration, task: &Task) -> Result<()> {
    let until = Instant::now() + pause;
    while Instant::now() < until {
        task.check()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Does what was ordered, and says what became of it. Only the end of this program is an error.
fn obey(order: &Order, options: &ConnectOptions, api: &Api, task: &Task) -> Result<()> {
    let allowed = Policy::read(&options.policy).and_then(|policy| policy.check(&order.action).map(|()| policy));
    let report = match allowed {
        Err(why) => {
            task.warn(format!("refused: {why}"));
            Report::refused(&why)
        }
        Ok(policy) => {
            task.log(format!("ordered: {}", shown(&order.action)));
            if let Err(e) = say(api, order, &Report::running(), task)
                && e.kind() == ErrorKind::NotFound
            {
                task.log("nobody waits for it any more");
                return Ok(());
            }
            match perform(order, &policy, options, task) {
                Err(e) if e.kind() == ErrorKind::Cancelled => return Err(e),
                Err(e) => {
                    task.warn(format!("{}: {e}", shown(&order.action)));
                    Report::failed(&e)
                }
                Ok(result) => Report::done(result),
            }
        }
    };
    // One that does not get through is no loss: the order comes again, and what is done is found so.
    drop(say(api, order, &report, task));
    Ok(())
}

fn say(api: &Api, order: &Order, report: &Report, task: &Task) -> Result<()> {
    let path = format!("v1/orders/{}", order.id);
    let body = serde_json::to_vec(report).unwrap_or_default();
    let said = api.ask(&Ask::new("POST", &path, &body)).map(drop);
    if let Err(e) = &said {
        task.warn(format!("what became of it cannot be told: {e}"));
    }
    api.take_notes().into_iter().for_each(|note| task.log(note));
    said
}

fn shown(action: &Action) -> String {
    match action {
        Action::Capture { name, .. } => format!("a capture of {}", crate::shown::line(name)),
        Action::Update { image, dry_run: false, .. } => format!("an update to {}", crate::shown::line(image)),
        Action::Update { image, .. } => format!("what an update to {} would do", crate::shown::line(image)),
    }
}

fn perform(order: &Order, policy: &Policy, options: &ConnectOptions, task: &Task) -> Result<Value> {
    let in_json = |e| Error::new(ErrorKind::Bug, "the result has no JSON").cause(e);
    match &order.action {
        Action::Capture { name, tag, exclude, .. } => {
            let (allowed, token) = (policy.capture(name)?, order.token.as_deref());
            let token =
                token.ok_or_else(|| Error::new(ErrorKind::Network, "the server sent no token for a capture"))?;
            let how = CaptureOptions {
                exclude: allowed.exclude.iter().chain(exclude).cloned().collect(),
                tag: tag.clone(),
                state: options.state.clone(),
                ..CaptureOptions::default()
            };
            let done = Store::open_to(&options.server, token)?.capture(&allowed.root, name, &how, task)?;
            serde_json::to_value(done).map_err(in_json)
        }
        Action::Update { image, dry_run, protect } => {
            let allowed = policy.update(image)?;
            let mut store = Store::open_http(&options.server)?;
            if let Some(keys) = allowed.keys()? {
                let state = options.state.clone().unwrap_or_else(state::directory);
                store = store.trusting(Trust::new(keys).remembering(state));
            }
            let image = store.image(image)?;
            // The front of an id looks like a name.
            if image.release().is_none() {
                return Err(Error::refused("an update is to a generation of a name"));
            }
            let how = UpdateOptions {
                dry_run: *dry_run,
                protect: allowed.protect.iter().chain(protect).cloned().collect(),
                ..UpdateOptions::default()
            };
            serde_json::to_value(image.update(&allowed.root, &how, task)?).map_err(in_json)
        }
    }
}
