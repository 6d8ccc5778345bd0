//! What every store does, held by both databases: each function below runs on SQLite and on PostgreSQL.
//!
//! PostgreSQL is the real server: `eval "$(scripts/services start)"` first. Without it these tests fail and say so;
//! a suite that skips itself would look the same as one that passes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "contract/away.rs"]
mod away;
#[path = "contract/control.rs"]
mod control;
#[path = "contract/draining.rs"]
mod draining;
#[path = "contract/hosted.rs"]
mod hosted;
#[path = "contract/identity.rs"]
mod identity;
#[path = "contract/leases.rs"]
mod leases;
#[path = "contract/log.rs"]
mod log;
#[path = "contract/moving.rs"]
mod moving;
#[path = "contract/responses.rs"]
mod responses;
#[path = "contract/samples.rs"]
mod samples;
#[path = "contract/stand.rs"]
mod stand;
#[path = "contract/sums.rs"]
mod sums;

/// One test for each database and function.
macro_rules! contract {
    ($($module:ident :: $function:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $function() {
                let stand = crate::stand::Stand::sqlite().await;
                crate::$module::$function(&stand).await;
                stand.close().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $function() {
                let stand = crate::stand::Stand::postgres().await;
                crate::$module::$function(&stand).await;
                stand.close().await;
            })*
        }
    };
}

contract! {
    control::every_statement_fits_the_schema,
    control::a_second_start_changes_nothing,
    control::nodes_that_start_together_make_one_schema,
    control::a_key_lives_from_its_making_to_its_revocation,
    control::a_name_is_free_again_after_revocation,
    control::releases_are_numbered_once,
    hosted::what_is_in_force_is_the_last_publication,
    hosted::of_two_who_publish_at_once_one_is_told,
    hosted::an_environment_is_made_whole_and_its_name_is_free,
    hosted::approvals_are_counted_once_each,
    draining::a_batch_counts_once_however_often_it_comes,
    draining::batches_that_overlap_count_each_record_once,
    draining::a_record_twice_in_one_batch_counts_once,
    draining::a_cancelled_drain_leaves_nothing_half_done,
    draining::two_drains_at_once_count_each_record_once,
    draining::figures_that_no_provider_can_mean_break_no_sum,
    draining::bytes_that_no_text_may_hold_are_stored_anyway,
    sums::balances_are_exact_and_by_window_and_currency,
    sums::balances_of_windows_long_over_are_left_out,
    sums::folding_changes_no_sum,
    sums::folding_beside_drains_loses_nothing,
    sums::usage_is_grouped_as_asked,
    sums::unknown_costs_are_counted_and_never_zero,
    sums::attempts_that_gave_nothing_are_no_requests,
    sums::usage_is_cut_by_time_environment_and_key,
    log::a_line_comes_back_as_it_went_in,
    log::pages_meet_without_gap_or_overlap,
    log::following_misses_nothing,
    log::filters_hold_together,
    log::a_batch_across_midnight_lies_in_two_days,
    log::old_days_are_dropped_whole,
    responses::a_response_is_found_in_its_environment_alone,
    responses::a_chain_is_read_to_its_end_or_its_bounds,
    responses::a_response_that_is_being_made_ends_once,
    responses::responses_go_when_their_time_is_over,
    identity::declared_places_have_one_row_each,
    identity::an_organization_is_taken_over_once_and_whole,
    identity::a_session_ends_at_once_and_with_its_password,
    identity::a_reset_works_once_and_ends_every_session,
    identity::an_organization_keeps_an_owner,
    identity::an_invitation_is_accepted_once,
    identity::who_is_invited_first_takes_the_organization_over,
    identity::a_token_is_found_until_it_is_taken_back,
    identity::a_code_works_once,
}

/// What only several nodes need, and so only PostgreSQL has.
mod several {
    macro_rules! on_postgres {
        ($($function:ident),* $(,)?) => {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $function() {
                let stand = crate::stand::Stand::postgres().await;
                crate::leases::$function(&stand).await;
                stand.close().await;
            })*
        };
    }
    on_postgres! {
        a_window_is_divided_and_given_back,
        many_windows_are_divided_in_one_turn,
        what_lies_with_a_node_that_is_gone_is_told_apart,
        asks_at_the_same_moment_never_get_more_than_there_is,
        a_node_that_is_gone_can_be_forgotten,
    }
}
