// SPDX-License-Identifier: EUPL-1.2
//! What every store must do, as tests against the trait: the same suite runs for each implementation.
//! Invented people only; the clock is the caller's.

mod acts;
mod cases;
mod fixture;
mod keeping;
mod lanes;
mod numbers;
mod search;
mod settlements;

use crate::api::Store;
pub use fixture::{Fixture, LEASE};

/// Runs the whole suite, each case on a store of its own.
///
/// # Panics
/// When the store does not do what it must.
pub async fn run<S: Store>(mut fresh: impl AsyncFnMut() -> S) {
    cases::the_same_submission_gets_the_first_answer(&fresh().await).await;
    cases::a_submission_goes_all_the_way(&fresh().await).await;
    cases::a_stale_lease_records_nothing(&fresh().await).await;
    cases::a_failed_attempt_waits_for_its_moment(&fresh().await).await;
    cases::tenants_and_lanes_take_turns(&fresh().await).await;
    cases::an_attempt_without_end_is_recovered(&fresh().await).await;
    cases::a_pending_delivery_is_asked_about(&fresh().await).await;
    cases::a_person_has_a_refused_delivery_sent_again(&fresh().await).await;
    cases::a_person_has_a_submission_processed_again(&fresh().await).await;
    cases::a_step_told_again_is_the_same_step(&fresh().await).await;
    lanes::an_ordered_lane_keeps_the_order_of_the_submissions(&fresh().await).await;
    lanes::a_vorgang_waits_only_for_itself(&fresh().await).await;
    lanes::a_parked_head_holds_its_lane_until_a_person_decided(&fresh().await).await;
    lanes::what_a_person_has_tried_again_waits_for_what_came_before(&fresh().await).await;
    lanes::a_receiver_that_does_not_answer_pauses_its_lane_alone(&fresh().await).await;
    lanes::the_pace_is_kept(&fresh().await).await;
    lanes::a_person_is_told_once_and_attempts_go_on(&fresh().await).await;
    acts::causes_tell_where_they_come_from(&fresh().await).await;
    acts::a_message_is_made_instead_of_another(&fresh().await).await;
    acts::a_correction_lies_over_the_document(&fresh().await).await;
    keeping::blobs_that_a_row_names_are_told_from_others(&fresh().await).await;
    keeping::contents_go_before_metadata_and_nothing_open_goes(&fresh().await).await;
    numbers::gauges_count_what_is_open(&fresh().await).await;
    numbers::a_run_that_is_given_back_does_not_count(&fresh().await).await;
    settlements::a_source_is_told_when_its_moment_has_come(&fresh().await).await;
    settlements::a_source_never_waits_longer_than_its_latest_moment(&fresh().await).await;
    settlements::what_fails_to_settle_leaves_the_application_alone(&fresh().await).await;
    settlements::a_source_that_brings_it_again_is_told_again(&fresh().await).await;
    search::lists_filter_and_page(&fresh().await).await;
    search::short_ids_are_resolved(&fresh().await).await;
}
