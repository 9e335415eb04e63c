//! `serve`: the order of start and of drain.
#![expect(clippy::print_stdout, reason = "the lines that say where the collector listens are its interface")]

use crate::authority::Authority;
use crate::backtest::{self, Backtests};
use crate::cli::ServeArgs;
use crate::ingest::admission::{self, Admission};
use crate::ingest::enroll::Enroller;
use crate::ingest::identity::say_conflict;
use crate::ingest::listener::{self, Kind};
use crate::ingest::registry::{EndReason, Notice, Registry};
use crate::ingest::session::Sessions;
use crate::ingest::worker::{self, Changed, Ingest, Work};
use crate::knowledge::{self, Knowledge, Reload};
use crate::telemetry::{self, Figures};
use crate::trust::{self, Identities};
use crate::web::{self, WebContext};
use crate::{clock, expiry, private, quiet_times, retention, secret, site, writable};
use anyhow::{Context, Result, bail};
use axum::Router;
use firstline_collector_core::quiet::Quiet;
use firstline_collector_core::sla::Calendar;
use firstline_collector_store::record::DeviceStatus;
use firstline_collector_store::{Store, engines};
use firstline_proto::limits;
use firstline_proto::v1::enrollment_server::EnrollmentServer;
use firstline_proto::v1::session_server::SessionServer;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, watch};

/// How often changes that other processes made (revocations) are looked for. A look is one step in an index, about 20 us; a
/// revoked device must be cut within a second.
const STATUS_POLL: Duration = Duration::from_millis(200);
/// How long the sign-in link for the first administrator holds.
const SETUP_LINK: Duration = Duration::from_secs(24 * 3600);

/// Where a running collector listens, for the other commands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Listeners {
    pub agents: SocketAddr,
    pub web: SocketAddr,
}

impl Listeners {
    /// What the last `serve` of this data folder wrote.
    pub(crate) fn read(data: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(data.join("listeners.json")).ok()?).ok()
    }

    fn write(&self, data: &Path) -> Result<()> {
        let path = data.join("listeners.json");
        let text = serde_json::to_string(self).context("cannot write the addresses as text")?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

pub(crate) fn command(data: &Path, args: &ServeArgs) -> Result<ExitCode> {
    telemetry::start(&args.log);
    private::create_folder(data)?;
    let _lock = lock(data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(serve(data, args))?;
    Ok(ExitCode::SUCCESS)
}

/// One `serve` per data folder.
fn lock(data: &Path) -> Result<File> {
    let path = data.join("serve.lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another collector serves {} already; stop it first", data.display())
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Opens the store of a data folder.
pub(crate) fn open_store(data: &Path, engine: &str) -> Result<Arc<dyn Store>> {
    let Some(found) = engines::engine(engine) else {
        let known: Vec<&str> = engines::ENGINES.iter().map(|engine| engine.name).collect();
        bail!("there is no store called {engine:?} in this build; known are {}", known.join(", "));
    };
    (found.open)(data).with_context(|| format!("cannot open the store in {}", data.display()))
}

async fn serve(data: &Path, args: &ServeArgs) -> Result<()> {
    let store = open_store(data, &args.store)?;
    let authority = Authority::open(data)?;
    let knowledge =
        Arc::new(Knowledge::open(&data.join(knowledge::FOLDER)).context("the rule pack is refused")?);
    for problem in knowledge.problems().iter() {
        tracing::warn!(problem = %problem, "a knowledge file is refused; the built-in pack is in force");
    }
    let agents = bind(&args.agents).await?;
    let web_listener = bind(&args.web).await?;
    let listeners = Listeners {
        agents: agents.local_addr().context("the agents' listener has no address")?,
        web: web_listener.local_addr().context("the web listener has no address")?,
    };

    let (stop_sender, stop) = watch::channel(false);
    let registry = Arc::new(Registry::default());
    let figures = Arc::new(Figures::default());
    let (changes, _) = broadcast::channel(1024);
    let tell = {
        let changes = changes.clone();
        // Nobody may be following.
        move |changed: Changed| {
            let change = web::Change { site: changed.site, device: changed.device, tickets: changed.tickets };
            let _ = changes.send(change);
        }
    };
    let running = knowledge.running().set.with_quiet(Quiet::standard());
    let clock = clock::system();
    let (ingest, worker) = worker::start(
        Arc::clone(&store),
        Arc::clone(&clock),
        Arc::new(running),
        Arc::clone(&registry),
        Arc::clone(&figures),
        Arc::new(tell),
        stop.clone(),
    );

    let names = certificate_names(args, &listeners);
    let lifetime = args.certificate_lifetime;
    let identities = Identities::new(authority, &names)?;
    ingest.set_trust(identities.trust(lifetime));
    let admission = Admission::new(admission::system());
    let grpc = tonic::service::Routes::new(
        SessionServer::new(Sessions::new(Arc::clone(&ingest), Arc::clone(&admission)))
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES),
    )
    .add_service(
        EnrollmentServer::new(Enroller::new(
            Arc::clone(&store),
            Arc::clone(&identities.authority),
            lifetime,
            clock,
            admission,
        ))
        .max_decoding_message_size(64 << 10),
    )
    .into_axum_router();
    quiet_times::load(&ingest).await?;
    let fleet_changes = changes.clone();
    let backtests = backtests(&store, &knowledge, args.keep_records);
    let pages = pages(&store, &knowledge, &ingest, &figures, &backtests, changes);
    let mut tasks = vec![
        tokio::spawn(listener::serve(
            Kind::Agents,
            agents,
            Arc::clone(&identities.agents),
            grpc,
            stop.clone(),
        )),
        tokio::spawn(listener::serve(
            Kind::Web,
            web_listener,
            Arc::clone(&identities.web),
            pages,
            stop.clone(),
        )),
        tokio::spawn(trust::follow(
            data.to_owned(),
            names,
            lifetime,
            identities.clone(),
            Arc::clone(&ingest),
            stop.clone(),
        )),
        tokio::spawn(expiry::follow(
            identities.clone(),
            Arc::clone(&ingest),
            move |tickets| {
                // Nobody may be following.
                let _ = fleet_changes.send(web::Change { site: None, device: None, tickets });
            },
            stop.clone(),
        )),
        tokio::spawn(quiet_times::follow(Arc::clone(&ingest), stop.clone())),
        tokio::spawn(follow_status(Arc::clone(&ingest), stop.clone())),
        tokio::spawn(writable::follow(Arc::clone(&store), Arc::clone(&figures), stop.clone())),
        tokio::spawn(clock::follow(data.to_owned(), stop.clone())),
        tokio::spawn(retention::follow(Arc::clone(&store), clock::system(), args.keep_records, stop.clone())),
        worker,
    ];
    tasks.extend(follow_knowledge(&knowledge, &ingest, stop.clone()));

    listeners.write(data)?;
    println!("listening agents {}", listeners.agents);
    println!("listening web https://{}", listeners.web);
    if let Some(link) = setup_link(&store, &listeners).await? {
        println!("first sign-in {link}");
    }
    stop_requested().await;
    tracing::info!("stopping");
    backtests.stop();
    registry.tell_all(&Notice::End(EndReason::Stopping));
    // Nobody listens any more when all tasks have ended already.
    let _ = stop_sender.send(true);
    for task in tasks {
        if tokio::time::timeout(Duration::from_secs(5), task).await.is_err() {
            tracing::warn!("a task did not end in time");
        }
    }
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}; is another program there, or is the address not of this machine?"
        )
    })
}

/// Names in the web certificate: what was given, the host's, and loopback.
fn certificate_names(args: &ServeArgs, listeners: &Listeners) -> Vec<String> {
    let mut names = args.name.clone();
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    if !listeners.web.ip().is_unspecified() {
        names.push(listeners.web.ip().to_string());
    }
    names.sort();
    names.dedup();
    names
}

fn pages(
    store: &Arc<dyn Store>,
    knowledge: &Arc<Knowledge>,
    ingest: &Arc<Ingest>,
    figures: &Arc<Figures>,
    backtests: &Arc<Backtests>,
    changes: broadcast::Sender<web::Change>,
) -> Router {
    let (metrics_figures, registry) = (Arc::clone(figures), Arc::clone(&ingest.registry));
    let touched = {
        let ingest = Arc::clone(ingest);
        move |device: &firstline_model::DeviceId| {
            ingest.registry.tell(device, Notice::Diagnostics);
            // A full queue means that the worker reads the device again soon enough: a conflict makes it.
            let _ = ingest.work.try_send(Work::Forget { device: device.clone() });
        }
    };
    let watch = {
        let registry = Arc::clone(&ingest.registry);
        move |device: &firstline_model::DeviceId, time: Duration| registry.tell(device, Notice::Live(time))
    };
    web::router(WebContext {
        store: Arc::clone(store),
        clock: Arc::new(clock::now),
        random: Arc::new(|bytes: &mut [u8]| secret::fill(bytes).map_err(|_| web::NoRandomness)),
        knowledge: Arc::new(site::Entries::new(Arc::clone(knowledge))),
        health: Arc::new(site::Condition { figures: Arc::clone(figures), seen: Mutex::new((0, 0)) }),
        backtests: Arc::clone(backtests),
        changes,
        touched: Arc::new(touched),
        watch: Arc::new(watch),
        calendar: Calendar { utc_offset_minutes: 0 },
        metrics: Arc::new(move |text: &mut String| metrics_figures.render(registry.count(), text)),
    })
}

/// Back-tests over the rules that are in force when they are asked for.
fn backtests(store: &Arc<dyn Store>, knowledge: &Arc<Knowledge>, kept_for: Duration) -> Arc<Backtests> {
    let knowledge = Arc::clone(knowledge);
    let judge = move |text: &str| {
        let running = knowledge.running();
        backtest::judge(&running.set, &running.sources, "the change", text)
    };
    Arc::new(Backtests::new(Arc::clone(store), clock::system(), Box::new(judge), kept_for))
}

/// Why the stream of a device with this status ends.
fn withdrawn(status: DeviceStatus) -> EndReason {
    match status {
        DeviceStatus::Quarantined => EndReason::Quarantined,
        DeviceStatus::Active | DeviceStatus::Revoked | DeviceStatus::Retired => EndReason::Revoked,
    }
}

/// Cuts the streams of devices whose identity was withdrawn, by whatever process.
async fn follow_status(ingest: Arc<Ingest>, mut stop: watch::Receiver<bool>) {
    // What was changed before the start needs no cut: those devices have no stream yet.
    let mut since = match ingest.store.status_changes(0).await {
        Ok(changes) => changes.last().map_or(0, |(revision, ..)| *revision),
        Err(error) => {
            tracing::error!(error = %error, "status changes cannot be read");
            0
        }
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(STATUS_POLL) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        match ingest.store.status_changes(since).await {
            Ok(changes) => {
                for (revision, device, status) in &changes {
                    since = since.max(*revision);
                    match status {
                        DeviceStatus::Active => say_conflict(&ingest, device, false).await,
                        DeviceStatus::Revoked | DeviceStatus::Retired | DeviceStatus::Quarantined => {
                            tracing::info!(device = %device, status = status.as_str(), "cutting the device's stream");
                            ingest.registry.tell(device, Notice::End(withdrawn(*status)));
                        }
                    }
                }
                // After all notices, because the worker's queue may have no room for a while.
                for (_, device, _) in changes {
                    let _ = ingest.work.send(Work::Forget { device }).await;
                }
            }
            Err(error) => tracing::warn!(error = %error, "status changes cannot be read"),
        }
    }
}

/// Puts changed knowledge files into force as they are judged.
fn follow_knowledge(
    knowledge: &Arc<Knowledge>,
    ingest: &Arc<Ingest>,
    mut stop: watch::Receiver<bool>,
) -> Option<tokio::task::JoinHandle<()>> {
    let (watch, mut reloads) = match knowledge::watch(Arc::clone(knowledge)) {
        Ok(following) => following,
        Err(error) => {
            tracing::warn!(error = %error, "changes of knowledge files are not noticed until the next start");
            return None;
        }
    };
    let (knowledge, ingest) = (Arc::clone(knowledge), Arc::clone(ingest));
    let task = tokio::spawn(async move {
        let _watch = watch;
        loop {
            let reload = tokio::select! {
                reload = reloads.recv() => reload,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match reload {
                Some(Reload::Replaced { entries, overrides }) => {
                    tracing::info!(entries, overrides, "knowledge reloaded");
                    ingest.set_knowledge(&knowledge.running().set);
                }
                Some(Reload::Refused(problems)) => {
                    for problem in problems {
                        tracing::warn!(problem = %problem, "knowledge refused; the set before it stays in force");
                    }
                }
                None => return,
            }
        }
    });
    Some(task)
}

/// The link for the first administrator, while there is no user.
async fn setup_link(store: &Arc<dyn Store>, listeners: &Listeners) -> Result<Option<String>> {
    if store.any_user().await.context("users cannot be read")? {
        return Ok(None);
    }
    let token = secret::token()?;
    store
        .set_setup_link(&web::secret_hash(&token), clock::now().plus(SETUP_LINK))
        .await
        .context("the sign-in link cannot be kept")?;
    Ok(Some(format!("https://{}/setup?token={token}", listeners.web)))
}

/// SIGTERM or Ctrl-C. Without handlers the system's way of ending a process stays in force.
async fn stop_requested() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
