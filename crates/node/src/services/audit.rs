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
use crate::{attempt::look, caller::Caller, core::Core, errors};

/// A tail that has nothing to tell is authorised again this often.
const TAIL_IDLE: Duration = Duration::from_secs(5);
/// One page of a tail takes at most this long.
const TAIL_PAGE: Duration = Duration::from_secs(10);
/// Pages that wait for a slow reader of a tail.
const TAIL_PAGES: usize = 2;
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
    core: &Core,
    caller: &Caller,
    operation: Operation,
    filter: &Filter,
    search: Search,
) -> Result<Page, Status> {
    look(core, caller, operation, None, |basis, by| {
        if let Err(refusal) = model::authorise(by, operation) {
            return Ok(Err(refusal));
        }
        // Errors of the search are this node's; the caller learns only that.
        search::run(core, basis, filter, search).map(Ok)
    })
    .await
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
        let filter = Filter::new(request.filter.unwrap_or_default())?;
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
        let permit = Arc::clone(&self.tails)
            .try_acquire_owned()
            .map_err(|_| errors::overloaded("streams of events"))?;
        let from = if request.from_end { None } else { Some(AuditSequence(request.from_sequence)) };
        let (pages, stream) = mpsc::channel(TAIL_PAGES);
        let tail = Tail { core: Arc::clone(&self.core), caller, filter, pages, _permit: permit };
        // The first page tells a caller without rights so at once.
        let from = tail.begin(from).await?;
        tokio::spawn(tail.run(from));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// A stream of events to one caller.
struct Tail {
    core: Arc<Core>,
    caller: Caller,
    filter: Filter,
    pages: mpsc::Sender<Result<v1::TailEventsResponse, Status>>,
    _permit: OwnedSemaphorePermit,
}

impl Tail {
    async fn begin(&self, from: Option<AuditSequence>) -> Result<AuditSequence, Status> {
        let size = Mutex::new(0);
        let caller = self.caller.until(Instant::now() + TAIL_PAGE);
        look(&self.core, &caller, Operation::TailEvents, None, |_, by| {
            if let Err(refusal) = model::authorise(by, Operation::TailEvents) {
                return Ok(Err(refusal));
            }
            *size.lock().unwrap_or_else(PoisonError::into_inner) = *self.core.audit_size.borrow();
            Ok(Ok(()))
        })
        .await?;
        let end = AuditSequence(size.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(from.unwrap_or(end))
    }

    async fn run(self, mut next: AuditSequence) {
        let mut size = self.core.audit_size.subscribe();
        let mut draining = self.core.draining.subscribe();
        loop {
            let search = Search { order: Order::Ascending, at: Some(next), limit: TAIL_EVENTS };
            let caller = self.caller.until(Instant::now() + TAIL_PAGE);
            let found =
                find(&self.core, &caller, Operation::TailEvents, &self.filter, search).await;
            let found = match found {
                Ok(found) => found,
                Err(status) => {
                    let _ = self.pages.send(Err(status)).await;
                    return;
                }
            };
            let more = found.next.is_some();
            next = found.next.unwrap_or(found.size).max(next);
            let message = v1::TailEventsResponse { events: found.events, next_sequence: next.0 };
            if self.pages.send(Ok(message)).await.is_err() {
                return;
            }
            if more {
                continue;
            }
            tokio::select! {
                _ = tokio::time::timeout(TAIL_IDLE, size.wait_for(|size| *size > next.0)) => {}
                _ = draining.wait_for(|draining| *draining) => return,
                () = self.pages.closed() => return,
            }
        }
    }
}
