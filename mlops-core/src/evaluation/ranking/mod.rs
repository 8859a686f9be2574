//! Lists of items against what was relevant.
//!
//! A [`Ranking`] is one query: what was retrieved, in order, and what would have been relevant. It answers DCG,
//! NDCG, average precision, reciprocal rank, precision, recall and hits. [`RankingMetrics`] averages over
//! queries, streams and merges. [`ndcg_rows`] is the fast path for matrices. [`Catalogue`] looks at all lists
//! together: coverage, Gini, novelty; [`ListMetrics`] at diversity and serendipity within each. [`Gauc`] is the area under the ROC curve within users.
//!
//! Tools disagree in details; [`Conventions`] has a preset for each.
//!
//! | | [`sklearn`](Conventions::sklearn) | [`trec_eval`](Conventions::trec_eval) | [`ranx`](Conventions::ranx) |
//! |---|---|---|---|
//! | tied scores | NDCG is the mean over all orders, else the last one first | by name, descending; scores in single precision | as given |
//! | gain in DCG | relevance | relevance | relevance |
//! | AP at k divides by | all relevant | all relevant | all relevant |
//! | query without relevant items | counts 0 | counts 0 | counts 0 |
//! | query without answers | counts 0 | left out | counts 0 |

mod catalogue;
mod conventions;
mod fast;
mod gauc;
mod lists;
mod metrics;
mod query;

pub use catalogue::{Catalogue, intra_list_diversity, serendipity};
pub use conventions::{ApDenominator, Conventions, Gain, Judgements, NoAnswer, NoRelevant, Ties, rankings};
pub use fast::ndcg_rows;
pub use gauc::Gauc;
pub use lists::{ListMetrics, ListRow};
pub use metrics::{RankingMetrics, RankingSettings};
pub use query::{Ranking, label_ranking_average_precision};
