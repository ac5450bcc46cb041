use std::pin::pin;
use std::sync::Arc;
use std::task::Wake;

use super::super::limits::{Dimension, Full};
use super::super::mailbox::{Receiver, queue};
use super::super::shared_limits::{Admitted, Taken};
use super::*;

#[derive(Default)]
struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn link(capacity: usize) -> (LimitLink, Receiver<ToLimits>, Arc<LinkState>) {
    let (to, received, _ear) = queue(capacity).unwrap();
    let state = Arc::new(LinkState::default());
    state.serve(true);
    (LimitLink::new(3, to, Arc::clone(&state)), received, state)
}

fn admitted() -> Result<Outcome, RedisDown> {
    let taken = Taken {
        member: "m".into(),
        tokens: 5,
        layers: Box::default(),
    };
    Ok(Outcome::Admitted(Admitted {
        receipt: Receipt::new(Arc::new(taken)),
        rooms: Vec::new(),
    }))
}

fn asked(received: &Receiver<ToLimits>) -> u64 {
    match received.pop() {
        Some(ToLimits::Ask { worker, number, .. }) => {
            assert_eq!(worker, 3);
            number
        }
        other => panic!("{other:?}"),
    }
}

fn ending(received: &Receiver<ToLimits>) -> Option<Ending> {
    received.pop().map(|message| match message {
        ToLimits::End(_, ending) => ending,
        ToLimits::Ask { .. } => panic!("{message:?}"),
    })
}

/// Polls once, with the number of wake-ups it gets.
fn poll(asking: Pin<&mut Asking<'_>>, bell: &Arc<Bell>) -> Poll<Result<Answer, RedisDown>> {
    let waker = Waker::from(Arc::clone(bell));
    asking.poll(&mut Context::from_waker(&waker))
}

#[test]
fn whoever_waits_is_woken_and_the_permit_tells_how_it_ended() {
    type End = fn(SharedPermit);
    let cases: [(End, Ending); 6] = [
        (drop, Ending::Refunded),
        (|mut permit| permit.settle(7), Ending::Settled(7)),
        (
            |mut permit| {
                permit.settle(7);
                permit.settle(8);
                permit.keep_reservation();
            },
            Ending::Settled(7),
        ),
        (|mut permit| permit.keep_reservation(), Ending::Kept),
        (
            |mut permit| {
                permit.keep_reservation();
                permit.settle(0);
            },
            Ending::Settled(0),
        ),
        (SharedPermit::give_back, Ending::GivenBack),
    ];
    let (link, received, _) = link(8);
    for (end, want) in cases {
        let bell = Arc::<Bell>::default();
        let mut asking = pin!(link.ask(Ask::default()));
        assert!(poll(asking.as_mut(), &bell).is_pending());
        let number = asked(&received);
        link.deliver(LimitAnswer {
            number,
            outcome: admitted(),
        });
        assert_eq!(bell.0.load(Relaxed), 1);
        let Poll::Ready(Ok(Answer::Admitted(permit, _))) = poll(asking.as_mut(), &bell) else {
            panic!("no permit");
        };
        end(permit);
        assert_eq!(ending(&received), Some(want));
        assert!(received.pop().is_none(), "ended once");
    }
    assert_eq!(link.in_flight.get(), 0);
}

#[test]
fn an_admission_that_nobody_takes_is_ended_whenever_it_comes() {
    let (link, received, _) = link(8);
    let early = link.ask(Ask::default());
    let number = asked(&received);
    drop(early);
    assert!(received.pop().is_none());
    link.deliver(LimitAnswer {
        number,
        outcome: admitted(),
    });
    assert_eq!(ending(&received), Some(Ending::Refunded));

    let late = link.ask(Ask::default());
    let number = asked(&received);
    link.deliver(LimitAnswer {
        number,
        outcome: admitted(),
    });
    drop(late);
    assert_eq!(ending(&received), Some(Ending::Refunded));
    assert!(link.waiting.borrow().is_empty() && link.in_flight.get() == 0);
}

#[test]
fn a_refusal_comes_through_and_leaves_nothing_to_end() {
    let (link, received, _) = link(8);
    let refused = Refused {
        layer: 1,
        full: Full {
            dimension: Dimension::Tokens,
            retry_after_secs: 9,
        },
        rooms: Vec::new(),
    };
    let mut asking = pin!(link.ask(Ask::default()));
    let number = asked(&received);
    link.deliver(LimitAnswer {
        number,
        outcome: Ok(Outcome::Refused(refused.clone())),
    });
    let Poll::Ready(Ok(Answer::Refused(got))) = poll(asking.as_mut(), &Arc::default()) else {
        panic!("no refusal");
    };
    assert_eq!(got, refused);
    assert!(received.pop().is_none());
}

#[test]
fn without_room_or_anybody_who_counts_the_answer_is_there_at_once() {
    let bell = Arc::default();
    let down = |link: &LimitLink| {
        let mut asking = pin!(link.ask(Ask::default()));
        matches!(poll(asking.as_mut(), &bell), Poll::Ready(Err(RedisDown)))
    };
    let (one, received, state) = link(1);
    state.serve(false);
    assert!(down(&one) && received.pop().is_none());
    state.serve(true);
    let held = one.ask(Ask::default());
    assert!(down(&one), "the queue is full");
    drop(held);

    let (many, received, state) = link(ASKS_IN_FLIGHT_MAX + 9);
    for _ in 0..ASKS_IN_FLIGHT_MAX {
        drop(many.ask(Ask::default()));
    }
    assert!(down(&many), "as many are under way as the mailbox holds");
    let number = asked(&received);
    many.deliver(LimitAnswer {
        number,
        outcome: Err(RedisDown),
    });
    assert!(!down(&many));
    assert_eq!(state.lost(), 0);
}

#[test]
fn an_ending_without_room_is_counted() {
    let (link, received, state) = link(1);
    let mut asking = pin!(link.ask(Ask::default()));
    let number = asked(&received);
    link.deliver(LimitAnswer {
        number,
        outcome: admitted(),
    });
    let Poll::Ready(Ok(Answer::Admitted(permit, _))) = poll(asking.as_mut(), &Arc::default())
    else {
        panic!("no permit");
    };
    let _other = link.ask(Ask::default());
    drop(permit);
    assert_eq!(state.lost(), 1);
}
