//! The table on the terminal, and the JSON with every figure. [pure]

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::run::figures::{Figures, Summary, ratio, summary};

/// Figures whose ratio to the first target says nothing.
const WITHOUT_RATIO: &[&str] = &["seconds", "requests", "events", "events_all", "streams"];

/// All rounds of one target.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) rounds: Vec<Figures>,
}

/// One row per figure, one column per target: median `[min-max]` and, from the second target on,
/// the ratio to the first, round by round ([`ratio`]).
pub(super) fn table(targets: &[Measured]) -> String {
    let mut rows = vec![vec![String::new()]];
    rows[0].extend(targets.iter().map(|target| target.name.clone()));
    for name in names(targets) {
        let cells = targets.iter().enumerate().map(|(index, target)| {
            let base = targets.first().filter(|_| index > 0);
            let base = base.filter(|_| !WITHOUT_RATIO.contains(&name.as_str()));
            let ratio = base.and_then(|base| ratio(&target.rounds, &base.rounds, &name));
            summary(&target.rounds, &name).map_or("-".to_owned(), |it| cell(it, ratio))
        });
        rows.push(std::iter::once(name.clone()).chain(cells).collect());
    }
    aligned(&rows)
}

/// `{"host":…,"settings":…,"targets":[{"name","rounds":[{…}],"summary":{…}}]}`
pub(super) fn json(host: &Value, settings: &Value, targets: &[Measured]) -> Value {
    let targets: Vec<Value> = targets
        .iter()
        .map(|target| {
            let rounds = target.rounds.iter().map(|round| {
                let pairs = round
                    .0
                    .iter()
                    .map(|(name, value)| (name.clone(), json!(value)));
                Value::Object(pairs.collect())
            });
            let summaries = names(targets).into_iter().filter_map(|name| {
                let it = summary(&target.rounds, &name)?;
                Some((
                    name,
                    json!({"median": it.median, "min": it.min, "max": it.max}),
                ))
            });
            json!({
                "name": target.name,
                "rounds": rounds.collect::<Vec<_>>(),
                "summary": Value::Object(summaries.collect::<Map<_, _>>()),
            })
        })
        .collect();
    json!({"host": host, "settings": settings, "targets": targets})
}

/// Names of all figures, each at the place where a round first has it.
fn names(targets: &[Measured]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for round in targets.iter().flat_map(|target| &target.rounds) {
        let mut place = 0;
        for (name, _) in &round.0 {
            match names.iter().position(|each| each == name) {
                Some(at) => place = at + 1,
                None => {
                    names.insert(place, name.clone());
                    place += 1;
                }
            }
        }
    }
    names
}

fn cell(it: Summary, ratio: Option<f64>) -> String {
    let mut text = number(it.median);
    if it.min < it.max {
        // Writing to a text does not fail.
        let _ = write!(text, " [{}-{}]", number(it.min), number(it.max));
    }
    if let Some(ratio) = ratio {
        let _ = write!(text, "  {ratio:.2}x");
    }
    text
}

/// Four digits are enough for a reader; the JSON has all.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, rounds: &[&[(&str, f64)]]) -> Measured {
        let figures = |round: &&[(&str, f64)]| {
            Figures(
                round
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), *value))
                    .collect(),
            )
        };
        Measured {
            name: name.to_owned(),
            rounds: rounds.iter().map(figures).collect(),
        }
    }

    #[test]
    fn a_table_has_medians_ranges_and_ratios() {
        let first = measured(
            "one",
            &[&[("a_us", 10.0), ("b_us", 1.0)], &[("a_us", 30.0)]],
        );
        let second = measured(
            "other",
            &[&[("a_us", 10.0)], &[("a_us", 10.0), ("error_x", 2.0)]],
        );
        let want = [
            "         one               other",
            "a_us     20.0 [10.0-30.0]  10.0  0.67x",
            "error_x  -                 2.000",
            "b_us     1.000             -",
        ];
        assert_eq!(table(&[first, second]).lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn the_json_holds_every_figure_of_every_round() {
        let report = json(
            &json!({}),
            &json!({}),
            &[measured("one", &[&[("a_us", 0.123_456)]])],
        );
        assert_eq!(report["targets"][0]["rounds"][0]["a_us"], 0.123_456);
        assert_eq!(report["targets"][0]["summary"]["a_us"]["median"], 0.123_456);
    }
}
