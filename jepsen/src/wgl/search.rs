//! The search itself.

use std::collections::{HashMap, HashSet};

use super::{
    Event, Model,
    configuration::{Configuration, Happened},
};

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search<S> {
    /// There is an order: indexes of the operations in it. Operations whose outcome
    /// is not known are in it where they had to happen.
    Linearizable(Vec<u64>),
    /// There is none.
    Not(Stuck<S>),
    /// Not found out within the bound.
    GaveUp {
        /// Configurations that were looked at.
        configurations: usize,
    },
}

/// Where a history stops being linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck<S> {
    /// The operation that completed first of those that no order explains: all
    /// before its completion can be explained, with its completion it can't.
    pub operation: u64,
    /// The state in the order that came as far as this.
    pub state: S,
    /// The last operations of that order, the last one last.
    pub last: Vec<u64>,
    /// Operations that ran then and might have come next.
    pub open: Vec<u64>,
}

/// Operations shown of the order that came furthest.
const LAST: usize = 3;
/// Operations shown of those that ran.
const OPEN: usize = 12;

/// Looks for an order of the operations that the model allows. Operations need
/// not be sorted. Looks at `configurations_max` configurations at most.
pub fn search<M: Model>(
    model: &M,
    events: &[Event<M::Input, M::Output>],
    configurations_max: usize,
) -> Search<M::State> {
    Searcher::new(model, events).run(configurations_max)
}

/// A link of the list of moments: the invocation or completion of an operation.
#[derive(Clone, Copy)]
struct Moment {
    /// Of the operation, in the order of invocations.
    number: usize,
    completes: bool,
    previous: usize,
    next: usize,
}

/// A choice that was made: this operation happened next.
struct Choice {
    next: Next,
    /// State before it.
    state: u32,
}

/// An operation that may happen next.
#[derive(Clone, Copy)]
enum Next {
    /// By link of its invocation.
    Completed(usize),
    /// By number.
    Pending(usize),
}

struct Searcher<'s, M: Model> {
    model: &'s M,
    /// With completion, by invocation.
    completed: Vec<&'s Event<M::Input, M::Output>>,
    /// Without, by invocation.
    pending: Vec<&'s Event<M::Input, M::Output>>,
    /// Of each pending one: the one before it with the same input.
    twin: Vec<Option<usize>>,
    /// A list whose head is the last element: moments that are left, in order.
    moments: Vec<Moment>,
    /// Of each completed operation: links of its invocation and completion.
    links: Vec<(usize, usize)>,
    happened: Happened,
    happened_pending: Happened,
    states: Vec<M::State>,
    numbers: HashMap<M::State, u32>,
    stuck: Option<(usize, Stuck<M::State>)>,
}

impl<'s, M: Model> Searcher<'s, M> {
    fn new(model: &'s M, events: &'s [Event<M::Input, M::Output>]) -> Self {
        let sorted = |known: bool| {
            let mut some: Vec<_> =
                events.iter().filter(|event| event.output.is_some() == known).collect();
            some.sort_by_key(|event| event.invoked);
            some
        };
        let (completed, pending) = (sorted(true), sorted(false));
        let twin = (0..pending.len())
            .map(|number| {
                let input = &pending[number].input;
                pending[..number].iter().rposition(|before| before.input == *input)
            })
            .collect();
        let (moments, links) = list(&completed);
        Self {
            model,
            happened: Happened::none_of(completed.len()),
            happened_pending: Happened::none_of(pending.len()),
            completed,
            pending,
            twin,
            moments,
            links,
            states: Vec::new(),
            numbers: HashMap::new(),
            stuck: None,
        }
    }

    fn run(mut self, configurations_max: usize) -> Search<M::State> {
        let head = self.moments.len() - 1;
        let mut seen = HashSet::new();
        let mut choices: Vec<Choice> = Vec::new();
        let mut state = self.number_of(self.model.initial());
        let mut candidate = self.first(head);
        loop {
            if self.moments[head].next == head {
                return Search::Linearizable(self.order(&choices));
            }
            let Some(next) = candidate else {
                self.dead_end(state, &choices);
                let Some(choice) = choices.pop() else { break };
                self.undo(choice.next);
                state = choice.state;
                candidate = self.after(choice.next);
                continue;
            };
            let Some(after) = self.step(state, next) else {
                candidate = self.after(next);
                continue;
            };
            self.mark(next);
            let configuration = Configuration::new(&self.happened, &self.happened_pending, after);
            if !seen.insert(configuration) {
                self.unmark(next);
                candidate = self.after(next);
                continue;
            }
            if seen.len() > configurations_max {
                return Search::GaveUp { configurations: seen.len() };
            }
            self.lift(next);
            choices.push(Choice { next, state });
            state = after;
            candidate = self.first(head);
        }
        let (_, stuck) = self.stuck.expect("a search without a choice left met a dead end");
        Search::Not(stuck)
    }

    fn step(&mut self, state: u32, next: Next) -> Option<u32> {
        let before = &self.states[state as usize];
        let event = self.event(next);
        let after = self.model.step(before, &event.input, event.output.as_ref())?;
        match next {
            // It need not happen: where nothing comes of it, it doesn't.
            Next::Pending(_) if after == *before => None,
            _ => Some(self.number_of(after)),
        }
    }

    fn event(&self, next: Next) -> &'s Event<M::Input, M::Output> {
        match next {
            Next::Completed(link) => self.completed[self.moments[link].number],
            Next::Pending(number) => self.pending[number],
        }
    }

    fn number_of(&mut self, state: M::State) -> u32 {
        if let Some(number) = self.numbers.get(&state) {
            return *number;
        }
        let number = u32::try_from(self.states.len()).expect("fewer than 2^32 states in memory");
        self.states.push(state.clone());
        self.numbers.insert(state, number);
        number
    }

    /// The first that may happen next.
    fn first(&self, head: usize) -> Option<Next> {
        self.completed_from(self.moments[head].next)
    }

    /// The one after it that may happen next.
    fn after(&self, next: Next) -> Option<Next> {
        match next {
            Next::Completed(link) => self.completed_from(self.moments[link].next),
            Next::Pending(number) => self.pending_from(number + 1),
        }
    }

    /// What completed before the next completion has happened already: only what
    /// was invoked before it may be next.
    fn completed_from(&self, link: usize) -> Option<Next> {
        if link == self.moments.len() - 1 || self.moments[link].completes {
            self.pending_from(0)
        } else {
            Some(Next::Completed(link))
        }
    }

    fn pending_from(&self, from: usize) -> Option<Next> {
        let deadline = self.next_completion().map_or(usize::MAX, |(position, _)| position);
        let may = |number: &usize| {
            self.pending[*number].invoked < deadline
                && !self.happened_pending.contains(*number)
                && self.twin[*number].is_none_or(|twin| self.happened_pending.contains(twin))
        };
        let invoked_in_time = (from..self.pending.len())
            .take_while(|number| self.pending[*number].invoked < deadline);
        invoked_in_time.into_iter().find(may).map(Next::Pending)
    }

    /// Position and operation of the first completion that is left.
    fn next_completion(&self) -> Option<(usize, usize)> {
        let head = self.moments.len() - 1;
        let mut link = self.moments[head].next;
        while link != head {
            let Moment { number, completes, next, .. } = self.moments[link];
            if completes {
                return Some((self.completed[number].ended, number));
            }
            link = next;
        }
        None
    }

    fn mark(&mut self, next: Next) {
        match next {
            Next::Completed(link) => self.happened.set(self.moments[link].number),
            Next::Pending(number) => self.happened_pending.set(number),
        }
    }

    fn unmark(&mut self, next: Next) {
        match next {
            Next::Completed(link) => self.happened.clear(self.moments[link].number),
            Next::Pending(number) => self.happened_pending.clear(number),
        }
    }

    /// Takes both moments of the operation out of the list.
    fn lift(&mut self, next: Next) {
        let Next::Completed(link) = next else { return };
        let (invocation, completion) = self.links[self.moments[link].number];
        for link in [invocation, completion] {
            let Moment { previous, next, .. } = self.moments[link];
            self.moments[previous].next = next;
            self.moments[next].previous = previous;
        }
    }

    /// Undoes [`Self::mark`] and [`Self::lift`]; the last lifted goes first.
    fn undo(&mut self, next: Next) {
        self.unmark(next);
        let Next::Completed(link) = next else { return };
        let (invocation, completion) = self.links[self.moments[link].number];
        for link in [completion, invocation] {
            let Moment { previous, next, .. } = self.moments[link];
            self.moments[previous].next = link;
            self.moments[next].previous = link;
        }
    }

    /// Notes how far this order came, if none came further.
    fn dead_end(&mut self, state: u32, choices: &[Choice]) {
        let (position, number) =
            self.next_completion().expect("what is not complete has a completion left");
        if self.stuck.as_ref().is_some_and(|(furthest, _)| *furthest >= position) {
            return;
        }
        let open = (0..self.completed.len())
            .filter(|other| *other != number && !self.happened.contains(*other))
            .take_while(|other| self.completed[*other].invoked < position)
            .map(|other| self.completed[other]);
        let open_pending = (0..self.pending.len())
            .filter(|other| !self.happened_pending.contains(*other))
            .map(|other| self.pending[other])
            .filter(|event| event.invoked < position);
        let stuck = Stuck {
            operation: self.completed[number].index,
            state: self.states[state as usize].clone(),
            last: self.order(&choices[choices.len().saturating_sub(LAST)..]),
            open: open.chain(open_pending).map(|event| event.index).take(OPEN).collect(),
        };
        self.stuck = Some((position, stuck));
    }

    fn order(&self, choices: &[Choice]) -> Vec<u64> {
        choices.iter().map(|choice| self.event(choice.next).index).collect()
    }
}

/// The list of moments of completed operations by position, its head last, and
/// the links of each operation.
fn list<I, O>(completed: &[&Event<I, O>]) -> (Vec<Moment>, Vec<(usize, usize)>) {
    let mut order: Vec<(usize, usize, bool)> = completed
        .iter()
        .enumerate()
        .flat_map(|(number, event)| [(event.invoked, number, false), (event.ended, number, true)])
        .collect();
    order.sort_unstable();
    let head = order.len();
    let mut links = vec![(0, 0); completed.len()];
    let mut moments = Vec::with_capacity(head + 1);
    for (link, (_, number, completes)) in order.into_iter().enumerate() {
        let own = &mut links[number];
        if completes {
            own.1 = link
        } else {
            own.0 = link
        }
        let previous = link.checked_sub(1).unwrap_or(head);
        moments.push(Moment { number, completes, previous, next: link + 1 });
    }
    let previous = head.checked_sub(1).unwrap_or(head);
    let next = if head == 0 { head } else { 0 };
    moments.push(Moment { number: usize::MAX, completes: true, previous, next });
    (moments, links)
}
