//! The named methods.

use nb_loss::SoftScaling;

use super::definition::{Method, Stage, Term};
use super::parts::{Blend, Ensemble, PkdLayers, Share, TeacherRole};
use super::ramp::Ramp;
use super::temperature::Temperature;
use crate::config::TermKind;

/// Weight of each term of a stage.
type Weights<'a> = &'a [(TermKind, f64)];

/// Returns the presets.
///
/// | name | teacher | total | source and defaults |
/// | --- | --- | --- | --- |
/// | `newsbert` | joint, top layers shared, β = 0.15 | all terms of L^s + L^t, embedding and hidden at 0.1 | Wu et al., NewsBERT, Findings of EMNLP 2021, sections 3.2 and 3.3. The paper sums without weights; `docs/methods.md` explains why the states have smaller weights here |
/// | `finetune` | none | L = CE(ŷ_s, y) | the student alone on the labels |
/// | `teacher` | itself | L = CE(ŷ_t, y) | the teacher alone on the labels |
/// | `kd` | frozen | α·T²·L_soft + β·L_hard | Hinton, Vinyals and Dean 2015, section 2; T = 2, α = β = 0.5 |
/// | `distiller` | frozen; joint if `weights.teacher` is above 0 | w_d·KL + w_s·CE(ŷ_s, y) + w_t·CE(ŷ_t, y) | Neural Network Distiller, `KnowledgeDistillationPolicy`: weights 0.5, 0.5, 0 and T = 1 as there; its code does not scale by T² (`t2: true` does) and rejects a teacher weight |
/// | `pkd` | frozen | α·T²·L_soft + (1−α)·L_hard + β·L_PT | Sun et al., Patient Knowledge Distillation, EMNLP 2019, equations 3, 7 and 8: α = 0.5, T = 5 and β = 100 from their grids, strategy skip; L_PT divides by the hidden units as their code does. A one-layer student has no intermediate layer, so the method reduces to `kd` |
/// | `distilbert` | frozen | 5·T²·L_soft + 2·L_hard + 1·L_cos | Sanh et al., DistilBERT, 2019: T = 2 and the weights of their published command, the label in place of the masked words |
/// | `tinybert` | frozen | first half: embedding + hidden + attention; second half: L_soft at T = 1 | Jiao et al., TinyBERT, Findings of EMNLP 2020, equations 6 to 11; both stages on the task's own data, equally long |
pub fn presets() -> Vec<Method> {
    use TermKind::{Attention, Cosine, Divergence, Embedding, Hard, Hidden, Patience, Pooled, Soft, Teacher};
    let newsbert: Weights = &[(Teacher, 1.0), (Embedding, 0.1), (Hidden, 0.1), (Pooled, 1.0), (Soft, 1.0), (Hard, 1.0)];
    let squared = SoftScaling::TemperatureSquared;
    vec![
        Method {
            teacher: TeacherRole::Joint,
            beta: Ramp::Constant(0.15),
            share: Share::ALL,
            ..method("newsbert", &[newsbert])
        },
        Method { teacher: TeacherRole::Absent, ..method("finetune", &[&[(Hard, 1.0)]]) },
        Method { teacher: TeacherRole::Joint, ..method("teacher", &[&[(Teacher, 1.0)]]) },
        Method { temperature: at(2.0), scaling: squared, ..method("kd", &[&[(Soft, 0.5), (Hard, 0.5)]]) },
        method("distiller", &[&[(Divergence, 0.5), (Hard, 0.5)]]),
        Method {
            temperature: at(5.0),
            scaling: squared,
            ..method("pkd", &[&[(Patience, 100.0), (Soft, 0.5), (Hard, 0.5)]])
        },
        Method {
            temperature: at(2.0),
            scaling: squared,
            ..method("distilbert", &[&[(Cosine, 1.0), (Soft, 5.0), (Hard, 2.0)]])
        },
        method("tinybert", &[&[(Embedding, 1.0), (Hidden, 1.0), (Attention, 1.0)], &[(Soft, 1.0)]]),
    ]
}

fn at(temperature: f64) -> Temperature {
    Temperature::Ramp(Ramp::Constant(temperature))
}

/// Returns a method with a frozen teacher and stages of equal length, which shares no layers and blends no gradients.
pub(super) fn method(name: &str, stages: &[Weights]) -> Method {
    let terms = |weights: Weights| {
        let mut terms: Vec<Term> =
            weights.iter().map(|&(kind, weight)| Term { kind, weight: Ramp::Constant(weight) }).collect();
        terms.sort_by_key(|term| term.kind);
        terms
    };
    Method {
        name: name.to_owned(),
        teacher: TeacherRole::Frozen,
        temperature: at(1.0),
        scaling: SoftScaling::Plain,
        similarity_scale: 20.0,
        beta: Ramp::Constant(0.0),
        blend: Blend::Layers,
        share: Share::NONE,
        layers: None,
        pkd_layers: PkdLayers::Skip,
        ensemble: Ensemble::Mean,
        stages: stages.iter().map(|&weights| Stage { share: 1.0, terms: terms(weights) }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use nb_model::Capture;

    use super::*;
    use TermKind::{Attention, Cosine, Divergence, Embedding, Hard, Hidden, Patience, Pooled, Soft, Teacher};

    /// The documented values of a preset.
    struct Documented<'a> {
        name: &'a str,
        teacher: TeacherRole,
        temperature: f64,
        t2: bool,
        beta: f64,
        share: Share,
        stages: &'a [Weights<'a>],
    }

    const FROZEN: Documented<'_> = Documented {
        name: "",
        teacher: TeacherRole::Frozen,
        temperature: 1.0,
        t2: false,
        beta: 0.0,
        share: Share::NONE,
        stages: &[],
    };

    const DOCUMENTED: [Documented<'_>; 8] = [
        Documented {
            name: "newsbert",
            teacher: TeacherRole::Joint,
            beta: 0.15,
            share: Share::ALL,
            stages: &[&[(Teacher, 1.0), (Embedding, 0.1), (Hidden, 0.1), (Pooled, 1.0), (Soft, 1.0), (Hard, 1.0)]],
            ..FROZEN
        },
        Documented { name: "finetune", teacher: TeacherRole::Absent, stages: &[&[(Hard, 1.0)]], ..FROZEN },
        Documented { name: "teacher", teacher: TeacherRole::Joint, stages: &[&[(Teacher, 1.0)]], ..FROZEN },
        Documented { name: "kd", temperature: 2.0, t2: true, stages: &[&[(Soft, 0.5), (Hard, 0.5)]], ..FROZEN },
        Documented { name: "distiller", stages: &[&[(Divergence, 0.5), (Hard, 0.5)]], ..FROZEN },
        Documented {
            name: "pkd",
            temperature: 5.0,
            t2: true,
            stages: &[&[(Patience, 100.0), (Soft, 0.5), (Hard, 0.5)]],
            ..FROZEN
        },
        Documented {
            name: "distilbert",
            temperature: 2.0,
            t2: true,
            stages: &[&[(Cosine, 1.0), (Soft, 5.0), (Hard, 2.0)]],
            ..FROZEN
        },
        Documented {
            name: "tinybert",
            stages: &[&[(Embedding, 1.0), (Hidden, 1.0), (Attention, 1.0)], &[(Soft, 1.0)]],
            ..FROZEN
        },
    ];

    #[test]
    fn each_preset_matches_its_documentation() {
        let presets = presets();
        assert_eq!(presets.len(), DOCUMENTED.len());
        for (preset, documented) in presets.iter().zip(DOCUMENTED) {
            let name = documented.name;
            assert_eq!((preset.name.as_str(), preset.teacher), (name, documented.teacher));
            assert_eq!(preset.temperature, at(documented.temperature), "{name}");
            assert_eq!(preset.beta, Ramp::Constant(documented.beta), "{name}");
            assert_eq!(preset.scaling == SoftScaling::TemperatureSquared, documented.t2, "{name}: T²");
            assert_eq!(preset.share, documented.share, "{name}");
            assert_eq!((preset.blend, preset.pkd_layers), (Blend::Layers, PkdLayers::Skip), "{name}");
            let weights = |stage: &Stage| stage.terms.iter().map(|term| (term.kind, term.weight.at(0.0))).collect();
            let stages: Vec<Vec<(TermKind, f64)>> = preset.stages.iter().map(weights).collect();
            assert_eq!(stages, documented.stages, "{name}");
            assert!(preset.stages.iter().all(|stage| stage.share == 1.0), "{name}: stages of equal length");
            preset.check().unwrap();
        }
    }

    /// States that no term uses are not stored: they would add to the cost of fine-tuning on a GPU.
    #[test]
    fn encoders_record_only_the_states_that_terms_use() {
        let captures = presets().into_iter().map(|preset| {
            let stages: Vec<Capture> = preset.stages.iter().map(Stage::capture).collect();
            (preset.name, stages)
        });
        let expected = [
            ("newsbert", vec![Capture::States]),
            ("finetune", vec![Capture::Last]),
            ("teacher", vec![Capture::Last]),
            ("kd", vec![Capture::Last]),
            ("distiller", vec![Capture::Last]),
            ("pkd", vec![Capture::States]),
            ("distilbert", vec![Capture::Last]),
            ("tinybert", vec![Capture::Scores, Capture::Last]),
        ];
        assert!(captures.eq(expected.map(|(name, stages)| (name.to_owned(), stages))));
    }

    #[test]
    fn presets_that_compare_or_blend_layers_need_a_layer_map() {
        let needs: Vec<String> = presets().into_iter().filter(Method::needs_layer_map).map(|m| m.name).collect();
        assert_eq!(needs, ["newsbert", "tinybert"]);
    }

    #[test]
    fn teacher_states_are_the_states_that_terms_compare_with() {
        let states = |name: &str, l, n| {
            let preset = presets().into_iter().find(|preset| preset.name == name).unwrap();
            preset.teacher_states(l, n)
        };
        assert_eq!(states("newsbert", 12, 4), [0, 3, 6, 9, 12]);
        assert_eq!(states("tinybert", 4, 1), [0, 4]);
        assert_eq!(states("distilbert", 12, 5), [12]);
        assert_eq!(states("kd", 12, 4), [0; 0]);
    }

    #[test]
    fn given_layers_replace_the_layer_map_of_the_terms() {
        let layers = |name: &str| {
            let preset = presets().into_iter().find(|preset| preset.name == name).unwrap();
            Method { layers: Some(vec![0, 4]), ..preset }
        };
        assert_eq!(layers("newsbert").teacher_states(6, 2), [0, 1, 5]);
        assert!(layers("newsbert").needs_layer_map(), "β blends groups of layers");
        assert!(!layers("tinybert").needs_layer_map());
        assert_eq!((1..3).map(|i| layers("tinybert").teacher_state(i, 5, 2)).collect::<Vec<_>>(), [1, 5]);
    }

    #[test]
    fn pkd_takes_every_kth_layer_or_the_last_layers() {
        let layers = |which: PkdLayers, l, n| (1..n).map(|j| which.teacher_state(j, l, n)).collect::<Vec<_>>();
        assert_eq!(layers(PkdLayers::Skip, 12, 6), [2, 4, 6, 8, 10]);
        assert_eq!(layers(PkdLayers::Last, 12, 6), [7, 8, 9, 10, 11]);
        assert_eq!(layers(PkdLayers::Skip, 12, 1), [0; 0]);
        assert_eq!((layers(PkdLayers::Skip, 3, 3), layers(PkdLayers::Last, 3, 3)), (vec![1, 2], vec![1, 2]));
    }
}
