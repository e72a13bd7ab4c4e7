use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many values a [`Top`] keeps.
pub const KEPT: usize = 16;
/// The most bytes of a value; what is longer is cut.
const LENGTH: usize = 160;
/// At the end of what was cut.
const CUT: &str = "…";

/// The most frequent of values that come from outside, in bounded memory: Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient
/// computation of frequent and top-k elements in data streams", 2005). Where all places are taken, a new value takes that of the
/// rarest one, and its count. So
/// - as long as there were no more than [`KEPT`] values, all is exact;
/// - a value that makes up more than one in [`KEPT`] of all is there;
/// - a count is too high by `error` at the most, and a value that isn't there was not seen more often than the rarest one that is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Top(Vec<Row>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    #[serde(rename = "v")]
    value: String,
    #[serde(rename = "n")]
    count: u64,
    /// How much of the count is that of values which had the place before.
    #[serde(rename = "e", default, skip_serializing_if = "is_zero")]
    error: u64,
    /// When it was last seen, in milliseconds.
    #[serde(rename = "t")]
    last: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Top {
    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values that are kept, in no order that means anything.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|row| row.value.as_str())
    }

    /// Takes in a value, seen at this time.
    pub fn take(&mut self, value: &str, time: i64) {
        self.take_parts([value], time);
    }

    /// The same of a value that is these parts in a row. Most are known already, and no text is made of them.
    pub fn take_parts<const N: usize>(&mut self, parts: [&str; N], time: i64) {
        if let Some(at) = self.0.iter().position(|row| is_made_of(&row.value, &parts)) {
            if let Some(row) = self.0.get_mut(at) {
                row.count += 1;
                row.last = row.last.max(time);
            }
            // What is frequent is found early.
            if at > 0 {
                self.0.swap(at, at / 2);
            }
            return;
        }
        let row = Row { value: cut(&parts), count: 1, error: 0, last: time };
        if self.0.len() < KEPT {
            self.0.push(row);
        } else if let Some(rarest) = self.0.iter_mut().min_by_key(|row| (row.count, row.last)) {
            *rarest = Row { count: rarest.count + 1, error: rarest.count, ..row };
        }
    }

    /// How often a value that isn't there was seen at the most.
    fn unseen(&self) -> u64 {
        if self.0.len() < KEPT { 0 } else { self.0.iter().map(|row| row.count).min().unwrap_or_default() }
    }
}

/// Where a value ends that is longer than it may be.
fn end_of(value: &str) -> usize {
    (0..=LENGTH - CUT.len()).rev().find(|at| value.is_char_boundary(*at)).unwrap_or_default()
}

fn cut(parts: &[&str]) -> String {
    let whole = parts.concat();
    if whole.len() <= LENGTH {
        return whole;
    }
    let kept = whole.get(..end_of(&whole)).unwrap_or_default();
    [kept, CUT].concat()
}

/// Whether a value is what [`cut`] makes of these parts.
fn is_made_of(value: &str, parts: &[&str]) -> bool {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > LENGTH {
        return value == cut(parts);
    }
    let mut rest = value.as_bytes();
    value.len() == length
        && parts.iter().all(|part| {
            let (start, after) = rest.split_at_checked(part.len()).unwrap_or((rest, &[]));
            rest = after;
            start == part.as_bytes()
        })
}

/// Several [`Top`]s together.
#[derive(Debug, Default)]
pub struct Union<'a>(Vec<(&'a Top, bool)>);

/// How often a value was seen, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Estimate {
    /// How often.
    pub count: u64,
    /// By how much that may be too high: others had its place before.
    pub too_high_by: u64,
    /// By how much that may be too low: where it has no place it may have been seen as often as the rarest that has one.
    pub too_low_by: u64,
    /// Of the count, those of refused calls.
    pub refused: u64,
    /// When last, in milliseconds.
    pub last: i64,
}

impl Estimate {
    /// So often for certain.
    fn certain(&self) -> u64 {
        self.count.saturating_sub(self.too_high_by)
    }
}

impl<'a> Union<'a> {
    /// Adds one, of calls that were refused or of others.
    pub fn add(&mut self, top: &'a Top, of_refused: bool) {
        if !top.is_empty() {
            self.0.push((top, of_refused));
        }
    }

    /// The values that were seen most often: so many at the most, and first those that are so for certain.
    pub fn most_frequent(&self, limit: usize) -> Vec<(String, Estimate)> {
        let mut sums = BTreeMap::<&str, Estimate>::new();
        for row in self.0.iter().flat_map(|(top, _)| &top.0) {
            sums.entry(&row.value).or_default();
        }
        for (top, of_refused) in &self.0 {
            let unseen = top.unseen();
            sums.values_mut().for_each(|seen| seen.too_low_by += unseen);
            for row in &top.0 {
                let seen = sums.entry(&row.value).or_default();
                seen.count += row.count;
                seen.refused += if *of_refused { row.count } else { 0 };
                seen.last = seen.last.max(row.last);
                seen.too_high_by += row.error;
                seen.too_low_by -= unseen;
            }
        }
        let mut rows: Vec<(String, Estimate)> =
            sums.into_iter().map(|(value, seen)| (value.to_owned(), seen)).collect();
        rows.sort_by(|(a, one), (b, other)| {
            (other.certain(), other.count).cmp(&(one.certain(), one.count)).then_with(|| a.cmp(b))
        });
        rows.truncate(limit);
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_kept_is_bounded_and_as_near_to_the_truth_as_is_said(
            // Skewed: most throws give small numbers.
            hours in proptest::collection::vec(proptest::collection::vec((0_u32..9, any::<u32>(), any::<bool>()), 0..400), 1..4)
        ) {
            let (mut truth, mut refused) = (HashMap::<String, u64>::new(), HashMap::<String, u64>::new());
            let mut tops = Vec::new();
            for hour in &hours {
                let mut pair = [Top::default(), Top::default()];
                let mut totals = [0, 0];
                let mut of_hour = [HashMap::<String, u64>::new(), HashMap::new()];
                for (bits, random, is_refused) in hour {
                    let value = format!("/{}", random % (1 << bits));
                    let at = usize::from(*is_refused);
                    pair[at].take(&value, i64::from(*random));
                    totals[at] += 1;
                    *of_hour[at].entry(value.clone()).or_default() += 1;
                    *truth.entry(value.clone()).or_default() += 1;
                    if *is_refused {
                        *refused.entry(value).or_default() += 1;
                    }
                }
                for ((top, total), of_hour) in pair.iter().zip(totals).zip(&of_hour) {
                    prop_assert!(top.0.len() <= KEPT);
                    prop_assert_eq!(top.0.iter().map(|row| row.count).sum::<u64>(), total);
                    for (value, count) in of_hour {
                        let is_frequent = count * KEPT as u64 > total;
                        prop_assert!(!is_frequent || top.values().any(|kept| kept == value), "{} of {}", value, total);
                    }
                    if of_hour.len() <= KEPT {
                        prop_assert!(top.0.iter().all(|row| row.error == 0 && of_hour[&row.value] == row.count));
                    }
                }
                tops.push(pair);
            }
            let mut all = Union::default();
            for [one, other] in &tops {
                all.add(one, false);
                all.add(other, true);
            }
            for (value, seen) in all.most_frequent(usize::MAX) {
                let truth = truth[&value];
                let range = seen.count - seen.too_high_by..=seen.count + seen.too_low_by;
                prop_assert!(range.contains(&truth), "{} {:?} {}", value, seen, truth);
                if (seen.too_high_by, seen.too_low_by) == (0, 0) {
                    prop_assert_eq!(seen.refused, refused.get(&value).copied().unwrap_or_default());
                }
            }
        }
    }

    #[test]
    fn the_most_frequent_come_first_and_a_flood_of_others_hides_them_not() {
        let mut top = Top::default();
        for number in 0..3_000_i64 {
            // A third, a sixth, and the rest never twice.
            match number % 6 {
                0 | 1 => top.take("often", number),
                2 => top.take("less often", number),
                _ => top.take(&format!("/{number}"), number),
            }
        }
        let mut all = Union::default();
        all.add(&top, false);
        let rows = all.most_frequent(3);
        let (first, second) = (&rows[0], &rows[1]);
        assert_eq!((first.0.as_str(), first.1.count, first.1.too_high_by), ("often", 1_000, 0));
        assert_eq!((second.0.as_str(), second.1.count, second.1.too_high_by), ("less often", 500, 0));
        assert_eq!(first.1.last, 2_995);
        assert!(rows[2].1.certain() <= 1, "{rows:?}");
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn long_values_are_cut_and_still_known() {
        let mut top = Top::default();
        for value in ["ä".repeat(300), "b".repeat(LENGTH), "b".repeat(LENGTH + 1), "ä".repeat(301)] {
            top.take_parts([&value[..2], &value[2..]], 1);
        }
        let values: Vec<_> = top.values().collect();
        assert_eq!(values.len(), 3, "{values:?}");
        assert!(values.iter().all(|value| value.len() <= LENGTH));
        assert_eq!(values.iter().filter(|value| value.ends_with(CUT)).count(), 2);
    }

    #[test]
    fn parts_are_the_value_that_they_make() {
        let mut top = Top::default();
        top.take("GET /a", 1);
        top.take_parts(["GET", " ", "/a"], 2);
        top.take_parts(["GE", "T /", "b"], 3);
        top.take("GET /b", 4);
        let mut all = Union::default();
        all.add(&top, true);
        let counts: Vec<_> = all.most_frequent(9).into_iter().map(|(value, seen)| (value, seen.refused)).collect();
        assert_eq!(counts, [("GET /a".to_owned(), 2), ("GET /b".to_owned(), 2)]);
    }
}
