//! Service `strongroom.v1.Audit`: reads of the audit log.

mod event;
mod search;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use strongroom_audit::Operation;
use strongroom_base::{AuditSequence, limits};
use strongroom_model as model;
use strongroom_state::Order;
use strongroom_wire::v1::{self, audit_server::Audit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use self::search::{Filter, Search};
use super::convert::page;
use crate::{attempt::look, caller::Caller, core::Core, errors, lifecycle::Phase, metrics::Bound};

/// A tail that has nothing to tell is authorised again this often.
const TAIL_IDLE: Duration = Duration::from_secs(5);
/// One page of a tail takes at most this long.
const TAIL_PAGE: Duration = Duration::from_secs(10);
/// Pages that wait for a slow reader of a tail, and a place for its end.
const TAIL_PAGES: usize = 2;
/// A tail whose reader takes nothing for this long ends.
const TAIL_STALL: Duration = Duration::from_secs(30);
/// Events of one page of a tail.
const TAIL_EVENTS: usize = 200;

/// Service `strongroom.v1.Audit`.
#[derive(Clone)]
pub(crate) struct AuditService {
    core: Arc<Core>,
    tails: Arc<Semaphore>,
}

impl AuditService {
    /// Serves `core`.
    #[must_use]
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, tails: Arc::new(Semaphore::new(limits::TAILS_MAX)) }
    }
}

/// A page that was found, and where the next one begins.
struct Page {
    events: Vec<v1::Event>,
    next: Option<AuditSequence>,
    /// Size of the audit log that was searched.
    size: AuditSequence,
}

async fn find(
    core: &Arc<Core>,
    caller: &Caller,
    operation: Operation,
    filter: &Arc<Filter>,
    search: Search,
) -> Result<Page, Status> {
    let _turn = tokio::time::timeout_at(caller.deadline().0.into(), core.searches.acquire())
        .await
        .map_err(|_| {
            core.metrics.hit(Bound::Searches);
            errors::overloaded("searches of the audit log")
        })?
        .map_err(|_| errors::fault("the searches' semaphore is closed"))?;
    // Rights first, and what the filter names by name; then the leaves, which are
    // many, on a thread that may take its time.
    let (found, generation) = look(core, caller, operation, None, |basis, by| {
        if let Err(refusal) = model::authorise(by, operation) {
            return Ok(Err(refusal));
        }
        let Some(secrets) = core.lifecycle.secrets() else {
            return Ok(Err(model::Refusal::Unauthenticated));
        };
        search::Resolved::new(basis, filter).map(|found| Ok((found, secrets.generation)))
    })
    .await?;
    let (searching, filter) = (Arc::clone(core), Arc::clone(filter));
    let page =
        tokio::task::spawn_blocking(move || search::run(&searching, &found, &filter, search))
            .await
            .map_err(|_| errors::fault("a search of the audit log ended abnormally"))?
            // Errors of the search are this node's; the caller learns only that.
            .map_err(|error| errors::internal(&error))?;
    if !core.lifecycle.may_release(generation) {
        return Err(errors::sealed(core.lifecycle.phase().name()));
    }
    Ok(page)
}

#[tonic::async_trait]
impl Audit for AuditService {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let limit = page(request.limit, limits::EVENTS_PAGE_DEFAULT, limits::EVENTS_PAGE_MAX)?;
        let filter = Arc::new(Filter::new(request.filter.unwrap_or_default())?);
        let order = if request.ascending { Order::Ascending } else { Order::Descending };
        let at = match request.page_token.as_str() {
            "" => None,
            token => Some(search::cursor(token, order).ok_or_else(|| {
                errors::invalid_argument("page_token", "must be the next_page_token of a page")
            })?),
        };
        let search = Search { order, at, limit };
        let found = find(&self.core, &caller, Operation::ListEvents, &filter, search).await?;
        Ok(Response::new(v1::ListEventsResponse {
            next_page_token: found.next.map(|at| search::token(at, order)).unwrap_or_default(),
            events: found.events,
        }))
    }

    type TailEventsStream = ReceiverStream<Result<v1::TailEventsResponse, Status>>;

    async fn tail_events(
        &self,
        request: Request<v1::TailEventsRequest>,
    ) -> Result<Response<Self::TailEventsStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let mut filter = Filter::new(request.filter.unwrap_or_default())?;
        filter.forget_times();
        let from = if request.from_end { None } else { Some(AuditSequence(request.from_sequence)) };
        // A caller without rights is told so at once, and takes nobody's place.
        let from = begin(&self.core, &caller, from).await?;
        let permit = Arc::clone(&self.tails).try_acquire_owned().map_err(|_| {
            self.core.metrics.hit(Bound::EventStreams);
            errors::overloaded("streams of events")
        })?;
        let (pages, stream) = mpsc::channel(TAIL_PAGES);
        let (core, filter) = (Arc::clone(&self.core), Arc::new(filter));
        tokio::spawn(Tail { core, caller, filter, pages, _permit: permit }.run(from));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Where a tail begins: at `from`, or at the end of the audit log.
async fn begin(
    core: &Core,
    caller: &Caller,
    from: Option<AuditSequence>,
) -> Result<AuditSequence, Status> {
    let size = Mutex::new(0);
    look(core, caller, Operation::TailEvents, None, |_, by| {
        if let Err(refusal) = model::authorise(by, Operation::TailEvents) {
            return Ok(Err(refusal));
        }
        *size.lock().unwrap_or_else(PoisonError::into_inner) = *core.audit_size.borrow();
        Ok(Ok(()))
    })
    .await?;
    let end = AuditSequence(size.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(from.unwrap_or(end))
}

/// A stream of events to one caller.
struct Tail {
    core: Arc<Core>,
    caller: Caller,
    filter: Arc<Filter>,
    pages: mpsc::Sender<Result<v1::TailEventsResponse, Status>>,
    _permit: OwnedSemaphorePermit,
}

impl Tail {
    async fn run(self, next: AuditSequence) {
        let mut phases = self.core.lifecycle.watch();
        let mut draining = self.core.draining.subscribe();
        let ended = tokio::select! {
            ended = self.follow(next) => ended,
            // Whatever it waits for, a sealed node tells nothing more.
            _ = phases.wait_for(|phase| !phase.has_secrets()) => {
                Some(errors::sealed(Phase::Sealed.name()))
            }
            _ = draining.wait_for(|draining| *draining) => {
                Some(errors::unavailable("SHUTTING_DOWN", "this node is shutting down"))
            }
        };
        if let Some(status) = ended {
            // Where the reader takes nothing there is no place for it: the end of
            // the stream has to do.
            let _ = self.pages.try_send(Err(status));
        }
    }

    /// Sends pages until the reader is gone (`None`), or why there are no more.
    async fn follow(&self, mut next: AuditSequence) -> Option<Status> {
        let mut size = self.core.audit_size.subscribe();
        loop {
            // Room first: what is found is as fresh as the rights to it.
            let room = match tokio::time::timeout(TAIL_STALL, self.pages.reserve()).await {
                Ok(Ok(room)) => room,
                Ok(Err(_)) => return None,
                Err(_) => {
                    self.core.metrics.hit(Bound::EventStall);
                    return Some(errors::overloaded("events that are not read"));
                }
            };
            let search = Search { order: Order::Ascending, at: Some(next), limit: TAIL_EVENTS };
            let caller = self.caller.until(Instant::now() + TAIL_PAGE);
            let found =
                find(&self.core, &caller, Operation::TailEvents, &self.filter, search).await;
            let found = match found {
                Ok(found) => found,
                Err(status) => {
                    drop(room);
                    return Some(status);
                }
            };
            let more = found.next.is_some();
            next = found.next.unwrap_or(found.size).max(next);
            room.send(Ok(v1::TailEventsResponse { events: found.events, next_sequence: next.0 }));
            if more {
                continue;
            }
            tokio::select! {
                _ = tokio::time::timeout(TAIL_IDLE, size.wait_for(|size| *size > next.0)) => {}
                () = self.pages.closed() => return None,
            }
        }
    }
}
