//! What tokens cost. [pure]

use config_sync::model::model::Cost;

use crate::bridge::record::Usage;

/// Micro-dollars per dollar, over the thousand tokens that prices are quoted for.
const MICRO_USD_PER_UNIT: f64 = 1_000_000.0 / 1_000.0;

/// The cost of `usage` in millionths of a US dollar, rounded to the nearest; 0 without a price.
pub fn cost_micro_usd(cost: Option<&Cost>, usage: &Usage) -> u64 {
    let Some(cost) = cost else { return 0 };
    let units =
        usage.prompt as f64 * cost.input_per_1k + usage.completion as f64 * cost.output_per_1k;
    // `as` saturates and takes NaN and negative prices for 0.
    (units * MICRO_USD_PER_UNIT).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_per_thousand_tokens_give_micro_dollars() {
        let cases = [
            (0.0, 0.0, 1000, 1000, 0),
            (0.0025, 0.01, 1000, 1000, 12_500),
            (0.00015, 0.0006, 9, 4, 4), // 1.35 + 2.4 micro-dollars
            (0.15, 0.0, 1, 0, 150),
            (f64::NAN, 0.0, 5, 0, 0),
            (-1.0, 0.0, 5, 0, 0),
            (1e300, 1e300, u64::MAX, u64::MAX, u64::MAX),
        ];
        for (input_per_1k, output_per_1k, prompt, completion, want) in cases {
            let cost = Cost {
                input_per_1k,
                output_per_1k,
            };
            let usage = Usage {
                prompt,
                completion,
                ..Usage::default()
            };
            assert_eq!(cost_micro_usd(Some(&cost), &usage), want);
            assert_eq!(cost_micro_usd(None, &usage), 0);
        }
    }
}
