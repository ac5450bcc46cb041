//! The Prometheus text format, appended byte by byte. [cold]
//!
//! # Source
//!
//! Prometheus, "Exposition formats", text format 0.0.4.

use super::families::{Family, Kind};

/// What every name of ours starts with.
pub const PREFIX: &str = "sluice_";

/// Appends the HELP and TYPE lines of a family.
pub fn header(out: &mut Vec<u8>, family: &Family) {
    for (keyword, text) in [("# HELP ", family.help), ("# TYPE ", family.kind.label())] {
        out.extend_from_slice(keyword.as_bytes());
        name(out, family);
        out.push(b' ');
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    }
}

/// Appends the full name of a family.
fn name(out: &mut Vec<u8>, family: &Family) {
    if !family.standard {
        out.extend_from_slice(PREFIX.as_bytes());
    }
    out.extend_from_slice(family.name.as_bytes());
}

/// Appends `key="value"`, after a comma unless it is the first.
pub fn label(out: &mut Vec<u8>, key: &str, value: &str) {
    if !out.is_empty() && out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Appends one sample with a whole value. `labels` are rendered, without braces.
pub fn sample(out: &mut Vec<u8>, family: &Family, labels: &[u8], value: i64) {
    line_start(out, family, "", labels, None);
    integer(out, value);
}

/// Appends one sample whose value is `micros` millionths.
pub fn sample_micros(out: &mut Vec<u8>, family: &Family, labels: &[u8], micros: u64) {
    line_start(out, family, "", labels, None);
    seconds(out, micros);
    out.push(b'\n');
}

/// Appends a histogram. `sums` holds disjoint buckets, one more than `bounds_us`, then the sum in
/// microseconds.
pub fn histogram(
    out: &mut Vec<u8>,
    family: &Family,
    labels: &[u8],
    bounds_us: &[u64],
    sums: &[u64],
) {
    debug_assert_eq!(family.kind, Kind::Histogram);
    debug_assert_eq!(sums.len(), bounds_us.len() + 2);
    let mut count = 0u64;
    let bounds = bounds_us.iter().copied().map(Some).chain([None]);
    for (bound, in_bucket) in bounds.zip(sums) {
        count = count.wrapping_add(*in_bucket);
        line_start(out, family, "_bucket", labels, Some(bound));
        unsigned(out, count);
    }
    line_start(out, family, "_sum", labels, None);
    seconds(out, sums.last().copied().unwrap_or(0));
    out.push(b'\n');
    line_start(out, family, "_count", labels, None);
    unsigned(out, count);
}

/// Appends name, labels and the blank before the value. `le` is the bound of a bucket, `+Inf`
/// inside when there is none.
fn line_start(
    out: &mut Vec<u8>,
    family: &Family,
    suffix: &str,
    labels: &[u8],
    le: Option<Option<u64>>,
) {
    name(out, family);
    out.extend_from_slice(suffix.as_bytes());
    if !labels.is_empty() || le.is_some() {
        out.push(b'{');
        out.extend_from_slice(labels);
        if let Some(bound) = le {
            out.extend_from_slice(if labels.is_empty() {
                b"le=\""
            } else {
                b",le=\""
            });
            match bound {
                Some(micros) => seconds(out, micros),
                None => out.extend_from_slice(b"+Inf"),
            }
            out.push(b'"');
        }
        out.push(b'}');
    }
    out.push(b' ');
}

fn integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(b'\n');
}

/// A count as a sample's value.
pub fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unsigned(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.push(b'\n');
}

/// Appends microseconds as seconds, without trailing zeros.
pub fn seconds(out: &mut Vec<u8>, micros: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(micros / 1_000_000).as_bytes());
    let mut fraction = micros % 1_000_000;
    if fraction == 0 {
        return;
    }
    out.push(b'.');
    let mut unit = 100_000;
    while fraction > 0 {
        out.push(b'0' + (fraction / unit) as u8);
        fraction %= unit;
        unit /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: Family = Family {
        name: "x",
        help: "A test.",
        kind: Kind::Histogram,
        labels: "",
        standard: false,
    };

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn seconds_are_exact_and_short() {
        let cases = [
            (0, "0"),
            (1, "0.000001"),
            (5_000, "0.005"),
            (1_000_000, "1"),
            (1_500_000, "1.5"),
            (600_000_000, "600"),
            (123_456_789, "123.456789"),
        ];
        for (micros, want) in cases {
            assert_eq!(text(|out| seconds(out, micros)), want);
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let cases = [
            ("a", r#"k="a""#),
            ("a\"b\\c\nd", r#"k="a\"b\\c\nd""#),
            ("é", "k=\"é\""),
        ];
        for (value, want) in cases {
            assert_eq!(text(|out| label(out, "k", value)), want);
        }
        let two = text(|out| {
            label(out, "a", "");
            label(out, "b", "2");
        });
        assert_eq!(two, r#"a="",b="2""#);
    }

    #[test]
    fn buckets_are_cumulated() {
        let got = text(|out| {
            header(out, &FAMILY);
            histogram(
                out,
                &FAMILY,
                b"a=\"1\"",
                &[5_000, 1_000_000],
                &[2, 1, 3, 4_500_000],
            );
        });
        let want = "# HELP sluice_x A test.\n# TYPE sluice_x histogram\n\
            sluice_x_bucket{a=\"1\",le=\"0.005\"} 2\n\
            sluice_x_bucket{a=\"1\",le=\"1\"} 3\n\
            sluice_x_bucket{a=\"1\",le=\"+Inf\"} 6\n\
            sluice_x_sum{a=\"1\"} 4.5\n\
            sluice_x_count{a=\"1\"} 6\n";
        assert_eq!(got, want);
    }

    #[test]
    fn a_sample_without_labels_has_no_braces() {
        assert_eq!(text(|out| sample(out, &FAMILY, b"", -1)), "sluice_x -1\n");
        assert_eq!(
            text(|out| sample_micros(out, &FAMILY, b"", 10)),
            "sluice_x 0.00001\n"
        );
    }
}
