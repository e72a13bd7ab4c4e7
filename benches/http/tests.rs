//! Tests of what the bench of HTTP computes. A target of their own: what a bench holds is not run as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod figures;
mod reading;
mod report;

use figures::{Figure, Load, Part, median, number, ratio};
use reading::{commands, field, of_h2load, of_wrk, ticks};
use report::{BEGIN, END, document, page_with, part, tables};
use serde_json::json;

const WRK: &str = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n\
    summary requests=160000 duration_us=1000500 p50_us=150 p99_us=240 connect=0 read=1 write=0 status=2 timeout=0\n";

#[test]
fn a_load_of_wrk_is_read_and_each_failure_counts() {
    let answered = of_wrk(WRK).unwrap();
    assert_eq!((answered.requests, answered.failed), (160_000.0, 3));
    assert_eq!((answered.p50_us, answered.p99_us), (Some(150.0), Some(240.0)));
    assert!((answered.seconds - 1.0005).abs() < 1e-9);
    assert_eq!(of_wrk("unable to connect to 127.0.0.1:1"), None);
    assert_eq!(of_wrk(&WRK.replace("status=2 ", "")), None, "a count that is missing is not 0");
}

const H2LOAD: &str = "finished in 1.00s, 246000.00 req/s, 12.00MB/s\n\
    requests: 246010 total, 246128 started, 246010 done, 246000 succeeded, 10 failed, 3 errored, 0 timeout\n\
    status codes: 246000 2xx, 0 3xx, 7 4xx, 0 5xx\n\
    time for request:      123us      4.56ms       512us       100us    70.00%\n";

#[test]
fn a_load_of_h2load_is_read_and_each_failure_counts() {
    let answered = of_h2load(H2LOAD, 1.0).unwrap();
    assert_eq!((answered.requests, answered.failed, answered.p99_us), (246_000.0, 10, None));
    let silent = H2LOAD.replace("246000 2xx", "0 2xx");
    assert!(of_h2load(&silent, 1.0).unwrap().failed > 0);
    assert_eq!(of_h2load("", 1.0), None);
}

#[test]
fn processor_time_is_found_behind_any_name() {
    let stat = "42 (a) S (b) c) R 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 3 0 99";
    assert_eq!(ticks(stat), Some(175));
    assert_eq!(ticks("42 (a) R 1 2"), None);
}

#[test]
fn fields_are_found_by_their_whole_name() {
    assert_eq!(field("VmRSSx:\t1 kB\nVmRSS:\t  12345 kB\n", "VmRSS"), Some(12_345));
    assert_eq!(field("used_memory:77\r\nused_memory_rss:99\r\n", "used_memory"), Some(77));
    assert_eq!(field("", "VmRSS"), None);
}

#[test]
fn commands_are_told_apart_by_their_first_word() {
    let info = "# Commandstats\r\ncmdstat_xadd:calls=3,usec=12,usec_per_call=4.00,rejected_calls=0\r\n\
        cmdstat_xgroup|create:calls=2,usec=1\r\ncmdstat_evalsha:calls=5,usec=1\r\n";
    assert_eq!(commands(info, &["evalsha", "xgroup"]), (7.0, 3.0));
    assert_eq!(commands("", &["evalsha"]), (0.0, 0.0));
}

#[test]
fn the_median_is_the_middle_in_whatever_order() {
    assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    assert!(median([]).is_nan());
}

#[test]
fn a_ratio_is_taken_round_by_round() {
    // The second round was slow for both.
    let (ours, theirs) = ([90.0, 45.0, 92.0], [100.0, 50.0, 100.0]);
    assert!((ratio(&ours, &theirs) - 0.9).abs() < 1e-9);
}

#[test]
fn a_target_is_met_at_its_bound_and_missed_beyond() {
    let figure = |value| Figure::new("x", value, "");
    assert_eq!(figure(0.75).at_least(0.75).met, Some(true));
    assert_eq!(figure(0.74).at_least(0.75).met, Some(false));
    assert_eq!(figure(1.36).at_most(1.35).met, Some(false));
    assert_eq!(figure(f64::NAN).at_most(1.35).met, Some(false), "what could not be measured is not met");
    assert_eq!(figure(1.0).met, None);
}

#[test]
fn numbers_are_short() {
    for (value, text) in
        [(162_345.4, "162,345"), (1_000.0, "1,000"), (-1_234.0, "-1,234"), (151.6, "152"), (12.345, "12.3")]
    {
        assert_eq!(number(value), text);
    }
    for (value, text) in [(1.0, "1.00"), (0.747, "0.747"), (0.00123, "0.00123"), (0.0, "0"), (f64::NAN, "-")] {
        assert_eq!(number(value), text);
    }
}

fn measured() -> Part {
    let load = Load {
        what: "verify, plain".into(),
        server: "empty".into(),
        per_second: 160_000.0,
        p50_us: Some(150.0),
        p99_us: None,
        cpu_us: 5.8,
        cpu_in_the_end_us: 5.9,
        busy: 0.98,
        rounds: 7,
    };
    let figures = vec![Figure::new("rate", 0.74, "").at_least(0.75).of("118,000 of 160,000")];
    Part { case: "verify".into(), loads: vec![load], figures }
}

#[test]
fn a_part_reads_back_and_a_miss_stands_out() {
    let part_again = part("x", &serde_json::to_value(measured()).unwrap());
    assert_eq!(part_again, measured());
    let text = tables(&[part_again]);
    assert!(text.contains("| rate | 0.740 | at least 0.75 | **missed** | 118,000 of 160,000 |"), "{text}");
    assert!(text.contains("| verify, plain | empty | 160,000 | 150 |  | 5.80 | 5.90 | 0.98 |"), "{text}");
}

#[test]
fn a_document_of_another_form_is_taken_apart_into_its_numbers() {
    let part = part("freshness", &json!({"receipt_ms": {"median": 1.5}, "rows": [{"ns": 7, "name": "x"}]}));
    let named: Vec<_> = part.figures.iter().map(|figure| (figure.what.as_str(), figure.value)).collect();
    assert_eq!(named, [("receipt_ms median", 1.5), ("rows 0 ns", 7.0)]);
    assert_eq!(document(&[part])["freshness"]["figures"][0]["value"], json!(1.5));
}

#[test]
fn only_what_stands_between_the_marks_is_replaced() {
    let page = format!("# Speed\n\n{BEGIN}\nold\n{END}\nrest\n");
    let new = page_with(&page, "table\n\n").unwrap();
    assert_eq!(new, format!("# Speed\n\n{BEGIN}\n\ntable\n{END}\nrest\n"));
    assert_eq!(page_with(&new, "table\n\n").unwrap(), new);
    assert_eq!(page_with("# Speed", "table"), None);
}
