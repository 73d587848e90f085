// SPDX-License-Identifier: EUPL-1.2
//! Lanes: order, pauses, pace, and the clock that tells a person.

use std::num::NonZeroU32;

use kop_core::{
    Breaker, DeliveryId, LaneHealth, LaneLimits, Order, Receipt, SubmissionId, WhenParked, sendung::Level,
};

use super::fixture::Fixture;
use crate::{
    api::Store,
    records::{DeliveryState, SubmissionState},
    steps::{
        Accepted, AttemptEnd, ClaimedDelivery, Processed, RetryTarget, StartedAttempt, SubmissionClaim, event,
    },
};

fn receipt() -> AttemptEnd {
    AttemptEnd::Delivered(Receipt { level: Level::Empfangen, reference: None })
}

/// Makes messages of a submission for `lanes`, all in this order.
async fn processed(
    store: &dyn Store,
    fixture: &Fixture,
    accepted: &Accepted,
    lanes: &[&str],
    order: (Order, WhenParked),
    second: i64,
) -> Vec<DeliveryId> {
    let only = Some((Fixture::tenant("nord"), accepted.submission_id));
    let claim = SubmissionClaim { only, ..Fixture::claim(1) };
    let claimed = store.claim_submissions(claim, Fixture::at(second)).await.unwrap().remove(0);
    let messages: Vec<_> = lanes
        .iter()
        .map(|lane| {
            let mut message = fixture.message(lane, None);
            (message.delivery.order, message.delivery.when_parked) = order;
            message
        })
        .collect();
    let ids = messages.iter().map(|message| message.delivery.delivery_id).collect();
    store.record_processed(claimed.lease, Fixture::processed(messages), Fixture::at(second)).await.unwrap();
    ids
}

async fn claimed(store: &dyn Store, second: i64) -> Vec<ClaimedDelivery> {
    store.claim_deliveries(Fixture::claim_deliveries(10, 10), Fixture::at(second)).await.unwrap()
}

async fn start(store: &dyn Store, fixture: &Fixture, one: &ClaimedDelivery, second: i64) -> StartedAttempt {
    store.start_attempt(&one.lease, fixture.attempt(), Fixture::at(second)).await.unwrap()
}

async fn end(store: &dyn Store, started: StartedAttempt, end: AttemptEnd, health: LaneHealth, second: i64) {
    store.finish_attempt(started.lease, end, health, Vec::new(), Fixture::at(second)).await.unwrap();
}

fn ids(claimed: &[ClaimedDelivery]) -> Vec<DeliveryId> {
    claimed.iter().map(|one| one.delivery.delivery_id).collect()
}

pub(super) async fn an_ordered_lane_keeps_the_order_of_the_submissions(store: &dyn Store) {
    let fixture = Fixture::default();
    let whole = (Order::Empfaenger, WhenParked::Warten);
    let mut accepted = Vec::new();
    for (second, key) in (0..).zip(["A", "B", "C"]) {
        let new = fixture.submission("nord", key, key);
        accepted.push(store.accept(new, Fixture::at(second)).await.unwrap());
    }
    // Processed in another order than they came.
    let c = processed(store, &fixture, &accepted[2], &["amt"], whole, 10).await[0];
    assert!(claimed(store, 10).await.is_empty(), "C waits: A and B may come before it");
    let detail = store.submission(&Fixture::tenant("nord"), accepted[2].submission_id).await.unwrap();
    assert!(detail.deliveries[0].queued);
    let b = processed(store, &fixture, &accepted[1], &["amt", "frei"], whole, 11).await;
    assert!(claimed(store, 11).await.is_empty(), "A may still come before B, in every ordered lane");
    let a = processed(store, &fixture, &accepted[0], &["amt"], whole, 12).await[0];

    let first = claimed(store, 12).await;
    assert_eq!(ids(&first).into_iter().collect::<std::collections::HashSet<_>>(), [a, b[1]].into());
    let head = first.iter().find(|one| one.delivery.delivery_id == a).unwrap();
    let started = start(store, &fixture, head, 12).await;
    let retry = AttemptEnd::Retry { at: Fixture::at(20), problem: Fixture::problem("KOP-TEST") };
    end(store, started, retry, LaneHealth::Unknown, 13).await;
    assert!(claimed(store, 14).await.is_empty(), "nobody overtakes while the first waits to be tried again");
    let again = claimed(store, 20).await;
    assert_eq!(ids(&again), [a]);
    let started = start(store, &fixture, &again[0], 20).await;
    assert!(claimed(store, 21).await.is_empty(), "one in flight");
    end(store, started, receipt(), LaneHealth::Well, 22).await;
    for (id, second) in [(b[0], 23), (c, 24)] {
        let next = claimed(store, second).await;
        assert_eq!(ids(&next), [id]);
        let started = start(store, &fixture, &next[0], second).await;
        end(store, started, receipt(), LaneHealth::Well, second).await;
    }
}

pub(super) async fn a_vorgang_waits_only_for_itself(store: &dyn Store) {
    let fixture = Fixture::default();
    let order = (Order::Vorgang, WhenParked::Warten);
    let a = store.accept(fixture.submission("nord", "A", "a"), Fixture::at(0)).await.unwrap();
    let other = store.accept(fixture.submission("nord", "B", "b"), Fixture::at(1)).await.unwrap();
    let b = processed(store, &fixture, &other, &["amt"], order, 2).await[0];
    assert_eq!(ids(&claimed(store, 2).await), [b], "another Vorgang does not wait for the unprocessed A");
    let two = processed(store, &fixture, &a, &["amt", "amt"], order, 3).await;
    assert_eq!(ids(&claimed(store, 3).await), [two[0]], "two messages of one Vorgang go one after another");
}

pub(super) async fn a_parked_head_holds_its_lane_until_a_person_decided(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    for (lane, when_parked) in [("wartet", WhenParked::Warten), ("weiter", WhenParked::Weiter)] {
        let order = (Order::Empfaenger, when_parked);
        let mut made: Vec<(SubmissionId, DeliveryId)> = Vec::new();
        for number in 0..3 {
            let key = format!("{lane}{number}");
            let accepted =
                store.accept(fixture.submission("nord", &key, &key), Fixture::at(number)).await.unwrap();
            let delivery = processed(store, &fixture, &accepted, &[lane], order, 5).await[0];
            made.push((accepted.submission_id, delivery));
        }
        let head = claimed(store, 6).await;
        assert_eq!(ids(&head), [made[0].1]);
        let started = start(store, &fixture, &head[0], 6).await;
        let refused = AttemptEnd::Rejected {
            problem: Fixture::problem("KOP-TEST"),
            work_item: fixture.work_item("KOP-TEST"),
        };
        end(store, started, refused, LaneHealth::Well, 7).await;
        let next = claimed(store, 8).await;
        if when_parked == WhenParked::Weiter {
            assert_eq!(ids(&next), [made[1].1]);
            continue;
        }
        assert!(next.is_empty(), "those behind it wait");
        store.retry(&tenant, RetryTarget::Delivery(made[0].1), "clerk", Fixture::at(9)).await.unwrap();
        let again = claimed(store, 9).await;
        assert_eq!(ids(&again), [made[0].1], "tried again, it is still the first");
        let started = start(store, &fixture, &again[0], 9).await;
        let refused = AttemptEnd::Rejected {
            problem: Fixture::problem("KOP-TEST"),
            work_item: fixture.work_item("KOP-TEST"),
        };
        end(store, started, refused, LaneHealth::Well, 10).await;
        let detail = store.submission(&tenant, made[0].0).await.unwrap();
        let open = detail.work_items.iter().find(|item| item.closed_at.is_none()).unwrap();
        store.close_work_item(&tenant, open.work_item_id, "clerk", Fixture::at(11)).await.unwrap();
        let next = claimed(store, 11).await;
        assert_eq!(ids(&next), [made[1].1], "the person decided");
        let started = start(store, &fixture, &next[0], 11).await;
        end(store, started, receipt(), LaneHealth::Well, 11).await;
        let last = claimed(store, 12).await;
        let started = start(store, &fixture, &last[0], 12).await;
        end(store, started, receipt(), LaneHealth::Well, 12).await;
    }
}

pub(super) async fn what_a_person_has_tried_again_waits_for_what_came_before(store: &dyn Store) {
    let fixture = Fixture::default();
    let tenant = Fixture::tenant("nord");
    let order = (Order::Empfaenger, WhenParked::Warten);
    let first = store.accept(fixture.submission("nord", "A", "A"), Fixture::at(0)).await.unwrap();
    let second = store.accept(fixture.submission("nord", "B", "B"), Fixture::at(1)).await.unwrap();
    let only = Some((tenant.clone(), first.submission_id));
    let claim = SubmissionClaim { only, ..Fixture::claim(1) };
    let unclear = store.claim_submissions(claim, Fixture::at(2)).await.unwrap().remove(0);
    let klaerung = Processed { state: SubmissionState::Klaerung, ..Fixture::processed(Vec::new()) };
    store.record_processed(unclear.lease, klaerung, Fixture::at(2)).await.unwrap();
    let b = processed(store, &fixture, &second, &["amt"], order, 3).await[0];
    let head = claimed(store, 3).await;
    let started = start(store, &fixture, &head[0], 3).await;
    let refused = AttemptEnd::Rejected {
        problem: Fixture::problem("KOP-TEST"),
        work_item: fixture.work_item("KOP-TEST"),
    };
    end(store, started, refused, LaneHealth::Well, 4).await;
    // A person mends both, the one that came first as well.
    store
        .retry(&tenant, RetryTarget::Submission(first.submission_id), "clerk", Fixture::at(5))
        .await
        .unwrap();
    let a = processed(store, &fixture, &first, &["amt"], order, 6).await[0];
    store.retry(&tenant, RetryTarget::Delivery(b), "clerk", Fixture::at(7)).await.unwrap();
    for (id, second) in [(a, 8), (b, 9)] {
        let next = claimed(store, second).await;
        assert_eq!(ids(&next), [id], "one after another, in the order in which they came");
        let started = start(store, &fixture, &next[0], second).await;
        end(store, started, receipt(), LaneHealth::Well, second).await;
    }
}

pub(super) async fn a_receiver_that_does_not_answer_pauses_its_lane_alone(store: &dyn Store) {
    let fixture = Fixture::default();
    let breaker =
        Breaker { nach_fehlern: NonZeroU32::new(2).unwrap(), erste_pause_s: 30, laengste_pause_s: 60 };
    for key in ["A", "B", "C", "D"] {
        fixture.delivered_to(store, "nord", key, &["stumm"], Fixture::at(0)).await;
    }
    let fail = async |one: &ClaimedDelivery, second: i64| {
        let started = start(store, &fixture, one, second).await;
        let retry = AttemptEnd::Retry { at: Fixture::at(second + 1), problem: Fixture::problem("KOP-TEST") };
        end(store, started, retry, LaneHealth::Failing(breaker), second).await;
    };
    let two = store.claim_deliveries(Fixture::claim_deliveries(2, 10), Fixture::at(1)).await.unwrap();
    for one in &two {
        fail(one, 1).await;
    }
    fixture.delivered_to(store, "nord", "E", &["wach"], Fixture::at(2)).await;
    let others = claimed(store, 10).await;
    assert_eq!(others.iter().map(|one| one.delivery.lane.as_str()).collect::<Vec<_>>(), ["wach"]);
    let started = start(store, &fixture, &others[0], 10).await;
    end(store, started, receipt(), LaneHealth::Well, 10).await;
    let lane = store.lanes(Some(&Fixture::tenant("nord"))).await.unwrap().remove(0);
    assert_eq!((lane.lane.as_str(), lane.paused_until), ("stumm", Some(Fixture::at(31))));
    assert_eq!(store.next_due(Fixture::at(10)).await.unwrap(), Some(Fixture::at(31)));

    let probe = claimed(store, 31).await;
    assert_eq!(probe.len(), 1, "one finds out for all");
    assert!(claimed(store, 31).await.is_empty());
    fail(&probe[0], 32).await;
    assert!(claimed(store, 91).await.is_empty(), "the second pause is twice as long");
    let probe = claimed(store, 92).await;
    assert_eq!(probe.len(), 1);
    let started = start(store, &fixture, &probe[0], 92).await;
    end(store, started, receipt(), LaneHealth::Well, 93).await;
    assert_eq!(claimed(store, 94).await.len(), 3, "it is back, and everything goes on");
}

pub(super) async fn the_pace_is_kept(store: &dyn Store) {
    let fixture = Fixture::default();
    let limits = LaneLimits { places: 10, per_minute: NonZeroU32::new(6) };
    for key in ["A", "B", "C"] {
        fixture.delivered_to(store, "nord", key, &["amt"], Fixture::at(0)).await;
    }
    for (second, begun) in [(1, 1), (2, 0), (10, 0), (11, 1), (20, 0), (21, 1)] {
        let claim = Fixture::claim_within(10, limits);
        let claimed = store.claim_deliveries(claim, Fixture::at(second)).await.unwrap();
        assert_eq!(claimed.len(), begun, "after {second} s");
        for one in &claimed {
            let started = start(store, &fixture, one, second).await;
            end(store, started, receipt(), LaneHealth::Well, second).await;
        }
        if second == 2 {
            assert_eq!(store.next_due(Fixture::at(2)).await.unwrap(), Some(Fixture::at(11)));
        }
    }
}

pub(super) async fn a_person_is_told_once_and_attempts_go_on(store: &dyn Store) {
    let fixture = Fixture::default();
    let accepted = fixture.delivered_to(store, "nord", "A", &["amt"], Fixture::at(0)).await;
    let (_, started) = fixture.start_one(store, Fixture::at(1)).await;
    assert_eq!(started.give_up_at, Fixture::at(3600));
    let retry = AttemptEnd::Retry { at: Fixture::at(700), problem: Fixture::problem("KOP-TEST") };
    end(store, started, retry, LaneHealth::Unknown, 2).await;
    assert!(store.overdue(10, Fixture::at(599)).await.unwrap().is_empty());
    let overdue = store.overdue(10, Fixture::at(600)).await.unwrap();
    assert_eq!(overdue.len(), 1);
    assert_eq!((overdue[0].lane.as_str(), overdue[0].since), ("amt", Fixture::at(0)));
    for told in [true, false] {
        let item = fixture.work_item("KOP-TEST");
        assert_eq!(store.tell(&overdue[0], item, Fixture::at(600)).await.unwrap(), told);
    }
    assert!(store.overdue(10, Fixture::at(601)).await.unwrap().is_empty());
    let tenant = Fixture::tenant("nord");
    let detail = store.submission(&tenant, accepted.submission_id).await.unwrap();
    assert_eq!((detail.work_items.len(), detail.deliveries[0].state), (1, DeliveryState::Wartend));
    assert!(detail.events.iter().any(|event| event.kind == event::VERZOEGERT));

    let (_, started) = fixture.start_one(store, Fixture::at(700)).await;
    end(store, started, receipt(), LaneHealth::Well, 701).await;
    let detail = store.submission(&tenant, accepted.submission_id).await.unwrap();
    assert_eq!(
        detail.work_items[0].closed_at,
        Some(Fixture::at(701)),
        "it arrived: nothing is left to look at"
    );
}
