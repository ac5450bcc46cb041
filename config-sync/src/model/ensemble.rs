//! Ensembles: several models answer, and one merges their answers. [pure]

use std::sync::Arc;

use super::field;
use crate::tree::Fields;

/// Answers wanted of a panel that names no number.
const RESPONSES_MIN_DEFAULT: u32 = 2;

/// Who answers and who merges.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    /// At least one; all are called at once.
    pub panel: Vec<PanelMember>,
    /// Who merges the answers.
    pub judge: Judge,
    /// Answers without which the request fails: 1 to the size of the panel. Default 2.
    pub responses_min: u32,
    /// Deadline of each call in ms, never 0; `None`: none.
    pub timeout_ms: Option<u64>,
}

/// One model that answers.
#[derive(Clone, Debug, PartialEq)]
pub struct PanelMember {
    /// Display name.
    pub model: Arc<str>,
    /// Temperature of its call, 0 or more; `None`: the caller's.
    pub temperature: Option<f64>,
    /// Seed of its call; `None`: the caller's.
    pub seed: Option<u64>,
}

/// The model that merges.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judge {
    /// Display name.
    pub model: Arc<str>,
    /// What it is told to do; `None`: the gateway's own text.
    pub synthesis_prompt: Option<Arc<str>>,
}

impl Ensemble {
    /// Reads the block of an ensemble. The result is usable only if no problem was noted.
    pub(super) fn read(fields: Fields<'_>) -> Option<Self> {
        let panel = read_panel(&fields);
        let judge = field::required_block(&fields, "judge").and_then(read_judge);
        let wanted = fields.take_u32_in("min_responses", 1, u32::MAX);
        let timeout_ms = field::timeout_ms(&fields, "timeout_ms");
        fields.finish();
        let size = u32::try_from(panel.len()).unwrap_or(u32::MAX);
        Some(Self {
            panel,
            judge: judge?,
            responses_min: wanted.unwrap_or(RESPONSES_MIN_DEFAULT).min(size),
            timeout_ms,
        })
    }
}

fn read_panel(fields: &Fields<'_>) -> Vec<PanelMember> {
    let mut panel = Vec::new();
    for (path, item) in field::items(fields, "panel") {
        let Some(block) = field::mapping(fields, &path, item) else {
            continue;
        };
        let model = field::text(&block, "model");
        let temperature = block.take_f64("temperature");
        if temperature.is_some_and(|temperature| temperature < 0.0) {
            block.problem("temperature", "must be 0 or more");
        }
        let seed = block.take_u64("seed");
        // Checked, without effect.
        block.take_u32("weight");
        panel.extend(model.map(|model| PanelMember {
            model,
            temperature,
            seed,
        }));
        block.finish();
    }
    panel
}

fn read_judge(block: Fields<'_>) -> Option<Judge> {
    let model = field::text(&block, "model");
    let prompt = block.take_nonempty_str("synthesis_prompt");
    block.finish();
    Some(Judge {
        model: model?,
        synthesis_prompt: prompt.map(Arc::from),
    })
}
