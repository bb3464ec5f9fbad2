//! The search against the definition: on small histories it finds an order exactly
//! where trying all orders does.

#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use strongroom_jepsen::{
    models::{Access, Answer, Ask, Key, KeyModel, Read, Register},
    value::Value,
    wgl::{Event, Model, Search, search},
};

const CONFIGURATIONS_MAX: usize = 1_000_000;

/// Whether some order of the operations that are left is allowed: the definition.
fn some_order<M: Model>(model: &M, state: &M::State, left: &[&Event<M::Input, M::Output>]) -> bool {
    if left.iter().all(|event| event.output.is_none()) {
        return true;
    }
    (0..left.len()).any(|next| {
        let event = left[next];
        let first = left
            .iter()
            .filter(|other| other.output.is_some())
            .all(|other| event.invoked < other.ended);
        let mut rest = left.to_vec();
        rest.remove(next);
        first
            && model
                .step(state, &event.input, event.output.as_ref())
                .is_some_and(|after| some_order(model, &after, &rest))
    })
}

/// Requires of both the same, and of an order found that it is one.
fn agree<M: Model<Output: Clone, Input: Clone>>(
    model: &M,
    events: &[Event<M::Input, M::Output>],
) -> Result<(), TestCaseError> {
    let all: Vec<_> = events.iter().collect();
    let expected = some_order(model, &model.initial(), &all);
    match search(model, events, CONFIGURATIONS_MAX) {
        Search::Linearizable(order) => {
            prop_assert!(expected, "found {:?}", order);
            let mut state = model.initial();
            let mut happened: Vec<&Event<_, _>> = Vec::new();
            for index in order {
                let event = events.iter().find(|event| event.index == index).unwrap();
                let after =
                    |other: &&&Event<_, _>| event.output.is_some() && event.ended < other.invoked;
                prop_assert!(happened.iter().find(after).is_none());
                state = model.step(&state, &event.input, event.output.as_ref()).unwrap();
                happened.push(event);
            }
            let complete = events.iter().filter(|event| event.output.is_some());
            for event in complete {
                prop_assert!(happened.iter().any(|other| other.index == event.index));
            }
        }
        Search::Not(stuck) => {
            prop_assert!(!expected, "stuck at {:?}", stuck);
            first_without_order(model, events, stuck.operation)?;
        }
        Search::GaveUp { .. } => prop_assert!(false, "gave up"),
    }
    Ok(())
}

/// Requires that the operation is the one at whose completion the history stops
/// having an order: what ended before is explained with the others as they may
/// have gone, and with its completion nothing is.
fn first_without_order<M: Model<Output: Clone, Input: Clone>>(
    model: &M,
    events: &[Event<M::Input, M::Output>],
    operation: u64,
) -> Result<(), TestCaseError> {
    let ended = events.iter().find(|event| event.index == operation).unwrap().ended;
    for (until, expected) in [(ended, true), (ended + 1, false)] {
        let known: Vec<_> = events
            .iter()
            .filter(|event| event.invoked < until)
            .filter(|event| event.output.is_none() || event.ended < until)
            .cloned()
            .collect();
        // Those that run happen or not, with the answer that they will get.
        let open: Vec<_> = events
            .iter()
            .filter(|event| event.invoked < until && event.output.is_some())
            .filter(|event| event.ended >= until)
            .collect();
        let any = (0..1_usize << open.len()).any(|chosen| {
            let mut some = known.clone();
            let happen = open.iter().enumerate().filter(|(bit, _)| chosen >> bit & 1 == 1);
            some.extend(happen.map(|(_, event)| (*event).clone()));
            some_order(model, &model.initial(), &some.iter().collect::<Vec<_>>())
        });
        prop_assert_eq!(any, expected, "until {}", until);
    }
    Ok(())
}

/// Moments of `count` operations in a random order: (invoked, ended) of each.
fn intervals(count: usize) -> impl Strategy<Value = Vec<(usize, usize)>> {
    Just((0..2 * count).collect::<Vec<_>>()).prop_shuffle().prop_map(move |moments| {
        moments.chunks(2).map(|pair| (pair[0].min(pair[1]), pair[0].max(pair[1]))).collect()
    })
}

fn register_call() -> impl Strategy<Value = (Access, Option<Read>)> {
    let value = || (0..3_i64).prop_map(Value::Int);
    let known = |output: Read| prop_oneof![3 => Just(Some(output)), 1 => Just(None)];
    prop_oneof![
        value().prop_flat_map(move |read| (Just(Access::Read), known(Read::Value(read)))),
        value().prop_flat_map(move |new| (Just(Access::Write(new)), known(Read::Done))),
        (value(), value(), any::<bool>()).prop_flat_map(move |(old, new, done)| {
            let output = if done { Read::Done } else { Read::Differs };
            (Just(Access::Cas(old, new)), known(output))
        }),
    ]
}

fn key_call() -> impl Strategy<Value = (Ask, Option<Answer>)> {
    let answers = prop_oneof![
        4 => Just(Some(Answer::Done)),
        2 => Just(Some(Answer::Disabled)),
        1 => Just(Some(Answer::NotFound)),
        2 => Just(None),
    ];
    let described = prop_oneof![
        Just(Some(Answer::Is(Key::Enabled))),
        Just(Some(Answer::Is(Key::Disabled))),
        Just(None)
    ];
    let asked =
        prop_oneof![Just(Ask::Create), Just(Ask::Enable), Just(Ask::Disable), Just(Ask::Use)];
    prop_oneof![4 => (asked, answers), 1 => (Just(Ask::Describe), described)]
}

fn events<I: Clone + std::fmt::Debug, O: Clone + std::fmt::Debug>(
    call: impl Strategy<Value = (I, Option<O>)>,
) -> impl Strategy<Value = Vec<Event<I, O>>> {
    prop::collection::vec(call, 0..7).prop_flat_map(|calls| {
        intervals(calls.len()).prop_map(move |intervals| {
            let event = |(index, ((input, output), (invoked, ended)))| {
                let (input, output): (&I, &Option<O>) = (input, output);
                Event { input: input.clone(), output: output.clone(), invoked, ended, index }
            };
            let calls = calls.iter().map(|(input, output)| (input, output));
            (0_u64..).zip(calls.zip(intervals)).map(event).collect()
        })
    })
}

/// Operations of a register that happened in this order, each around its moment,
/// some of whose answers were lost.
fn executed() -> impl Strategy<Value = Vec<Event<Access, Read>>> {
    let access = prop_oneof![
        2 => Just(Access::Read),
        2 => (0..2_i64).prop_map(|new| Access::Write(Value::Int(new))),
        1 => (0..2_i64, 0..2_i64).prop_map(|(a, b)| Access::Cas(Value::Int(a), Value::Int(b))),
    ];
    let call = (access, 0..25_usize, 0..25_usize, prop::bool::weighted(0.4));
    prop::collection::vec(call, 0..9).prop_map(|calls| {
        let mut state = Value::Nil;
        let mut events = Vec::new();
        for (number, (input, before, after, lost)) in calls.into_iter().enumerate() {
            let output = match &input {
                Access::Read => Read::Value(state.clone()),
                Access::Cas(old, _) if *old != state => Read::Differs,
                Access::Write(_) | Access::Cas(..) => Read::Done,
            };
            state = Register.step(&state, &input, Some(&output)).unwrap();
            let moment = 100 + 10 * number;
            let index = number as u64;
            let output = (!lost).then_some(output);
            // Unlike any other position.
            let (invoked, ended) =
                ((moment - before) * 20 + number, (moment + after) * 20 + 10 + number);
            events.push(Event { input, output, invoked, ended, index });
        }
        events
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_register_has_an_order_exactly_where_trying_all_finds_one(events in events(register_call())) {
        agree(&Register, &events)?;
    }

    #[test]
    fn what_happened_in_an_order_has_one(events in executed()) {
        let found = search(&Register, &events, CONFIGURATIONS_MAX);
        prop_assert!(matches!(found, Search::Linearizable(_)), "{:?}", found);
        agree(&Register, &events)?;
    }

    #[test]
    fn what_happened_in_an_order_and_was_told_otherwise_is_judged_as_all_orders_are(
        events in executed(),
        liar in any::<prop::sample::Index>(),
        read in 0..3_i64,
    ) {
        prop_assume!(!events.is_empty());
        let mut events = events;
        let liar = liar.index(events.len());
        let told = match &events[liar].input {
            Access::Read => Read::Value(Value::Int(read)),
            Access::Cas(..) if read == 0 => Read::Differs,
            Access::Write(_) | Access::Cas(..) => Read::Done,
        };
        events[liar].output = Some(told);
        agree(&Register, &events)?;
    }

    #[test]
    fn a_key_has_an_order_exactly_where_trying_all_finds_one(
        events in events(key_call()),
        initial in prop::sample::select(vec![Key::Absent, Key::Either, Key::Enabled]),
    ) {
        agree(&KeyModel { initial }, &events)?;
    }

    #[test]
    fn a_bound_gives_the_same_verdict_or_none(events in events(register_call()), bound in 0..20_usize) {
        match (search(&Register, &events, bound), search(&Register, &events, CONFIGURATIONS_MAX)) {
            (Search::GaveUp { .. }, _) => {}
            (bounded, full) => prop_assert_eq!(bounded, full),
        }
    }
}

#[test]
fn writes_that_all_overlap_and_a_read_of_none_give_up_within_the_bound() {
    let write = |number: u64| Event {
        input: Access::Write(Value::from(number)),
        output: Some(Read::Done),
        invoked: usize::try_from(number).unwrap(),
        ended: 100 + usize::try_from(number).unwrap(),
        index: number,
    };
    let mut events: Vec<_> = (0..30).map(write).collect();
    events.push(Event {
        input: Access::Read,
        output: Some(Read::Value(Value::Int(-1))),
        invoked: 50,
        ended: 200,
        index: 99,
    });
    assert_eq!(search(&Register, &events, 10_000), Search::GaveUp { configurations: 10_001 });
}

#[test]
fn calls_that_never_ended_and_changed_nothing_cost_nothing() {
    // Two to the power of a hundred orders, if each of them were tried.
    let mut events: Vec<Event<Access, Read>> = (0..100)
        .map(|number| Event {
            input: if number % 2 == 0 { Access::Read } else { Access::Write(Value::Int(7)) },
            output: None,
            invoked: usize::try_from(number).unwrap(),
            ended: usize::MAX,
            index: number,
        })
        .collect();
    for (index, read) in [(200, 7), (201, 8)] {
        let invoked = usize::try_from(index).unwrap() * 2;
        let output = Some(Read::Value(Value::Int(read)));
        events.push(Event { input: Access::Read, output, invoked, ended: invoked + 1, index });
    }
    let Search::Not(stuck) = search(&Register, &events, 1000) else {
        panic!("8 was never written")
    };
    assert_eq!((stuck.operation, stuck.state), (201, Value::Int(7)));
}

/// Operations one after another, in this order, but for those without an answer.
fn sequence(calls: impl IntoIterator<Item = (Access, Option<Read>)>) -> Vec<Event<Access, Read>> {
    let event = |(number, (input, output))| Event {
        input,
        output,
        invoked: 2 * number,
        ended: 2 * number + 1,
        index: number as u64,
    };
    calls.into_iter().enumerate().map(event).collect()
}

fn write(value: i64) -> Access {
    Access::Write(Value::Int(value))
}

fn read(value: i64) -> (Access, Option<Read>) {
    (Access::Read, Some(Read::Value(Value::Int(value))))
}

#[test]
fn two_lost_writes_of_one_value_may_both_happen_and_no_third() {
    let mut calls = Vec::new();
    for _ in 0..2 {
        calls.extend([(write(1), None), read(1), (write(0), Some(Read::Done)), read(0)]);
    }
    let events = sequence(calls.clone());
    assert!(matches!(search(&Register, &events, 1000), Search::Linearizable(_)));
    calls.push(read(1));
    assert!(matches!(search(&Register, &sequence(calls), 1000), Search::Not(_)));
}

#[test]
fn which_of_two_lost_writes_happened_is_remembered() {
    // Both give the first 1; only the plain write can give the second.
    let swap = Access::Cas(Value::Int(0), Value::Int(1));
    let calls = [
        (write(0), Some(Read::Done)),
        (write(1), None),
        (swap, None),
        read(1),
        (write(5), Some(Read::Done)),
        read(1),
    ];
    assert!(matches!(search(&Register, &sequence(calls), 1000), Search::Linearizable(_)));
}
